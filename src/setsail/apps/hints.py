"""Type hints -> what a function takes and gives. Only the child reads hints: whoever has them has run the file.

A hint becomes one `Leaf`, a named set of them (a dataclass, a TypedDict, a NamedTuple) or a tuple of them. Nothing is
guessed that would have to be taken back: what is not in the table of `docs/functions.md` is refused with the hint that
would do.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import numpy as np

from setsail.errors import SetsailError
from setsail.signature import BATCH, Dim, TensorSpec
from setsail.tensors import BY_NAME, DType

__all__ = ["Leaf", "Record", "Shape", "read_input", "read_output", "refused"]

_SCALARS: Final[Mapping[Any, str]] = {bool: "bool", int: "int64", float: "float64", str: "string"}


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One tensor of a function.

    Attributes:
        form: `scalar` and `list` are one row's Python value, `array` is numpy's.
        dims: of the array; of one row for the other two.
        type: numpy's scalar class where the hint names one, to make values of; else None.
    """

    name: str
    dtype: DType
    form: str
    dims: tuple[Dim, ...] = ()
    nullable: bool = False
    choices: tuple[str, ...] = ()
    type: type | None = None

    def spec(self, arrays: bool, output: bool) -> TensorSpec:
        """As a tensor of the signature, the batch first."""
        shape = self.dims if arrays else (BATCH, *self.dims)
        if self.choices and output:
            return TensorSpec(self.name, self.dtype, shape, nullable=self.nullable, labels=self.choices)
        return TensorSpec(self.name, self.dtype, shape, nullable=self.nullable, categories=self.choices,
                          closed=bool(self.choices))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Record:
    """A class whose instances hold leaves by name. `mapping`: by key rather than by attribute."""

    make: Any
    mapping: bool
    leaves: tuple[Leaf, ...]


Shape = Leaf | Record | tuple[Leaf, ...]


def read_input(name: str, hint: Any) -> Leaf | Record:
    """What a parameter takes. Raises `app.hints`."""
    record = _record(hint)
    return _leaf(name, hint) if record is None else record


def read_output(hint: Any) -> Shape:
    """What a function gives: one value (called `output`), a tuple of them, or a record. Raises `app.hints`."""
    record = _record(hint)
    if record is not None:
        return record
    if get_origin(hint) is tuple and Ellipsis not in get_args(hint) and get_args(hint):
        return tuple(_leaf(f"output_{i}", part) for i, part in enumerate(get_args(hint)))
    return _leaf("output", hint, output=True)


def refused(name: str, hint: Any, expected: str) -> SetsailError:
    """The fault for a hint that cannot be served."""
    shown = hint if isinstance(hint, str) else getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint)
    return SetsailError("app.hints", f"the type hint of {name} cannot be served", field=name, value=shown,
                        expected=expected)  # fmt: skip


# -- records -----------------------------------------------------------------------------------------------------------


def _record(hint: Any) -> Record | None:
    if not isinstance(hint, type) and not typing.is_typeddict(hint):
        return None
    mapping = typing.is_typeddict(hint)
    if not (mapping or dataclasses.is_dataclass(hint) or hasattr(hint, "_fields")):
        return None
    hints = typing.get_type_hints(hint, include_extras=True)
    if dataclasses.is_dataclass(hint):
        hints = {field.name: hints[field.name] for field in dataclasses.fields(hint) if field.init}
    if not hints:
        raise refused(hint.__name__, hint, "at least one field")
    return Record(hint, mapping, tuple(_leaf(name, inner) for name, inner in hints.items()))


# -- leaves ------------------------------------------------------------------------------------------------------------

_PLAIN: Final = (
    "bool, int, float, str, lists of these, Literal of texts, numpy arrays and scalars, X | None of floats and texts, "
    "or a dataclass or TypedDict of these"
)


def _leaf(name: str, hint: Any, *, output: bool = False) -> Leaf:
    text = ""
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        text = next((extra for extra in extras if isinstance(extra, str)), "")
    nullable = False
    if get_origin(hint) in (Union, types.UnionType):
        parts = [part for part in get_args(hint) if part is not type(None)]
        if len(parts) != 1 or len(get_args(hint)) != 2:
            raise refused(name, hint, _PLAIN)
        nullable, hint = True, parts[0]
    leaf = _bare(name, hint, output)
    if text:
        leaf = _annotated(leaf, text)
    if nullable:
        if leaf.dtype.kind not in ("float", "string") or leaf.form == "array":
            raise refused(name, hint, "None beside floats and texts only: nothing else can be missing")
        leaf = dataclasses.replace(leaf, nullable=True)
    return leaf


def _bare(name: str, hint: Any, output: bool) -> Leaf:
    if hint in _SCALARS:
        return Leaf(name, BY_NAME[_SCALARS[hint]], "scalar")
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if not all(isinstance(choice, str) for choice in choices):
            raise refused(name, hint, "a Literal of texts")
        return Leaf(name, BY_NAME["string"], "scalar", choices=choices)
    if isinstance(hint, type) and issubclass(hint, np.generic):
        dtype = _dtype(name, hint)
        return Leaf(name, dtype, "scalar", type=None if dtype.kind == "string" else hint)
    if hint is np.ndarray or get_origin(hint) is np.ndarray:
        return _array(name, hint, output)
    if get_origin(hint) in (list, Sequence):
        (inner,) = get_args(hint)
        leaf = _bare(name, inner, output)
        if leaf.form == "array" or leaf.type is not None or leaf.choices:
            raise refused(name, hint, "a list of bool, int, float or str, or of such lists")
        depth = len(leaf.dims)
        return Leaf(name, leaf.dtype, "list", tuple(f"{name}_{axis}" for axis in range(1, depth + 2)))
    raise refused(name, hint, _PLAIN)


def _array(name: str, hint: Any, output: bool) -> Leaf:
    """`np.ndarray` is a table of float64, `NDArray[T]` one of T; as an output it is one number a row."""
    dtype, dims = BY_NAME["float64"], None
    arguments = get_args(hint)
    if arguments:
        sizes, element = arguments
        (scalar,) = get_args(element) or (Any,)
        dtype = dtype if scalar is Any else _dtype(name, scalar)
        axes = get_args(sizes)
        if axes and Ellipsis not in axes and Any not in axes:
            dims = tuple(_size(name, axis, i) for i, axis in enumerate(axes))
    if dims is None:
        dims = (BATCH,) if output else (BATCH, f"{name}_1")
    return Leaf(name, dtype, "array", dims)


def _size(name: str, axis: Any, index: int) -> Dim:
    """`int` is any size, `Literal[4]` is 4."""
    if get_origin(axis) is Literal and isinstance(get_args(axis)[0], int):
        return int(get_args(axis)[0])
    return BATCH if index == 0 else f"{name}_{index}"


def _dtype(name: str, scalar: Any) -> DType:
    if isinstance(scalar, type) and issubclass(scalar, np.str_):
        return BY_NAME["string"]
    known = scalar.__name__.rstrip("_") if isinstance(scalar, type) else ""
    if known not in BY_NAME:
        raise refused(name, scalar, "a dtype out of " + ", ".join(BY_NAME))
    return BY_NAME[known]


def _annotated(leaf: Leaf, text: str) -> Leaf:
    """`Annotated[hint, "float32[N,4]"]`: the text says dtype and shape, as everywhere; `?` behind it allows NaN."""
    try:
        spec = TensorSpec.parse(f"{leaf.name}:{text.strip().removesuffix('?')}")
    except SetsailError as fault:
        raise refused(leaf.name, text, 'a text like "float32[N,4]"') from fault
    if leaf.form != "array" and spec.dtype.kind != leaf.dtype.kind:
        raise refused(leaf.name, text, f"a dtype of the kind of {leaf.dtype}")
    if leaf.form == "list" and len(spec.shape) != len(leaf.dims):
        raise refused(leaf.name, text, f"{len(leaf.dims)} dimensions: those of one row")
    if leaf.form == "scalar" and spec.shape:
        raise refused(leaf.name, text, "a dtype alone")
    dims = tuple(
        f"{leaf.name}_{axis}" if isinstance(dim, str) and dim in (f"d{axis}", BATCH) and (axis or leaf.form == "list")
        else dim
        for axis, dim in enumerate(spec.shape)
    )  # fmt: skip
    return dataclasses.replace(leaf, dtype=spec.dtype, dims=dims, nullable=text.strip().endswith("?"))
