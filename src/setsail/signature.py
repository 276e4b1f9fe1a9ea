"""The tensor contract of a model: named inputs and outputs with dtype and shape.

A shape is a tuple of sizes and symbols. The first symbol is the batch; a symbol that occurs twice must have one
size in a request. Written as text it is `x:float32[N,10]`, `*` for a free dimension without a name of its own.

Two shapes of model table exist (`contract.md` §5): one homogeneous numeric table is one 2-D input `input` with
column names; mixed columns are one `[N]` input per column, in order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from setsail.errors import SetsailError
from setsail.tensors import BY_NAME, NULL, Array, DType, dtype_of, finite

__all__ = ["BATCH", "CONTENTS", "DEFAULT", "Dim", "Signature", "Sole", "TensorSpec"]

BATCH: Final = "N"
DEFAULT: Final = "serving_default"  # the signature that a request means which names none; TensorFlow's word for it
# What a string input may hold instead of text; `request` is a whole request (`letters.py`), for code that reads it.
CONTENTS: Final = ("image", "bytes", "request")
Dim = int | str
_TEXT = re.compile(r"^\s*(?P<name>[^:\[\]]+?)\s*:\s*(?P<dtype>\w+)\s*(?:\[(?P<dims>[^\[\]]*)\])?\s*$")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        columns: names of the last axis, for a homogeneous table.
        categories: the levels of a text or integer column, where the model knows them.
        closed: whether a value outside `categories` is an error (an encoder with handle_unknown="error").
        nullable: floats: NaN is a missing value the model handles; text: null is.
        labels: class labels of the last axis (of `probabilities`) or of the values (of `label`).
        content: what the bytes of a string input are, a key of CONTENTS; "" for text. Values are `bytes` then, and
            base64 in JSON and CSV.
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    columns: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    closed: bool = False
    nullable: bool = False
    labels: tuple[str, ...] = ()
    content: str = ""

    @property
    def batched(self) -> bool:
        """Whether the first axis is the batch."""
        return bool(self.shape) and isinstance(self.shape[0], str)

    @classmethod
    def parse(cls, text: str) -> TensorSpec:
        """Read `name:dtype[dims]`, as `--input` takes it. Raises `convert.input`."""
        match = _TEXT.match(text)
        if match is None or match["dtype"] not in BY_NAME:
            raise SetsailError(
                "convert.input",
                "an input text cannot be read",
                field="--input",
                value=text,
                expected='"name:dtype[dims]" with a dtype out of ' + ", ".join(BY_NAME),
            )
        dims = [d.strip() for d in (match["dims"] or "").split(",") if d.strip()]
        shape: list[Dim] = []
        for axis, dim in enumerate(dims):
            if dim.isdigit():
                shape.append(int(dim))
            elif dim in ("*", "-1", "?"):
                shape.append(BATCH if axis == 0 else f"d{axis}")
            else:
                shape.append(dim)
        return cls(match["name"], BY_NAME[match["dtype"]], tuple(shape))

    def __str__(self) -> str:
        return f"{self.name}:{self.dtype}[{','.join(str(d) for d in self.shape)}]"

    def oip_shape(self) -> list[int]:
        """The shape as Open Inference Protocol and TensorFlow write it: -1 for a free dimension."""
        return [d if isinstance(d, int) else -1 for d in self.shape]

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"name": self.name, "dtype": self.dtype.name, "shape": list(self.shape)}
        for key in ("columns", "categories", "labels"):
            if getattr(self, key):
                body[key] = list(getattr(self, key))
        if self.content:
            body["content"] = self.content
        return body | {key: True for key in ("closed", "nullable") if getattr(self, key)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> TensorSpec:
        """The inverse of `to_json`. The caller has checked the form (the artifact's manifest schema does)."""
        return cls(
            body["name"], BY_NAME[body["dtype"]], tuple(body["shape"]),
            **{key: tuple(body.get(key, ())) for key in ("columns", "categories", "labels")},
            closed=body.get("closed", False), nullable=body.get("nullable", False),
            content=body.get("content", ""),
        )  # fmt: skip


class Sole(NamedTuple):
    """The one input of a model whose rows are all of one known size, of numbers of which any will do.

    Most models are like that; their requests are bound without detours (`binding.py`).
    """

    name: str
    dtype: DType
    tail: tuple[int, ...]  # the shape of a row
    width: int  # values of a row
    columns: tuple[str, ...] = ()  # names of a table's columns

    @classmethod
    def of(cls, inputs: tuple[TensorSpec, ...]) -> Sole | None:
        spec = inputs[0] if len(inputs) == 1 else None
        if spec is None or not spec.batched or spec.closed or spec.dtype.kind in ("bool", "string"):
            return None
        tail = tuple(d for d in spec.shape[1:] if isinstance(d, int))
        if len(tail) != len(spec.shape) - 1 or not math.prod(tail):
            return None
        return cls(spec.name, spec.dtype, tail, math.prod(tail), spec.columns if len(tail) == 1 else ())


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs in order, outputs in order, and which outputs a bare answer gives.

    `defaults` has one name where the answer is a value (a regressor's `prediction`), several where it is a record
    (a text classifier's `scores` and `classes`).
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    defaults: tuple[str, ...]
    batched: bool = field(init=False, repr=False, compare=False)
    _inputs: Mapping[str, TensorSpec] = field(init=False, repr=False, compare=False)
    _outputs: Mapping[str, TensorSpec] = field(init=False, repr=False, compare=False)
    sole: Sole | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        specs = (*self.inputs, *self.outputs)
        rows = all(s.batched for s in specs) and len({s.shape[0] for s in specs}) <= 1
        object.__setattr__(self, "batched", rows)
        object.__setattr__(self, "_inputs", {s.name: s for s in self.inputs})
        object.__setattr__(self, "_outputs", {s.name: s for s in self.outputs})
        object.__setattr__(self, "sole", Sole.of(self.inputs))

    def input(self, name: str) -> TensorSpec:
        if name not in self._inputs:
            raise SetsailError(
                "input.unknown", f"there is no input {name!r}", field=name, expected=_one_of(self._inputs)
            )
        return self._inputs[name]

    def output(self, name: str) -> TensorSpec:
        if name not in self._outputs:
            raise SetsailError(
                "output.unknown", f"there is no output {name!r}", field=name, expected=_one_of(self._outputs)
            )
        return self._outputs[name]

    @property
    def table(self) -> TensorSpec | None:
        """The one homogeneous 2-D table input, or None."""
        only = self.inputs[0] if len(self.inputs) == 1 else None
        return only if only is not None and only.columns and len(only.shape) == 2 else None

    def check(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Check arrays that are already of the right dtype: names, shapes, missing values, categories.

        This is the one check of a request, whatever wire it came through; `binding.bind` calls it last.

        Returns:
            The arrays in the signature's order.

        Raises:
            SetsailError: `input.missing`, `.unknown`, `.dtype`, `.shape`, `.length`, `.empty`, `.nan`, `.null`
                or `.category`, naming the input, the row, what was expected and what came.
        """
        for name in tensors:
            self.input(name)
        sizes: dict[str, tuple[int, str]] = {}
        checked: dict[str, Array] = {}
        for spec in self.inputs:
            if spec.name not in tensors:
                raise SetsailError(
                    "input.missing", f"input {spec.name!r} is missing", field=spec.name, expected=str(spec)
                )
            array = tensors[spec.name]
            came = dtype_of(array)
            if came is not spec.dtype and came != spec.dtype:  # equal ones that were pickled are not identical
                raise SetsailError(
                    "input.dtype",
                    f"input {spec.name!r} has the wrong dtype",
                    field=spec.name,
                    value=array.dtype.name,
                    expected=spec.dtype.name,
                )
            _check_shape(spec, array, sizes)
            _check_values(spec, array)
            checked[spec.name] = array
        return checked

    def to_json(self) -> dict[str, Any]:
        return {"inputs": [s.to_json() for s in self.inputs], "outputs": [s.to_json() for s in self.outputs]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any], defaults: tuple[str, ...]) -> Signature:
        return cls(
            tuple(TensorSpec.from_json(s) for s in body["inputs"]),
            tuple(TensorSpec.from_json(s) for s in body["outputs"]),
            defaults,
        )

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.inputs))}) -> ({', '.join(map(str, self.outputs))})"


def _one_of(names: Mapping[str, Any]) -> str:
    listed = [repr(n) for n in list(names)[:12]]
    return ("one of " if len(names) > 1 else "") + ", ".join(listed) + (", …" if len(names) > 12 else "")


def _check_shape(spec: TensorSpec, array: Array, sizes: dict[str, tuple[int, str]]) -> None:
    if array.ndim and not len(array):  # first, because JSON's [] has one dimension whatever the input has
        raise _empty(spec, array)
    if array.ndim != len(spec.shape):
        raise SetsailError(
            "input.shape",
            f"input {spec.name!r} has {array.ndim} dimensions",
            field=spec.name,
            value=list(array.shape),
            expected=f"{len(spec.shape)}: {spec}",
        )
    for dim, size in zip(spec.shape, array.shape, strict=True):
        if isinstance(dim, int):
            if size != dim:
                raise SetsailError(
                    "input.shape",
                    f"input {spec.name!r} has the wrong shape",
                    field=spec.name,
                    value=list(array.shape),
                    expected=str(spec),
                )
            continue
        known, owner = sizes.setdefault(dim, (size, spec.name))
        if size != known:
            raise SetsailError(
                "input.length",
                f"input {spec.name!r} has {size} where {owner!r} has {known}",
                field=spec.name,
                value=size,
                expected=f"{known} (both are {dim!r})",
            )
    if array.size == 0:
        raise _empty(spec, array)


def _check_values(spec: TensorSpec, array: Array) -> None:
    if not spec.nullable:
        if spec.dtype.kind == "float" and not finite(array):
            _refuse_at("input.nan", spec, array, ~np.isfinite(array), "a finite number")
        if spec.dtype.kind == "string" and NULL in array.ravel().tolist():
            _refuse_at("input.null", spec, array, array == NULL, "a text")
    if spec.closed:
        known = {*spec.categories, NULL} if spec.nullable else set(spec.categories)
        bad = np.array([str(v) not in known for v in array.ravel().tolist()], dtype=bool).reshape(array.shape)
        if bad.any():
            _refuse_at("input.category", spec, array, bad, _one_of(dict.fromkeys(spec.categories)))


def _empty(spec: TensorSpec, array: Array) -> SetsailError:
    return SetsailError(
        "input.empty",
        f"input {spec.name!r} is empty",
        field=spec.name,
        value=list(array.shape),
        expected="at least one row",
    )


_FAULTS = {"input.nan": "is not a number", "input.null": "is null", "input.category": "is an unknown category"}


def _refuse_at(code: str, spec: TensorSpec, array: Array, bad: Array, expected: str) -> None:
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    column = f", column {spec.columns[where[-1]]!r}," if spec.columns and len(where) == 2 else ""
    value = array[where]
    raise SetsailError(code, f"input {spec.name!r}, row {where[0]}{column} {_FAULTS[code]}", field=spec.name,
                       value=value.item() if isinstance(value, np.generic) else value, expected=expected,
                       row=where[0])  # fmt: skip
