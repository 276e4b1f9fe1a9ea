"""What every wire decodes to, and what every wire encodes: the waist of the serving side.

A wire turns bytes into a Request whose body is one of four shapes, because that is all that clients send, or `Digits`,
which stand for one of them. No wire interprets values: `binding.bind` does, once, against the model's signature.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.letters import Letter
from setsail.shares import Share
from setsail.signature import DEFAULT, Signature
from setsail.tensors import Array, DType

__all__ = [
    "TOGETHER", "Body", "Cells", "Columns", "Digits", "Form", "ModelRef", "Portion", "Request", "Response", "Rows",
    "Tensor", "Tensors", "Unread",
]  # fmt: skip

TOGETHER: Final = "\0"  # between the names of several signatures that one run is to answer


class ModelRef(Struct, frozen=True):
    """Which model a client means. At most one of `version` and `label`; neither is the default version."""

    name: str
    version: int | None = None
    label: str | None = None

    @property
    def bare(self) -> bool:
        """Whether a route, or the default, says which version answers."""
        return self.version is None and self.label is None

    def __str__(self) -> str:
        return self.name + (f"/{self.version}" if self.version else f"@{self.label}" if self.label else "")


class Tensor(Struct, frozen=True):
    """One named tensor as it came: a numpy array, or JSON values (lists or `Numbers`) flat or nested (row-major).

    `dtype` and `shape` are what the client declared, None where its wire does not declare them. Bytes are the model's
    only input as nobody described it (`envelope.raw`).
    """

    name: str
    data: Any
    dtype: DType | None = None
    shape: tuple[int, ...] | None = None


class Tensors(Struct, frozen=True):
    """Named tensors (Open Inference Protocol, numpy). `ignore_unknown`: as in Columns.

    `loose`: one without a name is the input at its place, and uint8 stands for bool, which GraphPipe does not have.
    `any_name`: where there is one, and the model has one input, its name does not matter.
    """

    tensors: tuple[Tensor, ...]
    ignore_unknown: bool = False
    loose: bool = False
    any_name: bool = False


class Rows(Struct, frozen=True):
    """Rows, each a scalar, a nested list or a mapping by name (TF Serving's `instances`): a list, or `Numbers`.

    `names` are those of the values of every row, where they were sent once for all of them (MLflow's data frames);
    names the model does not have are ignored then.
    """

    rows: Any
    names: tuple[str, ...] | None = None


class Columns(Struct, frozen=True):
    """A mapping name -> values of all rows, or the bare values of a single input (TF Serving's `inputs`).

    `ignore_unknown` says what to do with unknown names: TF Serving ignores them, everybody else refuses. `loose`: the
    one name may be an input's or a word for the whole body, and its value one row; or all of it is one row's bytes
    (`envelope.py` tells which).
    """

    columns: Any
    ignore_unknown: bool = False
    loose: bool = False


class Cells(Struct, frozen=True):
    """A table of text (CSV, a form): cells are parsed by each input's dtype, an empty cell is null.

    `header` None: columns are in the signature's order, unless the first row is their names; of `several` tables that
    were joined, no row may be. `loose` and `ignore_unknown` as in Columns; `nulls` are texts that mean null, as an
    empty cell does.
    """

    header: tuple[str, ...] | None
    rows: Sequence[Sequence[str]]
    loose: bool = False
    ignore_unknown: bool = False
    nulls: frozenset[str] = frozenset()
    several: bool = False


class Portion(NamedTuple):
    """What of a batch a body is: its rows, and with which others it may be joined."""

    key: Hashable
    rows: int


class Form(Struct, frozen=True, gc=False):
    """The one input that `Digits` are for: its shape, and name and dtype where the wire says them.

    Attributes:
        loose: the name may be a word for the whole body instead, as in Columns.
        names: of the values of a row, where each was sent with its own.
        frame: those are ignored by a model that has none, as MLflow's frames are read.
        headless: a line of a CSV that began with no names; it may be the names itself.
        raw: the numbers are not text, but the bytes of an array of this dtype.
        note: what the wire wants to know again of bodies like this.
    """

    shape: tuple[int, ...]
    name: str | None = None
    dtype: DType | None = None
    portion: Portion | None = None
    loose: bool = False
    names: tuple[str, ...] | None = None
    frame: bool = False
    headless: bool = False
    raw: np.dtype[Any] | None = None
    note: str = ""

    def of(self, rows: int) -> Form:
        """That of so many rows joined."""
        return replace(self, shape=(rows, *self.shape[1:]), portion=None)


class Digits(Struct, gc=False):
    """A body of numbers for one input, as they came: nobody has read them yet.

    Requests that come together are joined by their texts and read at once. A `text` of JSON numbers has as many commas
    as numbers of that shape have between them (whether it is numbers at all, who reads it finds out); one of bytes has
    as many as an array of that shape. `again()` is the body as the wire's general way reads it, or raises what that
    raises.
    """

    text: bytes
    form: Form
    source: bytes
    read: Callable[[bytes], Body]

    def again(self) -> Body:
        return self.read(self.source)


class Unread(Struct, frozen=True):
    """A body that is nothing we read: `fault` says why, to every model but one that reads requests by itself."""

    fault: SetsailError


Body = Tensors | Rows | Columns | Cells | Digits | Unread


class Request(Struct, frozen=True):
    """Ask a model for a prediction. `outputs` None means the wire's own idea of a full answer: all of them.

    `signature` is the name of one, or of an output of the default one, which stands for that output alone.

    `letter` is the request as it came, for models that are code which reads it (`letters.py`).
    """

    model: ModelRef
    body: Body
    outputs: tuple[str, ...] | None = None
    signature: str = DEFAULT
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    letter: Callable[[], Letter] | None = None


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

    @property
    def rows(self) -> int:
        """How many rows are answered."""
        if not self.signature.batched or not self.outputs:
            return 1
        return 1 if type(self.outputs) is Share else len(next(iter(self.outputs.values())))
