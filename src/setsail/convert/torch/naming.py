"""Names and shapes of a module's inputs and outputs.

Inputs are the arguments of `forward`; outputs are `output`, or `output_0`, `output_1`, … of a tuple, or the keys of a
dict or dataclass. Nested values join their names with `_`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from setsail.convert.conversion import Intent
from setsail.convert.examples import named
from setsail.errors import SetsailError
from setsail.signature import BATCH, TensorSpec
from setsail.tensors import BY_NAME, Array

__all__ = ["Arguments", "arguments", "flatten", "forward_names", "to_array", "to_tensor"]


@dataclasses.dataclass(frozen=True, slots=True)
class Arguments:
    """A module's inputs: the specs in order, example tensors by name (may be empty)."""

    specs: tuple[TensorSpec, ...]
    example: Mapping[str, Array]


def forward_names(forward: Callable[..., Any]) -> tuple[tuple[str, ...], int]:
    """Argument names of `forward` and how many of them have no default. `*args` adds `input_0`… on demand."""
    positional: list[str] = []
    required = 0
    for parameter in inspect.signature(forward).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        positional.append(parameter.name)
        required += parameter.default is parameter.empty
    return tuple(positional), required


def arguments(names: Sequence[str], required: int, intent: Intent, dtype: torch.dtype) -> Arguments:
    """The inputs, from `--input` and the example; what one does not say the other does.

    With an example alone only the batch is free; `--input` names the other free dimensions.

    Raises:
        SetsailError: `convert.example` with neither, `convert.input` where they do not fit `forward`.
    """
    if intent.example is None and not intent.inputs:
        asked = " ".join(f'--input "{n}:float32[*,…]"' for n in names[: max(1, required)])
        raise SetsailError("convert.example", "a PyTorch module does not say what its inputs look like",
                           expected=f"an example, or {asked}")  # fmt: skip
    names = tuple(names) or tuple(s.name for s in intent.inputs) or ("input",)
    given = _checked(names, required, intent.inputs)
    example: dict[str, Array] = {}
    columns: tuple[str, ...] = ()
    if intent.example is not None:
        values, columns = named(intent.example, names, required)
        example = {name: _example(value, given.get(name), dtype) for name, value in values.items()}
    specs = []
    for name in names:
        if name in given:
            specs.append(_batch_first(given[name]))
        elif name in example:
            array = example[name]
            shape = (BATCH, *array.shape[1:]) if array.ndim else ()
            found = TensorSpec(name, BY_NAME["string" if array.dtype.kind == "O" else array.dtype.name], shape)
            specs.append(dataclasses.replace(found, columns=columns if len(shape) == 2 else ()))
    return Arguments(tuple(specs), {s.name: example[s.name] for s in specs if s.name in example})


def _checked(names: Sequence[str], required: int, inputs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    given = {s.name: _own_symbols(s) if len(inputs) > 1 else s for s in inputs}
    if len(given) == 1 and required == 1 and next(iter(given)) not in names:
        only = next(iter(given.values()))  # one input each: its name may be anything, the module's holds
        given = {names[0]: dataclasses.replace(only, name=names[0])}
    for name in given:
        if name not in names:
            raise SetsailError("convert.input", f"forward has no argument {name!r}", field="--input",
                               value=str(given[name]), expected=", ".join(names))  # fmt: skip
        if given[name].dtype.kind == "string":
            raise SetsailError("convert.input", "a PyTorch module takes no text", field=name, value=str(given[name]),
                               expected="a dtype of numbers")  # fmt: skip
    return given


def _batch_first(spec: TensorSpec) -> TensorSpec:
    """The first free dimension is the batch, whatever it was called; 1 there is one row of it."""
    if not spec.shape:
        return spec
    first = spec.shape[0]
    if isinstance(first, int) and first != 1:
        return spec
    known = {BATCH: "n"} | ({first: BATCH} if isinstance(first, str) else {})
    rest = tuple(known.get(d, d) if isinstance(d, str) else d for d in spec.shape[1:])
    return dataclasses.replace(spec, shape=(BATCH, *rest))


def _own_symbols(spec: TensorSpec) -> TensorSpec:
    """`*` in two inputs are two free dimensions, though both texts parse to the axis' symbol."""
    shape = tuple(f"{spec.name}_{d}" if i and d == f"d{i}" else d for i, d in enumerate(spec.shape))
    return dataclasses.replace(spec, shape=shape)


def _example(value: Any, spec: TensorSpec | None, dtype: torch.dtype) -> Array:
    """An example value in the dtype the module takes: a tensor's own; numpy's float64 becomes the parameters' dtype."""
    if isinstance(value, torch.Tensor):
        return to_array(value)
    array = np.asarray(value)
    if spec is not None:
        return array.astype(spec.dtype.numpy)
    if array.dtype.kind == "f":
        return array.astype(to_array(torch.zeros(0, dtype=dtype)).dtype)
    if array.dtype.kind not in "iub":
        raise SetsailError("convert.input", f"an example of dtype {array.dtype} is no tensor", field="example",
                           expected="numbers")  # fmt: skip
    return array


def to_array(tensor: torch.Tensor) -> Array:
    """A tensor as numpy. Raises `convert.unsupported` for a dtype numpy has not (bfloat16, complex)."""
    detached = tensor.detach().cpu()
    if detached.is_sparse or detached.is_quantized or str(detached.dtype).removeprefix("torch.") not in BY_NAME:
        raise SetsailError("convert.unsupported", f"a tensor of dtype {detached.dtype}", value=str(detached.layout),
                           expected=", ".join(BY_NAME), todo="call .float() on the module")  # fmt: skip
    array: Array = detached.contiguous().numpy()
    return array


def to_tensor(array: Array, device: torch.device) -> torch.Tensor:
    """A copy: a module that writes into its input must not reach the caller's array."""
    return torch.from_numpy(np.array(array, order="C")).to(device)


def flatten(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    """A module's answer as tensors by name. None is left out, anything else refused as `convert.unsupported`."""
    if isinstance(value, torch.Tensor):
        return {name or "output": value}
    if value is None:
        return {}
    if isinstance(value, Mapping):
        items = [(str(k), v) for k, v in value.items()]
    elif dataclasses.is_dataclass(value):
        items = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = list(zip(value._fields, value, strict=True))
    elif isinstance(value, tuple | list):
        items = [(f"output_{i}" if not name else str(i), v) for i, v in enumerate(value)]
    else:
        raise SetsailError("convert.unsupported", f"the module answers {name or 'a value'} of type "
                           f"{type(value).__name__}", expected="tensors, in tuples, dicts or dataclasses",
                           todo="wrap it in a module that returns tensors")  # fmt: skip
    flat: dict[str, torch.Tensor] = {}
    for key, inner in items:
        flat |= flatten(inner, f"{name}_{key}" if name else key)
    return flat
