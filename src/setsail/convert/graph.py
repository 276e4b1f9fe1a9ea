"""Writing an ONNX program by hand.

`Graph` is a list of nodes with fresh names; a converter for one estimator is a function from value names to value
names, so that pipelines, unions and ensembles compose by calling. Everything is float64 unless the source casts: the
program casts exactly where the source does.

Opsets are fixed: `ai.onnx` 18 and `ai.onnx.ml` 3 (the newest with kernels for every operator used here and with double
tree thresholds, its `*_as_tensor` attributes), so equal models give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME

__all__ = ["ML", "MS", "OPSETS", "Graph"]

ML: Final = "ai.onnx.ml"
MS: Final = "com.microsoft"
OPSETS: Final = {"": 18, ML: 3}


class Graph:
    """A growing ONNX graph. Values are named by strings; `node` and `constant` return the names they made."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._domains = dict(OPSETS)
        self._numbers = count(1)

    def name(self, hint: str) -> str:
        """A fresh value name."""
        return f"{hint}_{next(self._numbers)}"

    def node(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Append a node. Returns its output's name, or a tuple of names when `outputs` is more than 1."""
        names = [self.name(op.lower()) for _ in range(outputs)]
        if domain == MS:
            self._domains[MS] = 1
        attributes = {k: v for k, v in attributes.items() if v is not None}
        self._nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def constant(self, value: Any, dtype: Any = None) -> str:
        """An initializer; equal ones are stored once. Text arrays become string tensors."""
        array = np.asarray(value, dtype=dtype)
        if array.dtype.kind in "US":
            array = array.astype(object)
        raw = repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes()
        key = (array.dtype.str, array.shape, raw)
        if key not in self._constants:
            name = self.name("const")
            if array.dtype.kind == "O":
                texts = [str(v).encode() for v in array.ravel().tolist()]
                tensor = helper.make_tensor(name, TensorProto.STRING, list(array.shape), texts)
            else:
                tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            self._initializers.append(tensor)
            self._constants[key] = name
        return self._constants[key]

    def cast(self, value: str, dtype: str) -> str:
        """Cast to one of our dtypes by name."""
        return str(self.node("Cast", value, to=BY_NAME[dtype].onnx))

    def rename(self, value: str, name: str) -> str:
        """Give a value a public name (outputs)."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        return name

    def loop(
        self, limit: int, state: str, dtype: str, step: Callable[[Graph, str, str], tuple[str, str | None]]
    ) -> str:
        """Carry one value through at most `limit` rounds; returns it as the last round left it.

        `step(inner, i, state)` writes one round into `inner`, which sees every value of this graph: `i` is the round's
        number (int64 scalar). It returns the new state and a bool scalar that says whether to go on (None: always).
        """
        inner = Graph()
        inner._numbers, inner._domains = self._numbers, self._domains
        inner._initializers, inner._constants = self._initializers, self._constants
        names = [self.name(hint) for hint in ("round", "go", "held")]
        after, again = step(inner, names[0], names[2])
        again = again or inner.node("Identity", names[1])
        kinds = [TensorProto.INT64, TensorProto.BOOL, BY_NAME[dtype].onnx]
        shapes: list[list[int] | None] = [[], [], None]
        takes = [helper.make_tensor_value_info(*row) for row in zip(names, kinds, shapes, strict=True)]
        gives = [helper.make_tensor_value_info(*row) for row in zip([again, after], kinds[1:], shapes[1:], strict=True)]
        body = helper.make_graph(inner._nodes, self.name("body"), takes, gives)
        return str(self.node("Loop", self.constant(limit, np.int64), self.constant(True), state, body=body))

    def inline(self, model: Any, inputs: Sequence[str]) -> tuple[str, ...]:
        """Append another model's graph, its inputs bound to `inputs` in order; returns its outputs' names.

        Names are prefixed; opsets must not be newer than ours.
        """
        prefix = self.name("sub")
        onnx.compose.add_prefix(model, f"{prefix}_", inplace=True)
        graph = model.graph
        for proto, bound in zip(graph.input, inputs, strict=True):
            self._nodes.append(helper.make_node("Identity", [bound], [proto.name]))
        self._nodes.extend(graph.node)
        self._initializers.extend(graph.initializer)
        for entry in model.opset_import:
            if entry.domain not in OPSETS:
                self._domains[entry.domain] = entry.version
        return tuple(o.name for o in graph.output)

    def model(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
        """Close the graph: inputs and outputs by their public names. Returns the checked, serialized model."""
        graph = helper.make_graph(
            self._nodes, "setsail", [_value(s) for s in inputs], [_value(s) for s in outputs], self._initializers
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="setsail")
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _value(spec: TensorSpec) -> Any:
    return helper.make_tensor_value_info(spec.name, spec.dtype.onnx, list(spec.shape))
