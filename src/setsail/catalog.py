"""What a wire may ask besides a prediction, and what it is told.

The asks are plain messages: a wire decodes to one, `serving/house.py` answers it, the wire encodes the answer.
States of a version are one table; everything that reports health reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from setsail.messages import ModelRef
from setsail.signature import Signature

__all__ = [
    "EXTENSIONS", "STATES", "Ask", "BatchCount", "Duration", "Index", "IsLive", "IsReady", "Load", "Metadata",
    "ModelMetadata", "ServerInfo", "State", "Statistics", "Status", "Unload", "VersionStatistics", "VersionStatus",
]  # fmt: skip


class State(Struct, frozen=True):
    """A state of one version, as each wire names it. `ready`: requests are answered."""

    ready: bool
    tf: str  # tensorflow.serving.ModelVersionStatus.State
    oip: str  # Triton's model repository extension
    next: tuple[str, ...]


STATES: Final[Mapping[str, State]] = {
    "queued": State(False, "START", "LOADING", ("loading", "gone")),
    "loading": State(False, "LOADING", "LOADING", ("warming", "failed")),
    "warming": State(False, "LOADING", "LOADING", ("ready", "failed")),
    "ready": State(True, "AVAILABLE", "READY", ("draining",)),
    "draining": State(False, "UNLOADING", "UNLOADING", ("gone",)),
    "gone": State(False, "END", "UNAVAILABLE", ("queued",)),
    "failed": State(False, "END", "UNAVAILABLE", ("queued", "gone")),
}


class VersionStatus(Struct, frozen=True):
    """One version of one model. `reason` is set when it failed; `default` when bare requests go to it."""

    name: str
    version: int
    state: str
    reason: str = ""
    default: bool = False
    labels: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return STATES[self.state].ready


class ModelMetadata(Struct, frozen=True):
    """A ready version's contract. `framework` names where it came from ("scikit-learn 1.9.0").

    `example` is one synthetic row of each input as JSON values: docs pages and curl lines are made from it.
    """

    name: str
    version: int
    versions: tuple[int, ...]
    signature: Signature
    framework: str
    max_batch: int | None
    example: Mapping[str, object]


class Duration(Struct):
    """How often, and how long in all (nanoseconds)."""

    count: int = 0
    ns: int = 0


class BatchCount(Struct):
    """What batches of one size cost: `infer` is the run, `input` and `output` the merging and splitting around it."""

    size: int
    input: Duration
    infer: Duration
    output: Duration


class VersionStatistics(Struct):
    """Counts of one version since it was loaded, in the terms of Triton's statistics extension.

    `inferences` counts rows, `executions` runs of the program. `success` and `fail` are whole requests, `queue` the
    wait before a run. `last_ms` is the time of the last request in milliseconds of the epoch, 0 for none.
    """

    name: str
    version: int
    last_ms: int = 0
    inferences: int = 0
    executions: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    batches: tuple[BatchCount, ...] = ()


# -- asks ------------------------------------------------------------------------------------------------------


class IsLive(Struct, frozen=True):
    """Is the process up? Answer: bool."""


class IsReady(Struct, frozen=True):
    """Is everything (or, with `model`, that version) ready? Answer: bool; an unknown model raises."""

    model: ModelRef | None = None


class Status(Struct, frozen=True):
    """Every version of a model, or the one asked for. Answer: tuple[VersionStatus, ...]."""

    model: ModelRef


class Metadata(Struct, frozen=True):
    """Answer: ModelMetadata."""

    model: ModelRef


class Index(Struct, frozen=True):
    """All versions of all models. Answer: tuple[VersionStatus, ...]."""

    ready_only: bool = False


class ServerInfo(Struct, frozen=True):
    """Answer: the server's name and version are constants of the wire; this asks for nothing."""


class Load(Struct, frozen=True):
    """Load (or reload) a known model. Answer: None. Refused on the data port unless control is explicit."""

    name: str


class Unload(Struct, frozen=True):
    """Unload a model, after its last request. Answer: None."""

    name: str


class Statistics(Struct, frozen=True):
    """Answer: tuple[VersionStatistics, ...], of the version meant, of all ready ones of a name, or of everything."""

    model: ModelRef | None = None


Ask = IsLive | IsReady | Status | Metadata | Index | ServerInfo | Load | Unload | Statistics

EXTENSIONS: Final = ("model_repository", "binary_tensor_data", "parameters", "statistics")
