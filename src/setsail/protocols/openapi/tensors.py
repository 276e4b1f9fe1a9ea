"""A tensor's specification as JSON Schema (draft 2020-12): what a request may hold, what an answer holds.

JSON Schema cannot say that two lists are equally long; where a shape has such a rule, the description says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from setsail.letters import REQUEST
from setsail.signature import TensorSpec
from setsail.tensors import DType

__all__ = ["Schema", "array", "nested", "record", "scalar", "text"]

Schema = dict[str, Any]

_TYPES: Final[Mapping[str, str]] = {
    "float": "number", "int": "integer", "uint": "integer", "bool": "boolean", "string": "string",
}  # fmt: skip
_FORMATS: Final[Mapping[str, str]] = {"float32": "float", "float64": "double", "int32": "int32", "int64": "int64"}
# JSON has no such numbers: a wire writes null and these texts, or the bare tokens that Python and JavaScript know.
_NOT_FINITE: Final = ("Infinity", "-Infinity")


def text(description: str = "", **more: Any) -> Schema:
    return {"type": "string"} | ({"description": description} if description else {}) | more


def array(items: Schema, description: str = "", **more: Any) -> Schema:
    return {"type": "array", "items": items} | ({"description": description} if description else {}) | more


def record(properties: Mapping[str, Schema], *optional: str, exact: bool = True, description: str = "") -> Schema:
    """An object with these properties, all required but the optional ones; `exact`: and no others."""
    made: Schema = {"type": "object", "properties": dict(properties)}
    required = [name for name in properties if name not in optional]
    if required:
        made["required"] = required
    if exact:
        made["additionalProperties"] = False
    return made | ({"description": description} if description else {})


def scalar(spec: TensorSpec, *, answer: bool = False, strict: bool = False) -> Schema:
    """One value of a tensor.

    Args:
        answer: an output's; else an input's, with the limits of its dtype.
        strict: of an answer: numbers that are not finite are null and text, as the plain wire writes them.
    """
    kind = spec.dtype.kind
    made: Schema = {"type": _TYPES[kind]}
    if spec.dtype.name in _FORMATS:
        made["format"] = _FORMATS[spec.dtype.name]
    if answer:
        return _answered(spec, made, strict)
    if spec.content == REQUEST:  # a text is the body itself
        return made
    if spec.content:
        return made | {"contentEncoding": "base64"}
    made |= _limits(spec.dtype)
    if spec.closed and spec.categories:
        made = {"enum": [*spec.categories, *((None,) if spec.nullable else ())]}
    elif spec.nullable and kind in ("float", "string"):
        made["type"] = [made["type"], "null"]
    if spec.categories and not spec.closed:
        made["examples"] = list(spec.categories[:20])
    return made


def _answered(spec: TensorSpec, made: Schema, strict: bool) -> Schema:
    if spec.dtype.kind == "float" and strict:
        return {"anyOf": [made, {"type": "null"}, {"enum": list(_NOT_FINITE)}]}
    if spec.dtype.kind == "string":
        made["type"] = ["string", "null"]
        if spec.labels and len(spec.shape) == 1:
            made["examples"] = list(spec.labels[:20])
    return made


def _limits(dtype: DType) -> Schema:
    if dtype.kind in ("int", "uint"):
        integer = np.iinfo(dtype.numpy)
        return {"minimum": int(integer.min), "maximum": int(integer.max)}
    if dtype.kind == "float":
        largest = float(np.finfo(dtype.numpy).max)
        return {"minimum": -largest, "maximum": largest}
    return {}


def nested(spec: TensorSpec, *, row: bool = False, answer: bool = False, strict: bool = False) -> Schema:
    """A whole tensor as nested lists, or one row of it."""
    shape = spec.shape[1:] if row and spec.batched else spec.shape
    made = scalar(spec, answer=answer, strict=strict)
    for dim in reversed(shape):
        made = array(made)
        if isinstance(dim, int):
            made |= {"minItems": dim, "maxItems": dim}
        elif not answer:
            made["minItems"] = 1
    return made | {"description": _about(spec, row)}


def _about(spec: TensorSpec, row: bool) -> str:
    said = f"a row of {spec}" if row else str(spec)
    for what, names in (("columns", spec.columns), ("labels", spec.labels)):
        if names:
            said += f"; {what} {', '.join(names[:20])}" + (", …" if len(names) > 20 else "")
    return said
