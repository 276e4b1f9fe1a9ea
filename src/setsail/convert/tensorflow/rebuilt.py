"""ONNX graphs as a SavedModel: rebuilt node by node from TensorFlow's own operators, traced, and saved.

Only for `setsail export --to savedmodel`, in a child process. The graphs are ones that packing made and the gate let
through. An operator that is not in `operators.py` is refused by its name, and whoever calls this compares what was
saved with the stored samples: nothing here is taken on trust.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded: it tells of the processor it is on

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import tensorflow as tf
from onnx import numpy_helper

from setsail.convert.chatter import silenced
from setsail.convert.tensorflow.operators import OPERATORS, call
from setsail.convert.tensorflow.weights import Constant, Unknown, Weights, tensor
from setsail.errors import SetsailError
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["Program", "Rebuilt", "argument_names", "save"]

Call = Callable[[Mapping[str, Array]], dict[str, Array]]
_DOMAINS: Final = ("", "ai.onnx")
_OLDEST: Final = 13  # from here on, axes of Squeeze and Unsqueeze are inputs, and Softmax is of one axis
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Program(NamedTuple):
    """A graph to rebuild: the file, what it takes and gives, `max_batch` 1 where its batch is fixed, and the names of
    signatures that it is saved under."""

    path: Path
    signature: Signature
    max_batch: int | None
    names: tuple[str, ...]


class Rebuilt:
    """A graph. Called with the signature's inputs in order, it gives its outputs by name.

    Raises:
        SetsailError: `convert.unsupported` for an operator, or a use of one, that cannot be rebuilt.
    """

    def __init__(self, model: Any, signature: Signature, weights: Weights) -> None:
        graph, self.weights = model.graph, weights
        self.names = [spec.name for spec in signature.inputs]
        self.results = signature.outputs
        self.constants = {t.name: Constant(_array(t), weights) for t in graph.initializer}
        self.opset = max((o.version for o in model.opset_import if o.domain in _DOMAINS), default=_OLDEST)
        self.nodes = [node for node in graph.node if not self._is_constant(node)]
        for node in self.nodes:
            if (name := _name(node)) not in OPERATORS:
                raise _refused(f"operator {name} has no counterpart that is known", name)
        self.attributes = [_attributes(node) for node in self.nodes]

    def _is_constant(self, node: Any) -> bool:
        if node.op_type != "Constant" or node.domain not in _DOMAINS:
            return False
        (value,) = (v for name, v in _attributes(node).items() if name != "outputs")
        held = np.array(value, object) if isinstance(value, str) or (isinstance(value, list) and value and
                                                                     isinstance(value[0], str)) else value  # fmt: skip
        held = np.asarray(held, np.float32) if node.attribute[0].name in ("value_float", "value_floats") else held
        self.constants[node.output[0]] = Constant(held, self.weights)
        return True

    def __call__(self, *inputs: Any) -> dict[str, Any]:
        values: dict[str, Any] = dict(zip(self.names, inputs, strict=True)) | self.constants
        for node, attributes in zip(self.nodes, self.attributes, strict=True):
            name, given = _name(node), [values[i] if i else None for i in node.input]
            try:
                found = call(name, given, attributes | {"weights": self.weights, "opset": self.opset})
            except Unknown as fault:
                raise _refused(f"{name}, as it is used ({fault}), has no counterpart that is known", name) from fault
            except (tf.errors.OpError, ValueError, TypeError, NotImplementedError) as fault:
                line = str(fault).strip().partition("\n")[0][:200]
                raise _refused(f"TensorFlow takes no {name} as it is used: {line}", name) from fault
            results = found if type(found) is tuple else (found,)
            values.update(zip(node.output, results, strict=False))
        return {spec.name: _as_declared(tensor(values[spec.name]), spec) for spec in self.results}


def _as_declared(value: Any, spec: TensorSpec) -> Any:
    """What the signature knows of an output's shape, told to those who read the SavedModel's."""
    found = tf.identity(value)
    if found.shape.rank in (None, len(spec.shape)):
        found.set_shape([dim if isinstance(dim, int) else None for dim in spec.shape])
    return found


def argument_names(signature: Signature) -> dict[str, str]:
    """The inputs' names, and what they are called in the SavedModel: TensorFlow's are letters, digits and `_`."""
    told: dict[str, str] = {}
    for spec in signature.inputs:
        name = spec.name if _PLAIN.fullmatch(spec.name) else "in_" + re.sub(r"[^A-Za-z0-9]+", "_", spec.name).strip("_")
        while name in told.values():
            name += "_"
        told[spec.name] = name
    return told


def save(programs: Sequence[Program], target: Path) -> list[Call]:
    """Rebuild programs, save them as the signatures of one SavedModel, load it again.

    Returns:
        For each program what runs the signature that was saved: arrays by name to arrays by name.
    """
    with silenced(("tensorflow", "absl")):
        root = tf.Module()
        root.weights = Weights()
        functions = [_traced(program, root.weights) for program in programs]
        named = {name: made for program, made in zip(programs, functions, strict=True) for name in program.names}
        tf.saved_model.save(root, str(target), signatures=named)
        loaded = tf.saved_model.load(str(target))
    return [_calling(loaded, program) for program in programs]


def _traced(program: Program, weights: Weights) -> Any:
    model = onnx.load(program.path)
    oldest = [o.version for o in model.opset_import if o.domain in _DOMAINS and o.version < _OLDEST]
    if oldest:
        raise _refused(f"the graph is of opset {oldest[0]}, and {_OLDEST} is the oldest that is rebuilt", "opset")
    names, signature = argument_names(program.signature), program.signature
    fixed = {BATCH: 1} if program.max_batch == 1 else {}
    specs = [
        tf.TensorSpec([fixed.get(d) if isinstance(d, str) else d for d in spec.shape], _dtype(spec), names[spec.name])
        for spec in signature.inputs
    ]
    rebuilt = Rebuilt(model, signature, weights)
    function = tf.function(lambda *inputs: rebuilt(*inputs), input_signature=specs, autograph=False)
    return function.get_concrete_function()


def _dtype(spec: TensorSpec) -> Any:
    return tf.string if spec.dtype.kind == "string" else tf.as_dtype(spec.dtype.numpy)


def _calling(loaded: Any, program: Program) -> Call:
    function, names = loaded.signatures[program.names[0]], argument_names(program.signature)

    def answer(inputs: Mapping[str, Array]) -> dict[str, Array]:
        # the variables live as long as what was loaded
        assert loaded is not None
        found = function(**{names[n]: tf.constant(a, function.structured_input_signature[1][names[n]].dtype)
                            for n, a in inputs.items()})  # fmt: skip
        return {spec.name: _answer(found[spec.name].numpy()) for spec in program.signature.outputs}

    return answer


def _answer(array: Any) -> Array:
    if np.asarray(array).dtype.kind != "O":
        return np.asarray(array)
    texts = np.asarray(array)
    return np.array([t.decode() for t in texts.reshape(-1)], object).reshape(texts.shape)


def _name(node: Any) -> str:
    return str(node.op_type) if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"


def _attributes(node: Any) -> dict[str, Any]:
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if any(isinstance(value, onnx.GraphProto) for value in found.values()):
        raise _refused(f"operator {node.op_type} has a graph of its own", node.op_type)
    return {name: _plain(value) for name, value in found.items()} | {"outputs": len(node.output)}


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return _array(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | tuple) or hasattr(value, "__iter__"):
        return [v.decode() if isinstance(v, bytes) else v for v in value]
    return value


def _array(proto: Any) -> Array:
    found = np.asarray(numpy_helper.to_array(proto))
    return np.asarray(found, object) if found.dtype.kind in "OUST" else found


def _refused(what: str, field: str) -> SetsailError:
    return SetsailError("convert.unsupported", f"the program cannot be rebuilt in TensorFlow: {what}", field=field,
                        expected="a graph of operators that are rebuilt", todo="export --to onnx")  # fmt: skip
