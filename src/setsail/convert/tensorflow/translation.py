"""A traced TensorFlow function -> an ONNX model, by `tf2onnx`.

`tf2onnx` is told to go on over operators it does not know, and leaves them in the graph; so what it could not
translate is looked for afterwards and refused by name. Lookup tables are resources, which it finds only in a loaded
SavedModel, and knows only from text to integers; here their contents are read through the function's own captures, and
each lookup becomes a `LabelEncoder` of `ai.onnx.ml`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import onnx
import tensorflow as tf
import tf2onnx.convert
from onnx import TensorProto, helper
from tensorflow.python.ops import gen_lookup_ops
from tf2onnx import tf_loader, tf_utils

from setsail.convert.chatter import silenced
from setsail.convert.onnx.program import graphs, rename
from setsail.convert.tensorflow.handlers import HANDLERS, ML, ML_VERSION, Lookup, Table, unpack_weights
from setsail.convert.tensorflow.strings import texts
from setsail.errors import SetsailError

__all__ = ["OPSET", "Lite", "Traced", "Translation", "quiet"]

OPSET: Final = 18
_UNCHANGED: Final = ("Identity", "Cast", "Reshape", "ExpandDims", "Squeeze", "EnsureShape")
_MOST_LEVELS: Final = 10_000
_LOGGERS: Final = ("tensorflow", "tf2onnx", "absl", "h5py")


class Translation(Protocol):
    """Something that becomes an ONNX model.

    Attributes:
        levels: input -> the keys of the one table that looks its values up; these rows are worth trying.
    """

    @property
    def levels(self) -> Mapping[str, tuple[str, ...]]: ...

    def model(self, outputs: Sequence[str]) -> Any:
        """An `onnx.ModelProto` of opset 18 with all weights in it, its outputs under these names.

        Raises `convert.unsupported`, naming the operator.
        """


class Traced:
    """A concrete function, frozen. A `Translation`.

    Args:
        function: a `tf.types.experimental.ConcreteFunction` whose arguments are tensors.
        inputs: public names of its arguments, in its own order.

    Raises:
        SetsailError: `convert.unsupported` for a graph that cannot be frozen.
    """

    def __init__(self, function: Any, inputs: Sequence[str]) -> None:
        self._takes = [t.name for t in function.inputs[: len(inputs)]]
        self._gives = [t.name for t in function.outputs if t.dtype != tf.resource]
        self._inputs = tuple(inputs)
        with quiet():
            try:
                self._graph, self._tables = _frozen(function, self._takes, self._gives)
            except Exception as fault:
                raise _failed(fault) from fault

    @property
    def levels(self) -> Mapping[str, tuple[str, ...]]:
        names = dict(zip((t.partition(":")[0] for t in self._takes), self._inputs, strict=True))
        return _levels(self._graph, self._tables, names)

    def model(self, outputs: Sequence[str]) -> Any:
        with quiet():
            try:
                model, _ = tf2onnx.convert._convert_common(
                    self._graph, name="model", continue_on_error=True, opset=OPSET,
                    input_names=self._takes, output_names=self._gives,
                    custom_op_handlers={"LookupTableFindV2": (Lookup(self._tables), []), **HANDLERS},
                    extra_opset=[helper.make_opsetid(ML, ML_VERSION)],
                )  # fmt: skip
            except Exception as fault:
                raise _failed(fault) from fault
        _refuse_untranslated(model)
        names = dict(zip(self._takes, self._inputs, strict=True))
        _declare(model, names)
        rename(model, names)
        rename(model, dict(zip((o.name for o in model.graph.output), outputs, strict=True)))
        return model


class Lite:
    """A TensorFlow Lite file. A `Translation`.

    Args:
        names: its own tensors' names -> the public ones, for inputs and outputs.
    """

    levels: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self._path, self._names = path, names

    def model(self, outputs: Sequence[str]) -> Any:
        with quiet():
            try:
                model, _ = tf2onnx.convert.from_tflite(str(self._path), opset=OPSET)
            except Exception as fault:
                raise _failed(fault) from fault
        _refuse_untranslated(model)
        unpack_weights(model)
        for side in (model.graph.input, model.graph.output):
            rename(model, {v.name: self._names[v.name] for v in side})
        return model


# -- freezing ----------------------------------------------------------------------------------------------------------


def _frozen(function: Any, takes: list[str], gives: list[str]) -> tuple[Any, dict[bytes, Table]]:
    """The graph with variables as constants and tables as nodes with a name; and the tables' contents by that name."""
    graph = tf_loader.from_function(function, takes, gives)
    inner = function.inputs[len(function.inputs) - len(function.captured_inputs) :]
    handles = {t.name.partition(":")[0]: h for t, h in zip(inner, function.captured_inputs, strict=True)
               if h.dtype == tf.resource}  # fmt: skip
    named: dict[str, Any] = {}
    tables: dict[bytes, Table] = {}
    for found in tf_utils.get_hash_table_info(graph):
        place = found.resource_input
        if place in handles and place not in named:
            found.shared_name = f"table_{len(named)}".encode()
            named[place] = found
            keys, values = gen_lookup_ops.lookup_table_export_v2(handles[place], found.key_dtype, found.val_dtype)
            tables[found.shared_name] = Table.of(keys.numpy(), values.numpy())
    tf_utils.replace_placeholders_with_tables(graph, named)
    return graph, tables


def _levels(graph: Any, tables: Mapping[bytes, Table], names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """What is looked up straight away: the table's keys, for the input whose values reach it unchanged."""
    nodes = {n.name: n for n in graph.node}
    found: dict[str, list[Any]] = {}
    for node in graph.node:
        if node.op != "LookupTableFindV2":
            continue
        place, value = (_source(nodes, name) for name in node.input[:2])
        if place in nodes and value in names and (table := tables.get(nodes[place].attr["shared_name"].s)) is not None:
            found.setdefault(names[value], []).extend(texts(table.keys).tolist())
    return {name: tuple(dict.fromkeys(map(str, keys)))[:_MOST_LEVELS] for name, keys in found.items()}


def _source(nodes: Mapping[str, Any], name: str) -> str:
    """Where a value comes from, behind operators that do not change it."""
    name = name.lstrip("^").partition(":")[0]
    while name in nodes and nodes[name].op in _UNCHANGED:
        name = nodes[name].input[0].partition(":")[0]
    return name


# -- what came of it ---------------------------------------------------------------------------------------------------


def _declare(model: Any, names: Mapping[str, str]) -> None:
    """Give an input back that nothing in the graph reads: translation drops it, clients still send it."""
    have = {i.name for i in model.graph.input}
    for name in names:
        if name not in have:
            model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    order = list(names)
    kept = sorted(model.graph.input, key=lambda i: order.index(i.name))
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _refuse_untranslated(model: Any) -> None:
    versions = {o.domain: o.version for o in model.opset_import}
    ours = {(f.domain, f.name) for f in model.functions}
    unknown: dict[str, None] = {}
    for graph in graphs(model.graph):
        for node in graph.node:
            if (node.domain, node.op_type) in ours:
                continue
            if not onnx.defs.has(node.op_type, versions.get(node.domain, 1), node.domain):
                unknown[node.op_type] = None
    if unknown:
        raise SetsailError(
            "convert.unsupported", "TensorFlow operators have no ONNX translation: " + ", ".join(unknown),
            field=next(iter(unknown)), expected="operators that tf2onnx translates",
            todo="take the layers that use them out of the model, and do what they do before the request",
        )  # fmt: skip


def _failed(fault: BaseException) -> SetsailError:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return SetsailError("convert.unsupported", "tf2onnx cannot translate the model", field=type(fault).__name__,
                        value=lines[0] if lines else None, expected="a graph that tf2onnx translates",
                        todo="see docs/frameworks/tensorflow.md")  # fmt: skip


def quiet() -> contextlib.AbstractContextManager[None]:
    """No chatter of TensorFlow, Keras and tf2onnx."""
    return silenced(_LOGGERS)
