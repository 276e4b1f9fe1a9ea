"""A person's example on its way to a child process: arrays in one tensor file, their arrangement as JSON.

From parent to child only. Data frames, series, tensors, mappings, tuples and lists arrive as what they were; anything
else is refused here, before a child is started. NaN and None stay apart, as models tell them apart.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from setsail import tensorfile
from setsail.errors import SetsailError
from setsail.tensors import NULL, Array, dtype_of

__all__ = ["load", "save"]

_FILE: Final = "example.tensors"
_SCALARS: Final = (str, int, float, bool, type(None))


def save(example: Any, folder: Path) -> dict[str, Any]:
    """Write an example's arrays to the folder. Returns their arrangement. Raises `convert.input`."""
    arrays: dict[str, Array] = {}
    tree = _take_apart(example, arrays)
    if arrays:
        (folder / _FILE).write_bytes(tensorfile.encode(arrays))
    return tree


def load(tree: Mapping[str, Any], folder: Path) -> Any:
    """The inverse of `save`, in the child."""
    file = folder / _FILE
    return _put_together(tree, tensorfile.decode(file.read_bytes()) if file.exists() else {})


def _take_apart(value: Any, arrays: dict[str, Array]) -> dict[str, Any]:
    root = type(value).__module__.partition(".")[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _SCALARS):
        return {"is": "plain", "value": value}
    if isinstance(value, Mapping):
        return {"is": "mapping", "items": [[str(k), _take_apart(v, arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        if isinstance(value, list) and all(isinstance(v, _SCALARS) for v in value):
            return {"is": "plain", "value": value}
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {"is": kind, "items": [_take_apart(v, arrays) for v in value]}
    if isinstance(value, np.ndarray):
        return _array(value, arrays)
    if root == "torch" and hasattr(value, "detach"):
        return {"is": "tensor", "of": _array(value.detach().cpu().numpy(), arrays)}
    if root == "pandas" and hasattr(value, "columns"):
        columns = [[_label(name), _series(value[name], arrays)] for name in value.columns]
        return {"is": "frame", "columns": columns}
    if root == "pandas" and hasattr(value, "dtype"):
        return {"is": "series", "name": _label(value.name), "of": _series(value, arrays)}
    raise SetsailError(
        "convert.input", f"an example of type {root}.{type(value).__name__} cannot be handed to a child process",
        field="example", value=type(value).__name__, expected="an array, a data frame, a mapping, a tuple or a list",
    )  # fmt: skip


def _label(name: Any) -> Any:
    return name.item() if isinstance(name, np.generic) else name if isinstance(name, _SCALARS) else str(name)


def _array(value: Array, arrays: dict[str, Array]) -> dict[str, Any]:
    if value.dtype.kind in "OUT":
        flat = [None if type(v).__name__ in ("NAType", "NaTType") else v for v in value.ravel().tolist()]
        if not all(isinstance(v, _SCALARS) for v in flat):
            raise SetsailError("convert.input", "the example holds objects that are neither numbers nor text",
                               field="example", expected="numbers, text or None")  # fmt: skip
        if not all(isinstance(v, str) for v in flat) or NULL in flat:
            return {"is": "objects", "shape": list(value.shape), "values": flat}
        texts = np.empty(len(flat), dtype=object)
        texts[:] = flat
        value = texts.reshape(value.shape)
    elif dtype_of(value) is None:
        raise SetsailError("convert.input", f"the example has dtype {value.dtype}", field="example",
                           expected="numbers or text")  # fmt: skip
    name = f"a{len(arrays)}"
    arrays[name] = value
    return {"is": "array", "name": name}


def _series(series: Any, arrays: dict[str, Array]) -> dict[str, Any]:
    dtype = str(series.dtype)
    if dtype == "category":
        levels = _array(np.asarray(series.cat.categories), arrays)
        codes = _array(np.asarray(series.cat.codes), arrays)
        return {"is": "category", "levels": levels, "codes": codes, "ordered": bool(series.cat.ordered)}
    node = _array(series.to_numpy(), arrays)
    return {"is": "column", "dtype": dtype, "of": node}


def _put_together(node: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    return _BUILDERS[node["is"]](node, arrays)


def _objects(node: Mapping[str, Any], arrays: Mapping[str, Array]) -> Array:
    flat = np.empty(len(node["values"]), dtype=object)
    flat[:] = node["values"]
    return flat.reshape(node["shape"])


def _tensor(node: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    return importlib.import_module("torch").from_numpy(_put_together(node["of"], arrays).copy())


def _column(node: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    pandas = importlib.import_module("pandas")
    if node["is"] == "category":
        levels, codes = (_put_together(node[key], arrays) for key in ("levels", "codes"))
        return pandas.Series(pandas.Categorical.from_codes(codes, levels, ordered=node["ordered"]))
    return pandas.Series(_put_together(node["of"], arrays), dtype=node["dtype"])


def _frame(node: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    pandas = importlib.import_module("pandas")
    columns = [_column(column, arrays) for _, column in node["columns"]]
    frame = pandas.concat(columns, axis=1) if columns else pandas.DataFrame()
    frame.columns = [name for name, _ in node["columns"]]
    return frame


def _named_series(node: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
    series = _column(node["of"], arrays)
    series.name = node["name"]
    return series


_BUILDERS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Array]], Any]]] = {
    "plain": lambda node, arrays: node["value"],
    "mapping": lambda node, arrays: {k: _put_together(v, arrays) for k, v in node["items"]},
    "list": lambda node, arrays: [_put_together(v, arrays) for v in node["items"]],
    "tuple": lambda node, arrays: tuple(_put_together(v, arrays) for v in node["items"]),
    "array": lambda node, arrays: arrays[node["name"]],
    "objects": _objects,
    "tensor": _tensor,
    "frame": _frame,
    "series": _named_series,
}
