"""What a wire may ask besides a prediction, and what it is told.

The asks are plain messages: a wire decodes to one, `serving/house.py` answers it, the wire encodes the answer.
States of a version are one table; everything that reports health reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from setsail.messages import ModelRef
from setsail.signature import Signature

__all__ = [
    "EXTENSIONS", "STATES", "Ask", "Index", "IsLive", "IsReady", "Load", "Metadata", "ModelMetadata", "ServerInfo",
    "State", "Status", "Unload", "VersionStatus",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class State:
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


@dataclass(frozen=True, slots=True)
class VersionStatus:
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


@dataclass(frozen=True, slots=True)
class ModelMetadata:
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


# -- asks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IsLive:
    """Is the process up? Answer: bool."""


@dataclass(frozen=True, slots=True)
class IsReady:
    """Is everything (or, with `model`, that version) ready? Answer: bool; an unknown model raises."""

    model: ModelRef | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Every version of a model, or the one asked for. Answer: tuple[VersionStatus, ...]."""

    model: ModelRef


@dataclass(frozen=True, slots=True)
class Metadata:
    """Answer: ModelMetadata."""

    model: ModelRef


@dataclass(frozen=True, slots=True)
class Index:
    """All versions of all models. Answer: tuple[VersionStatus, ...]."""

    ready_only: bool = False


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Answer: the server's name and version are constants of the wire; this asks for nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load (or reload) a known model. Answer: None. Refused on the data port unless control is explicit."""

    name: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload a model, after its last request. Answer: None."""

    name: str


Ask = IsLive | IsReady | Status | Metadata | Index | ServerInfo | Load | Unload

EXTENSIONS: Final = ("model_repository", "binary_tensor_data", "parameters")
