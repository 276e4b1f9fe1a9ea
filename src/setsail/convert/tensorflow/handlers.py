"""Operators of TensorFlow that `tf2onnx` does not translate, or not for all types.

A handler is called with tf2onnx's graph and one of its nodes, and puts ONNX nodes in the node's place, under the names
of its outputs. `Lookup` needs the contents of the graph's tables; the others stand in HANDLERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from setsail.tensors import Array

__all__ = ["HANDLERS", "ML", "ML_VERSION", "Lookup", "Table", "unpack_weights"]

ML: Final = "ai.onnx.ml"
ML_VERSION: Final = 4  # LabelEncoder from anything to anything


@dataclass(frozen=True, slots=True)
class Table:
    """The contents of a lookup table of the graph."""

    keys: Array
    values: Array

    @classmethod
    def of(cls, keys: Array, values: Array) -> Table:
        """In the order of the values, then of the keys: a table exports them in the order of its hashes."""
        pairs = sorted(range(keys.size), key=lambda i: (values.ravel()[i], keys.ravel()[i]))
        return cls(keys.ravel()[pairs], values.ravel()[pairs])


class Lookup:
    """Turns a table's lookup into a LabelEncoder: known keys by value, all others by the default."""

    def __init__(self, tables: Mapping[bytes, Table]) -> None:
        self._tables = tables

    def __call__(self, ctx: Any, node: Any, name: str, args: Any) -> None:
        table, default = node.inputs[0], node.inputs[2]
        while table.type == "Identity":
            table = table.inputs[0]
        known = self._tables.get(table.get_attr_value("shared_name"))
        if known is None or not default.is_const() or not known.keys.size:
            raise ValueError("a lookup whose table is empty, or filled while it runs")
        source, target = ctx.get_dtype(node.input[1]), ctx.get_dtype(node.output[0])
        otherwise = np.asarray(default.get_tensor_value(as_list=False)).reshape(1)
        attributes = {
            "keys_tensor": _tensor("keys", known.keys), "values_tensor": _tensor("values", known.values),
            "default_tensor": _tensor("default", otherwise.astype(known.values.dtype)),
        }  # fmt: skip
        shape, takes, gives = ctx.get_shape(node.output[0]), node.input[1], node.output
        if source not in (TensorProto.STRING, TensorProto.INT64):
            takes = ctx.make_node("Cast", [takes], attr={"to": TensorProto.INT64}).output[0]
            attributes["keys_tensor"] = _tensor("keys", known.keys.astype(np.int64))
        ctx.remove_node(node.name)
        ctx.make_node("LabelEncoder", [takes], domain=ML, name=node.name, outputs=gives, attr=attributes,
                      shapes=[shape], dtypes=[target], skip_conversion=True)  # fmt: skip


def _tensor(name: str, array: Array) -> Any:
    flat = array.ravel()
    if flat.dtype.kind == "O":
        return helper.make_tensor(name, TensorProto.STRING, [flat.size], flat.tolist())
    return onnx.numpy_helper.from_array(np.ascontiguousarray(flat), name)


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """`erfc(x)`, as 1 - erf(x): the exact GELU uses it. Far from 0 it loses digits of what is nearly 0 anyway."""
    dtype, shape, takes, gives = (
        ctx.get_dtype(node.output[0]),
        ctx.get_shape(node.output[0]),
        node.input[0],
        node.output,
    )
    one = ctx.make_const(f"{node.name}_one", np.array(1, dtype=helper.tensor_dtype_to_np_dtype(dtype)))
    ctx.remove_node(node.name)
    erf = ctx.make_node("Erf", [takes], shapes=[shape], dtypes=[dtype], skip_conversion=True)
    ctx.make_node("Sub", [one.output[0], erf.output[0]], name=node.name, outputs=gives, shapes=[shape], dtypes=[dtype],
                  skip_conversion=True)  # fmt: skip


def _bucketize(ctx: Any, node: Any, name: str, args: Any) -> None:
    """How many boundaries are not above a value, NaN counting as above all: C++'s `upper_bound`, as the kernel does."""
    shape, takes, gives = ctx.get_shape(node.output[0]), node.input[0], node.output
    double = ctx.get_dtype(node.input[0]) == TensorProto.DOUBLE
    kind, numpy = (TensorProto.DOUBLE, np.float64) if double else (TensorProto.FLOAT, np.float32)
    bounds = np.asarray(node.get_attr("boundaries").floats, dtype=np.float32).astype(numpy)
    bounds = ctx.make_const(f"{node.name}_bounds", bounds)
    last = ctx.make_const(f"{node.name}_last", np.array([-1], dtype=np.int64))
    ctx.remove_node(node.name)
    made = takes
    for op, inputs, attributes in (
        ("Cast", [], {"to": kind}), ("Unsqueeze", [last.output[0]], {}), ("Less", [bounds.output[0]], {}),
        ("Not", [], {}), ("Cast", [], {"to": TensorProto.INT32}),
    ):  # fmt: skip
        made = ctx.make_node(op, [made, *inputs], attr=attributes, skip_conversion=True).output[0]
    ctx.make_node("ReduceSum", [made, last.output[0]], attr={"keepdims": 0}, name=node.name, outputs=gives,
                  shapes=[shape], dtypes=[TensorProto.INT32], skip_conversion=True)  # fmt: skip


HANDLERS: Final[Mapping[str, tuple[Callable[..., None], list[Any]]]] = {
    "Erfc": (_erfc, []),
    "Bucketize": (_bucketize, []),
}


def unpack_weights(model: Any) -> None:
    """Write quantised weights as the floats they stand for; activations stay quantised.

    Exact: a weight is `(q - zero) * scale` for the interpreter too. Without it onnxruntime merges weights and
    activations into products of 8-bit integers, whose sums overflow on processors without VNNI: answers off by a tenth.
    """
    graph = model.graph
    weights = {t.name: t for t in graph.initializer}
    for node in list(graph.node):
        if node.op_type != "DequantizeLinear" or not all(name in weights for name in node.input):
            continue
        values = [onnx.numpy_helper.to_array(weights[name]) for name in node.input]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [-1 if i == axis % values[0].ndim else 1 for i in range(values[0].ndim)] if values[1].size > 1 else []
        zero = values[2].astype(np.int64).reshape(shape) if len(values) > 2 else 0
        whole = values[0].astype(np.int64) - zero
        unpacked = whole.astype(np.float32) * values[1].reshape(shape)
        graph.initializer.append(onnx.numpy_helper.from_array(unpacked, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
