"""An ONNX model in memory -> the files of a program.

Sealing keeps what the model computes and drops the rest: doc strings, metadata, stack traces, producer, value_info.
Exporters write there the paths and versions of the machine they ran on, and stale value_info breaks quantisers. Free
dimensions get the signature's symbols. Weights above `_INSIDE` bytes in total go to `weights.bin`, 64-byte aligned,
so that a runtime maps them. The same model gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import onnx
from onnx import TensorProto, helper, numpy_helper

from setsail.signature import Dim, TensorSpec

__all__ = ["PROGRAM", "WEIGHTS", "graphs", "rename", "seal", "unsqueeze"]

PROGRAM: Final = "model.onnx"
WEIGHTS: Final = "weights.bin"
_INSIDE: Final = 1 << 20
_SMALL: Final = 1024  # smaller tensors stay in the graph: shape inference must see the constants of a Reshape
_ALIGN: Final = 64


def seal(
    model: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, batch: int | None = None
) -> dict[str, bytes]:
    """Strip a model, declare its inputs and outputs as the signature does, and serialize it.

    Args:
        model: an `onnx.ModelProto` with all weights in it; changed in place.
        inputs, outputs: the specs, named and ordered like the graph's own.
        batch: 1 for a program with a fixed batch of 1: the first dimension is declared as that number.

    Returns:
        `model.onnx`, and `weights.bin` where the weights are large.
    """
    _strip(model)
    del model.graph.input[:]
    model.graph.input.extend(_value(s, batch) for s in inputs)
    del model.graph.output[:]
    model.graph.output.extend(_value(s, batch) for s in outputs)
    files = _externalise(model.graph)
    return {PROGRAM: model.SerializeToString(deterministic=True)} | files


def unsqueeze(model: Any, specs: Sequence[TensorSpec]) -> None:
    """Give outputs their rank back where the graph loses it at a batch of 1 (`squeeze()` without an axis).

    Args:
        specs: the outputs concerned, under their public names; only their first dimension may be free.
    """
    graph = model.graph
    for spec in specs:
        inner = f"{spec.name}__squeezed"
        for g in graphs(graph):
            _substitute(g, {spec.name: inner})
        shape = helper.make_tensor(f"{inner}_shape", TensorProto.INT64, [len(spec.shape)], [-1, *spec.shape[1:]])
        graph.initializer.append(shape)
        graph.node.append(helper.make_node("Reshape", [inner, shape.name], [spec.name]))


def rename(model: Any, names: Mapping[str, str]) -> None:
    """Give graph inputs and outputs (old -> new) their public names, everywhere they are used.

    Inner values in the way step aside. An output that is an input, a weight or another output gets an Identity.
    """
    graph = model.graph
    taken = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    for output in graph.output:
        if output.name in taken:
            passed = f"{output.name}__out"
            while passed in taken:
                passed += "_"
            graph.node.append(helper.make_node("Identity", [output.name], [passed]))
            output.name = passed
        taken.add(output.name)
    everything = {name for g in graphs(graph) for name in _names(g)}
    wanted = dict(names)
    for new in names.values():
        if new in everything and new not in names:
            aside = f"{new}__inner"
            while aside in everything:
                aside += "_"
            wanted[new] = aside
    for g in graphs(graph):
        _substitute(g, wanted)


def graphs(graph: Any) -> Iterator[Any]:
    """A graph and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)
            for inner in attribute.graphs:
                yield from graphs(inner)


def _names(graph: Any) -> Iterator[str]:
    for group in (graph.input, graph.output, graph.initializer):
        yield from (item.name for item in group)
    yield from (t.values.name for t in graph.sparse_initializer)
    for node in graph.node:
        yield from node.output


def _substitute(graph: Any, names: Mapping[str, str]) -> None:
    for group in (graph.input, graph.output, graph.initializer, graph.value_info):
        for item in group:
            item.name = names.get(item.name, item.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = names.get(sparse.values.name, sparse.values.name)
    for node in graph.node:
        for side in (node.input, node.output):
            for index, name in enumerate(side):
                if name in names:
                    side[index] = names[name]


def _strip(model: Any) -> None:
    for field in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        model.ClearField(field)
    model.ClearField("metadata_props")
    model.ClearField("training_info")
    versions = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
    del model.opset_import[:]  # some converters import a domain twice
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in sorted(versions.items()))
    for function in model.functions:
        function.ClearField("doc_string")
        function.ClearField("metadata_props")
        function.ClearField("value_info")
        _strip_nodes(function.node)
    model.graph.name = "setsail"
    for graph in graphs(model.graph):
        for field in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
            graph.ClearField(field)
        for tensor in graph.initializer:
            tensor.ClearField("doc_string")
            tensor.ClearField("metadata_props")
        _strip_nodes(graph.node)


def _strip_nodes(nodes: Any) -> None:
    for node in nodes:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")


def _value(spec: TensorSpec, batch: int | None) -> Any:
    shape: list[Dim] = list(spec.shape)
    if batch is not None and spec.batched:
        shape[0] = batch
    return helper.make_tensor_value_info(spec.name, spec.dtype.onnx, shape)


def _externalise(graph: Any) -> dict[str, bytes]:
    """Move the larger weights of a graph to one file, if they are large in all."""
    moved = [t for t in graph.initializer if t.data_type != TensorProto.STRING and _size(t) >= _SMALL]
    if sum(map(_size, moved)) <= _INSIDE:
        return {}
    weights = bytearray()
    for tensor in moved:
        raw = tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes()
        weights += bytes(-len(weights) % _ALIGN)
        kept = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        kept.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", str(len(weights))), ("length", str(len(raw)))):
            kept.external_data.add(key=key, value=value)
        weights += raw
        tensor.CopyFrom(kept)
    return {WEIGHTS: bytes(weights)}


def _size(tensor: Any) -> int:
    """Bytes of a tensor that holds its own data."""
    return len(tensor.raw_data) if tensor.HasField("raw_data") else int(onnx.TensorProto.ByteSize(tensor))
