"""What a wire may ask besides a prediction, and what it is told.

The asks are plain messages: a wire decodes to one, `serving/house.py` answers it, the wire encodes the answer.
States of a version are one table; everything that reports health reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from setsail.messages import ModelRef
from setsail.routing import PutRoute, Reroute, Routes
from setsail.signature import Signature

__all__ = [
    "ALL", "CONTROLS", "EXTENSIONS", "STATES", "Ask", "BatchCount", "Card", "Configure", "Control", "Describe",
    "Duration", "Exposition", "Feedback", "Index", "IsLive", "IsReady", "Label", "Load", "Locate", "Metadata",
    "ModelConfig", "ModelDescription", "ModelMetadata", "Policy", "Process", "PutRoute", "Register", "Registered",
    "RenewToken", "Reroute", "Routes", "Scale", "ServerInfo", "SetDefault", "State", "Statistics", "Status", "Terms",
    "Unload", "Unregister", "VersionStatistics", "VersionStatus",
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
    "ready": State(True, "AVAILABLE", "READY", ("draining", "restarting")),
    "restarting": State(False, "LOADING", "LOADING", ("ready", "draining")),
    "draining": State(False, "UNLOADING", "UNLOADING", ("gone",)),
    "gone": State(False, "END", "UNAVAILABLE", ("queued", "parked")),
    "parked": State(False, "END", "UNAVAILABLE", ("queued", "gone")),  # known, and not to be loaded until it is scaled
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

    `example` is one synthetic row of each input as JSON values: docs pages and curl lines are made from it. `others`
    are the model's other signatures by name, each told as if it were the only one.
    """

    name: str
    version: int
    versions: tuple[int, ...]
    signature: Signature
    framework: str
    max_batch: int | None
    example: Mapping[str, object]
    others: Mapping[str, ModelMetadata] = field(default_factory=dict)


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


class Terms(Struct, frozen=True):
    """How whoever registered a version wants it run: kept, and told to whoever asks.

    Only `min_workers` has a meaning of its own here: 0 keeps a version known and not loaded. Processes serve all
    models, and how many requests share a run is decided by what was measured (docs/wires/torchserve.md).
    """

    min_workers: int = 1
    max_workers: int = 1
    batch_size: int = 1
    max_delay_ms: int = 100
    response_timeout: int = 120  # seconds
    startup_timeout: int = 120


class Process(Struct, frozen=True):
    """A process that has a version loaded. `started`: seconds of the epoch; `memory`: resident bytes."""

    pid: int
    started: float
    memory: int


class ModelDescription(Struct, frozen=True):
    """A version that is known: registered, or there since the start.

    Attributes:
        source: the file it comes from, by its name alone.
        at_start: whether it was there without a client's asking.
        framework: where it came from ("scikit-learn 1.9.0"); empty while it is not loaded.
        processes: those that have it ready.
        pending, room: rows that wait for it in all of them, and how many may.
    """

    name: str
    version: int
    source: str
    state: str
    reason: str = ""
    default: bool = False
    labels: tuple[str, ...] = ()
    at_start: bool = False
    framework: str = ""
    terms: Terms = Terms()
    processes: tuple[Process, ...] = ()
    pending: int = 0
    room: int = 0


class Policy(Struct, frozen=True):
    """Which versions under a base path are served: the `latest` highest, those of `specific`, or with neither all."""

    latest: int = 0
    specific: tuple[int, ...] = ()


class ModelConfig(Struct, frozen=True):
    """One model of a `Configure`: the versions `<base_path>/<version>…` that the policy chooses, and its labels."""

    name: str
    base_path: str
    policy: Policy = Policy(latest=1)
    labels: Mapping[str, int] = field(default_factory=dict)


class Registered(Struct, frozen=True):
    """What a `Register` or a `Locate` found: the version's name, and the file it is loaded from."""

    name: str
    version: int
    path: str


# -- asks ------------------------------------------------------------------------------------------------------


class IsLive(Struct, frozen=True):
    """Is the process up? Answer: bool."""


class IsReady(Struct, frozen=True):
    """Is everything (or, with `model`, that version) ready? Answer: bool.

    An unknown model raises; with `lenient` it is not ready, which is how Triton answers.
    """

    model: ModelRef | None = None
    lenient: bool = False


class Status(Struct, frozen=True):
    """Every version of a model, or the one asked for. Answer: tuple[VersionStatus, ...]."""

    model: ModelRef


class Metadata(Struct, frozen=True):
    """Answer: ModelMetadata."""

    model: ModelRef


class Card(Struct, frozen=True):
    """What a ready version's artifact says of itself. Answer: headings, each with its lines; none for code."""

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


class Exposition(Struct, frozen=True):
    """What was counted, as Prometheus reads it, under the names of one server (`server/metrics.py`). Answer: bytes.

    `only`: these metrics; empty for all of them.
    """

    names: str
    only: tuple[str, ...] = ()


class Label(Struct, frozen=True):
    """What turned out to be right of one request: a label, or a list with one for each of its rows."""

    id: str
    label: Any


class Feedback(Struct, frozen=True):
    """Labels came back. Answer: tuple[str, ...], what became of each (`monitor/quality.py: RESULTS`).

    An unknown model raises `model.unknown`.

    Args:
        version: None for whichever has answered.
        spread: others are asked as well, so that an id which is not known here may be known there.
        missed: labels that nobody knew, to be counted.
    """

    name: str
    labels: tuple[Label, ...] = ()
    version: int | None = None
    spread: bool = False
    missed: int = 0


class RenewToken(Struct, frozen=True):
    """A new token in place of the one of a kind (`server/tokens.py`). Answer: None.

    Raises `request.path` where no tokens are asked for.
    """

    kind: str


# -- asks that change what is served: control must be allowed, and they block until they are done ----------------


class Locate(Struct, frozen=True):
    """Where a Register would load from, and what that is called; a source is packed. Loads nothing. Answer: Registered.

    Raises what Register raises of the file. `url`, `name` and `version` are as in Register.
    """

    url: str
    name: str = ""
    version: int | None = None


class Register(Struct, frozen=True):
    """Make a version known, and (unless `terms.min_workers` is 0) load it. Answer: Registered.

    Args:
        url: a file's name in one of the allowed folders, or an absolute path or `file://` URL inside one of them.
        name, version: instead of those the file states.
        settled: bare requests go on going where they go, or to this version if it is the first: a default is set.
            Otherwise they go to the highest version that is ready.
        wait: False answers before it is loaded; its state tells how that goes.

    Raises (as faults): `store.none` where no folder is allowed, `store.outside`, `store.missing`, `store.source`,
    `model.exists` for a version that is known already, `model.name`, and whatever loading raises: then nothing stays.
    """

    url: str
    name: str = ""
    version: int | None = None
    terms: Terms = Terms()
    settled: bool = False
    wait: bool = True


class Unregister(Struct, frozen=True):
    """End a version, or (None) every version, and forget it. Done when its last request was answered.

    Answer: bool, whether any of it had been there since the start, so that a process that starts again has it.

    `sole`: refuse, with `model.default`, to take the version that bare requests go to while there are others; then
    None means that version. An unknown one raises `model.unknown` or `model.version`.
    """

    name: str
    version: int | None = None
    sole: bool = False


class SetDefault(Struct, frozen=True):
    """Have bare requests go to this version, until it is unregistered. Answer: None.

    A version that is known and not ready may be chosen too: then bare requests wait for it, as they do elsewhere.
    """

    name: str
    version: int


class Scale(Struct, frozen=True):
    """State how many workers a version (None: the default one) should have. Answer: ModelDescription.

    0 unloads it and keeps it known; more load it where it is not. `maximum` None is `minimum`. `wait` False answers
    before that is done. An unknown version raises `model.unknown` or `model.version`.
    """

    name: str
    version: int | None = None
    minimum: int = 1
    maximum: int | None = None
    wait: bool = True


class Configure(Struct, frozen=True):
    """The whole list of configured models; what an earlier Configure brought and this one lacks is unloaded.

    Answer: tuple[VersionStatus, ...] of every version meant; those that could not be loaded say why. What it raises
    (`store.none`, `store.outside`, `model.name`, `model.label`, `request.form` for a name given twice) changed nothing.
    Base paths are looked at again as often as served directories are.
    """

    models: tuple[ModelConfig, ...]


ALL: Final = 0  # as `Describe.version`: every version


class Describe(Struct, frozen=True):
    """Known versions: of every name (None), of one name its default (None), one, or `ALL` of them.

    Answer: tuple[ModelDescription, ...] by name and version; an unknown one raises `model.unknown` or `model.version`.
    Changes nothing, and needs no control.
    """

    name: str | None = None
    version: int | None = None


Control = Load | Unload | Locate | Register | Unregister | SetDefault | Scale | Configure | Reroute | PutRoute
CONTROLS: Final = (  # they block
    Load, Unload, Locate, Register, Unregister, SetDefault, Scale, Configure, Reroute, PutRoute
)  # fmt: skip
Look = (
    IsLive
    | IsReady
    | Status
    | Metadata
    | Card
    | Index
    | ServerInfo
    | Statistics
    | Describe
    | Exposition
    | Routes
    | Feedback
)
Ask = Look | RenewToken | Control

EXTENSIONS: Final = ("model_repository", "binary_tensor_data", "parameters", "statistics")
