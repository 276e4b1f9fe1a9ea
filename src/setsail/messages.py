"""What every wire decodes to, and what every wire encodes: the waist of the serving side.

A wire turns bytes into a Request whose body is one of four shapes, because that is all that clients send. No wire
interprets values: `binding.bind` does, once, against the model's signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from setsail.signature import Signature
from setsail.tensors import Array, DType

__all__ = ["Body", "Cells", "Columns", "ModelRef", "Request", "Response", "Rows", "Tensor", "Tensors"]


class ModelRef(Struct, frozen=True):
    """Which model a client means. At most one of `version` and `label`; neither is the default version."""

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        return self.name + (f"/{self.version}" if self.version else f"@{self.label}" if self.label else "")


class Tensor(Struct, frozen=True):
    """One named tensor as it came: a numpy array, or JSON values (lists or `Numbers`) flat or nested (row-major).

    `dtype` and `shape` are what the client declared, None where its wire does not declare them.
    """

    name: str
    data: Any
    dtype: DType | None = None
    shape: tuple[int, ...] | None = None


class Tensors(Struct, frozen=True):
    """Named tensors (Open Inference Protocol, numpy)."""

    tensors: tuple[Tensor, ...]


class Rows(Struct, frozen=True):
    """Rows, each a scalar, a nested list or a mapping by name (TF Serving's `instances`): a list, or `Numbers`."""

    rows: Any


class Columns(Struct, frozen=True):
    """A mapping name -> values of all rows, or the bare values of a single input (TF Serving's `inputs`).

    `extra` says what to do with unknown names: TF Serving ignores them, everybody else refuses.
    """

    columns: Any
    ignore_unknown: bool = False


class Cells(Struct, frozen=True):
    """A table of text (CSV): cells are parsed by each input's dtype, an empty cell is null."""

    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]


Body = Tensors | Rows | Columns | Cells


class Request(Struct, frozen=True):
    """Ask a model for a prediction. `outputs` None means the wire's own idea of a full answer: all of them."""

    model: ModelRef
    body: Body
    outputs: tuple[str, ...] | None = None
    signature: str = "serving_default"
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Response(Struct, frozen=True):
    """The answer: arrays in the signature's order, already narrowed to what was asked for.

    `defaults` are the names a bare answer gives; they are always among `outputs`.
    """

    model: str
    version: int
    outputs: Mapping[str, Array]
    defaults: tuple[str, ...]
    signature: Signature
    id: str = ""
