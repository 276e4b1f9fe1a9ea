"""The inputs of an ONNX graph as the signature has them.

A graph declares a size, a symbol or nothing for each dimension. The first dimension is the batch `N` where all inputs
leave it free, or where all say 1 (a program with a fixed batch of 1: the server splits). Any other fixed first
dimension is kept as it is, and the model is served unbatched. `--input` says what a graph leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from setsail.errors import SetsailError
from setsail.signature import BATCH, Dim, TensorSpec
from setsail.tensors import BY_ONNX

__all__ = ["Inputs", "batched", "read_inputs"]

Inputs = tuple[TensorSpec, ...]


def read_inputs(model: Any, given: Sequence[TensorSpec]) -> tuple[Inputs, bool]:
    """The specs of a graph's inputs, and whether its batch is fixed to 1.

    Inputs with a default (an initializer of the same name) are dropped from the graph: nobody sends them.

    Raises:
        SetsailError: `convert.unsupported` for sequences, maps and dtypes we have not; `convert.input` where
            `--input` contradicts the graph; `convert.example` for an input without a rank.
    """
    graph = model.graph
    weights = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    kept = [i for i in graph.input if i.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)  # before 4, every initializer had to be an input as well
    asked = {s.name: s for s in given}
    for name in asked:
        if name not in {i.name for i in kept}:
            raise SetsailError("convert.input", f"the model has no input {name!r}", field="--input",
                               value=str(asked[name]), expected=", ".join(i.name for i in kept))  # fmt: skip
    declared = [_declared(value, asked.get(value.name)) for value in kept]
    return batched(declared)


def _declared(value: Any, asked: TensorSpec | None) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    dtype = BY_ONNX.get(value.type.tensor_type.elem_type) if kind == "tensor_type" else None
    if dtype is None:
        held = f"tensor of type {value.type.tensor_type.elem_type}" if kind == "tensor_type" else kind
        raise SetsailError("convert.unsupported", f"input {value.name!r} is a {held}", field=value.name,
                           expected="a tensor of " + ", ".join(d.name for d in BY_ONNX.values()),
                           todo="wrap the graph so that it takes plain tensors")  # fmt: skip
    if not value.type.tensor_type.HasField("shape"):
        if asked is None:
            raise SetsailError("convert.example", f"input {value.name!r} has no shape", field=value.name,
                               expected=f'--input "{value.name}:{dtype}[*,…]"')  # fmt: skip
        return _agreed(asked, dtype.name, ())
    shape = tuple(_dim(value.name, axis, d) for axis, d in enumerate(value.type.tensor_type.shape.dim))
    spec = TensorSpec(value.name, dtype, shape)
    return spec if asked is None else _agreed(asked, dtype.name, shape)


def _dim(name: str, axis: int, dim: Any) -> Dim:
    """A size, or a symbol in the signature's letters; sizes below 1 are how some exporters write `free`."""
    if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0:
        return int(dim.dim_value)
    text = re.sub(r"\W+", "_", dim.dim_param).strip("_")
    return text or (BATCH if axis == 0 else f"{name}_{axis}")


def _agreed(asked: TensorSpec, dtype: str, shape: tuple[Dim, ...]) -> TensorSpec:
    """What `--input` says, where the graph leaves it open."""
    same = len(shape) == len(asked.shape) and all(
        isinstance(have, str) or have == want for have, want in zip(shape, asked.shape, strict=True)
    )
    fits = asked.dtype.name == dtype and (same or not shape)
    if not fits:
        graph = f"{asked.name}:{dtype}[{','.join(map(str, shape))}]"
        raise SetsailError("convert.input", "an --input text contradicts the model", field="--input",
                           value=str(asked), expected=graph)  # fmt: skip
    return asked


def batched(specs: Sequence[TensorSpec], *, shared: bool = False) -> tuple[Inputs, bool]:
    """Name the batch `N`. First dimensions of different symbols are one batch only when said to be `shared`."""
    if not specs:
        raise SetsailError("convert.unsupported", "the model has no inputs", expected="at least one input")
    firsts = {s.shape[0] if s.shape else None for s in specs}
    if firsts == {1}:
        return tuple(replace(s, shape=(BATCH, *_without_batch(s.shape[1:]))) for s in specs), True
    symbols = {d for d in firsts if isinstance(d, str)}
    if len(symbols) == len(firsts) and (shared or len(symbols - {BATCH}) <= 1):
        known = dict.fromkeys([BATCH], "n") | dict.fromkeys(symbols, BATCH)
        freed = (tuple(known.get(d, d) if isinstance(d, str) else d for d in s.shape[1:]) for s in specs)
        return tuple(replace(s, shape=(BATCH, *rest)) for s, rest in zip(specs, freed, strict=True)), False
    return tuple(replace(s, shape=_without_batch(s.shape)) for s in specs), False


def _without_batch(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """A symbol that happens to be called N is not the batch here."""
    return tuple("n" if d == BATCH else d for d in shape)
