"""The person's example, in any of its forms, as arrays by input name.

Forms: one array, tensor or data frame; a tuple in the order of the arguments; a mapping by input name; a mapping or
data frame of columns for a model with one table input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.tensors import Array, DType, dtype_of

__all__ = ["fit", "given", "named", "stack"]


def named(example: Any, names: Sequence[str], required: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Sort an example's values by input name.

    Args:
        names: the model's inputs in order; `required` is how many of them must be given.

    Returns:
        Values by name, in the model's order, and the column names when columns were stacked to the one table.

    Raises:
        SetsailError: `convert.input` for unknown or missing names.
    """
    if hasattr(example, "columns") and hasattr(example, "to_dict"):
        example = {str(name): np.asarray(example[name]) for name in example.columns}
    if isinstance(example, Mapping):
        values = {str(k): v for k, v in example.items()}
        if required == 1 and not set(values) & set(names):
            return {names[0]: stack(values)}, tuple(values)
    elif isinstance(example, tuple):
        if len(example) > len(names):
            raise SetsailError("convert.input", "the example has too many values", field="example", value=len(example),
                               expected=", ".join(names))  # fmt: skip
        values = dict(zip(names, example, strict=False))
    else:
        values = {names[0]: example}
    unknown, missing = [n for n in values if n not in names], [n for n in names[:required] if n not in values]
    if unknown or missing:
        raise SetsailError("convert.input", "the example does not fit the model's inputs", field="example",
                           value=list(values), expected=", ".join(names))  # fmt: skip
    return {n: values[n] for n in names if n in values}, ()


def given(example: Any, specs: tuple[TensorSpec, ...]) -> tuple[dict[str, Array], tuple[TensorSpec, ...]]:
    """The arrays of an example, none where it is None; where it was a table's columns, their names go to the specs.

    Raises:
        SetsailError: what `named` and `fit` raise.
    """
    if example is None:
        return {}, specs
    values, columns = named(example, [s.name for s in specs], len(specs))
    if columns:
        specs = tuple(replace(s, columns=columns) for s in specs)
    return fit(values, specs), specs


def stack(columns: Mapping[str, Any]) -> Array:
    """Columns of equal length and of numbers, side by side."""
    arrays = {name: np.asarray(c) for name, c in columns.items()}
    wrong = [n for n, a in arrays.items() if a.ndim != 1 or a.dtype.kind not in "fiub"]
    if wrong or len({len(a) for a in arrays.values()}) != 1:
        raise SetsailError("convert.input", "the example's columns are no table of numbers", field="example",
                           value=wrong or list(arrays), expected="columns of numbers, equally long")  # fmt: skip
    return np.stack(list(arrays.values()), axis=1)


def fit(values: Mapping[str, Any], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Example values as arrays of the specs' dtypes, shapes checked. Raises `convert.input`."""
    arrays: dict[str, Array] = {}
    sizes: dict[str, int] = {}
    for spec in specs:
        if spec.name not in values:
            continue
        array = _cast(np.asarray(values[spec.name]), spec.dtype, spec)
        same = array.ndim == len(spec.shape) and all(
            size == (sizes.setdefault(dim, size) if isinstance(dim, str) else dim)
            for dim, size in zip(spec.shape, array.shape, strict=True)
        )
        if not same or array.size == 0:
            raise SetsailError("convert.input", f"the example of {spec.name!r} has another shape", field=spec.name,
                               value=list(array.shape), expected=str(spec))  # fmt: skip
        arrays[spec.name] = array
    return arrays


def _cast(array: Array, dtype: DType, spec: TensorSpec) -> Array:
    """Files hold float64 where models take float32: floats and integers change width, nothing changes kind."""
    found = dtype_of(array)
    kinds = {"float": ("float", "int", "uint"), "int": ("int", "uint"), "uint": ("int", "uint")}
    if found is None or found.kind not in kinds.get(dtype.kind, (dtype.kind,)):
        raise SetsailError("convert.input", f"the example of {spec.name!r} has dtype {array.dtype}", field=spec.name,
                           expected=str(spec))  # fmt: skip
    if dtype.kind == "string":
        texts = np.empty(array.shape, dtype=object)
        texts[...] = array.astype(str) if array.dtype.kind in "UST" else array
        return texts
    return array.astype(dtype.numpy)
