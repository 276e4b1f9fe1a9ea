"""What a speaker is made of, and values as JSON and CSV have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["Ask", "Heard", "Said", "Speaker", "back", "dumps", "is_flat", "is_table", "lists", "one_input", "rows_of"]

Arrays = Mapping[str, Array]


class Ask(NamedTuple):
    """A request as a user thinks of it. A missing text is None, a missing number NaN."""

    model: str
    signature: Signature
    inputs: Arrays
    outputs: tuple[str, ...] | None = None
    version: str = ""
    name: str = ""  # of a signature


class Said(NamedTuple):
    """A request: HTTP with a body, or a gRPC method's message."""

    path: str
    body: bytes
    headers: Mapping[str, str] = {}
    grpc: bool = False


class Heard(NamedTuple):
    """An answer. `status` is HTTP's or gRPC's; `code` is x-setsail-error, empty where all is well."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    code: str = ""

    def json(self) -> Any:
        return json.loads(self.body)


def _always(signature: Signature, inputs: Arrays) -> bool:
    return True


@dataclass(frozen=True)
class Speaker:
    """One form of one wire.

    Attributes:
        name: of its row in the table.
        wire: whose metrics and page it belongs to: docs/wires/<page>.md.
        client: who writes this form; what `clients.py` runs, or what the wire's page shows.
        say, hear: a request to bytes, an answer to arrays.
        can: whether a model's inputs can be written in this form.
        lacks: dtypes it cannot carry, with the code by which they are refused.
        carried_as: dtypes that it carries as another, with what the page says of it.
        odd: what a fault is called here where it is not called what it is everywhere; "" for what is no fault here.
        missing_text: whether it carries texts that are missing. All carry NaN and infinities.
        outputs: "all" of a model, or its "default" one.
        filters, signatures: whether a client can choose them. All can choose a version.
        counted: whether the server knows how many rows a body has before it looks at the signature.
        faulty: statuses of server faults that the original has for a client's.
        rows: a large batch of this form; a form has no more than a thousand fields.
        error: the text of a fault in an answer's body.
    """

    name: str
    wire: str
    page: str
    client: str
    say: Callable[[Ask], Said]
    hear: Callable[[Ask, Heard], dict[str, Array]]
    can: Callable[[Signature, Arrays], bool] = _always
    lacks: Mapping[str, str] = field(default_factory=dict)
    carried_as: Mapping[str, str] = field(default_factory=dict)
    odd: Mapping[str, str] = field(default_factory=dict)
    missing_text: bool = True
    outputs: str = "all"
    filters: bool = False
    signatures: bool = False
    counted: bool = True
    faulty: frozenset[int] = frozenset()
    rows: int = 5000
    error: Callable[[Heard], str] = lambda heard: str(heard.json()["error"])

    @property
    def only(self) -> str:
        """What alone can be written in this form: "table", "one input" or "", which is everything."""
        return {is_table: "table", one_input: "one input"}.get(self.can, "")


# -- what can be written -----------------------------------------------------------------------------------------------


def is_table(signature: Signature, inputs: Arrays) -> bool:
    """One table with names, or columns: what CSV holds."""
    return signature.table is not None or is_flat(signature, inputs)


def is_flat(signature: Signature, inputs: Arrays) -> bool:
    return all(len(spec.shape) == 1 for spec in signature.inputs)


def one_input(signature: Signature, inputs: Arrays) -> bool:
    return len(signature.inputs) == 1


# -- values ------------------------------------------------------------------------------------------------------------


def dumps(value: Any) -> bytes:
    """JSON as Python's clients write it, with the bare tokens NaN and Infinity."""
    return json.dumps(value).encode()


def lists(array: Array, null: bool = False) -> Any:
    """Nested lists; `null`: NaN is written as JSON's null."""
    if null and array.dtype.kind == "f" and np.isnan(array).any():
        return np.where(np.isnan(array), None, array.astype(object)).tolist()
    return array.tolist()


def rows_of(inputs: Arrays, null: bool = False) -> list[Any]:
    """`instances`: bare values of one input, records of several."""
    held = {name: lists(array, null) for name, array in inputs.items()}
    if len(held) == 1:
        (only,) = held.values()
        return list(only)
    longest = max(map(len, held.values()))
    return [{name: values[i] for name, values in held.items() if i < len(values)} for i in range(longest)]


def back(spec: TensorSpec, data: Any, shape: Sequence[int] | None = None) -> Array:
    """JSON values, or text cells, as the output's array."""
    array = np.array(data, dtype=object)
    if not array.size:
        return np.empty(shape or array.shape, spec.dtype.numpy)
    if array.ndim > len(spec.shape):
        array = array.reshape(array.shape[: len(spec.shape)])
    kind = spec.dtype.kind
    if kind == "float":
        values = [float("nan") if v is None else float(v) for v in array.ravel()]
    elif kind == "string":
        values = [NULL if v is None else v.decode() if isinstance(v, bytes) else v for v in array.ravel()]
    else:
        values = array.ravel().tolist()
        assert all(type(v) is (bool if kind == "bool" else int) for v in values), values
    made = np.empty(len(values), spec.dtype.numpy)
    made[:] = values
    return made.reshape(shape if shape is not None else array.shape)
