"""Flavours: servers that are imitated on their own ports, each a row; and the paths that each of its ports answers.

A flavour says where clients of that server knock. What they are answered is said by the wires' own tables of routes,
which are named here and imported when a port is opened: a server without flavours imports none of this, and a
supervisor needs the numbers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from setsail.errors import SetsailError

if TYPE_CHECKING:
    from setsail.protocols.routes import Route
    from setsail.protocols.table import Table

__all__ = [
    "DATA", "FLAVOURS", "GRPC", "GRPC_MANAGEMENT", "MANAGEMENT", "METRICS", "ROLES", "Flavour", "Port", "Role",
    "listened", "renumbered",
]  # fmt: skip

DATA, GRPC, METRICS = "data", "grpc", "metrics"
MANAGEMENT, GRPC_MANAGEMENT = "management", "grpc-management"


class Role(Struct, frozen=True):
    """What a port is for.

    Attributes:
        guarded: it is bound on the admin address, because it changes what is served.
        grpc: gRPC is answered, too.
    """

    guarded: bool
    grpc: bool


ROLES: Final[Mapping[str, Role]] = {
    DATA: Role(guarded=False, grpc=True),
    GRPC: Role(guarded=False, grpc=True),
    METRICS: Role(guarded=False, grpc=False),
    MANAGEMENT: Role(guarded=True, grpc=False),
    GRPC_MANAGEMENT: Role(guarded=True, grpc=True),
}


class Port(Struct, frozen=True):
    """One port of a flavour.

    Attributes:
        number: where the original listens unless it is told otherwise.
        routes: names of the tuples of routes it answers, of modules of this folder: `tf_serving:ROUTES`. Of two that
            fit a request the first is taken, and the first of all tells the faults of paths that nobody owns.
        control: its clients change what is served, because that is what they are for.
    """

    number: int
    role: str
    routes: tuple[str, ...]
    control: bool = False

    def table(self) -> Table:
        """The paths it answers."""
        table: type[Table] = import_module("setsail.protocols.table").Table
        return table.of(*(route for name in self.routes for route in _routes(name)))


class Flavour(Struct, frozen=True):
    """A server that is imitated. The first of its ports is where REST clients predict."""

    name: str
    title: str
    ports: tuple[Port, ...]

    @property
    def data(self) -> Port:
        return self.ports[0]


def _routes(name: str) -> tuple[Route, ...]:
    module, _, attribute = name.partition(":")
    found: tuple[Route, ...] = getattr(import_module(f"setsail.protocols.{module}"), attribute)
    return found


_TF: Final = ("tf_serving:ORIGINAL_ROUTES", "exposition:TFSERVING")
_TORCH: Final = ("torchserve.inference:ROUTES", "torchserve.inference:OLDER")
_TORCH_MANAGEMENT: Final = ("torchserve.management:MANAGEMENT",)
_TRITON: Final = ("open_inference:TRITON",)
_KSERVE: Final = ("kserve_v1:ROUTES", "open_inference:KSERVE", "exposition:KSERVE")
_MLSERVER: Final = ("open_inference:MLSERVER",)
_ROWS: Final = (
    Flavour("tfserving", "TensorFlow Serving", (Port(8501, DATA, _TF), Port(8500, GRPC, _TF))),
    Flavour("torchserve", "TorchServe", (
        Port(8080, DATA, _TORCH), Port(8081, MANAGEMENT, _TORCH_MANAGEMENT),
        Port(8082, METRICS, ("exposition:TORCHSERVE",)), Port(7070, GRPC, _TORCH),
        Port(7071, GRPC_MANAGEMENT, _TORCH_MANAGEMENT),
    )),
    Flavour("triton", "NVIDIA Triton", (
        Port(8000, DATA, _TRITON), Port(8001, GRPC, _TRITON), Port(8002, METRICS, ("exposition:TRITON",)),
    )),
    Flavour("kserve", "KServe", (Port(8080, DATA, _KSERVE), Port(8081, GRPC, _KSERVE))),
    Flavour("mlserver", "MLServer", (
        Port(8080, DATA, _MLSERVER), Port(8081, GRPC, _MLSERVER), Port(8082, METRICS, ("exposition:MLSERVER",)),
    )),
    Flavour("mlflow", "MLflow scoring", (Port(5000, DATA, ("mlflow:ROUTES",)),)),
    Flavour("sagemaker", "SageMaker container", (Port(8080, DATA, ("sagemaker:ROUTES",)),)),
    Flavour("sagemaker-mme", "SageMaker multi-model container", (
        Port(8080, DATA, ("sagemaker:MULTI_MODEL",), control=True),
    )),
    Flavour("flask", "Flask, by hand", (Port(5000, DATA, ("flask:ROUTES",)),)),
    Flavour("graphpipe", "GraphPipe", (Port(9000, DATA, ("graphpipe:EVERYWHERE",)),)),
)  # fmt: skip
FLAVOURS: Final[Mapping[str, Flavour]] = {flavour.name: flavour for flavour in _ROWS}


# -- what a user writes --------------------------------------------------------------------------------------------


def listened(text: str) -> tuple[tuple[int, str], ...]:
    """`8501=tfserving,9000=kserve` to numbers and flavours. Raises `setting.value`."""
    found = tuple(_pair(part, "--listen", "PORT=FLAVOUR") for part in _parts(text))
    for _, name in found:
        if name not in FLAVOURS:
            raise SetsailError("setting.value", "there is no such flavour", field="--listen", value=name,
                               expected=" or ".join(FLAVOURS))  # fmt: skip
    return found


def renumbered(text: str, flavour: str) -> dict[int, int]:
    """`8501=9501,8500=0`: a flavour's own numbers to those to use instead. Raises `setting.value`."""
    own = [port.number for port in FLAVOURS[flavour].ports] if flavour else []
    found: dict[int, int] = {}
    for part in _parts(text):
        number, other = _pair(part, "--ports", "ITS=OURS")
        if number not in own:
            raise SetsailError(
                "setting.value", f"{flavour or 'a server without --as'} has no port {number}", field="--ports",
                value=part, expected=" or ".join(map(str, own)) or "--as FLAVOUR",
            )  # fmt: skip
        found[number] = _number(other, "--ports", "ITS=OURS")
    return found


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pair(part: str, flag: str, form: str) -> tuple[int, str]:
    number, _, other = part.partition("=")
    return _number(number, flag, form), other.strip()


def _number(text: str, flag: str, form: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= 65535):
        raise SetsailError("setting.value", "this is no port", field=flag, value=text, expected=form)
    return int(text)
