"""Hostile ONNX programs: name -> (the code that answers, the files of the program; `model.onnx` is opened)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    TrainingInfoProto,
    helper,
    numpy_helper,
)

Files = dict[str, bytes]
Attack = tuple[str, Callable[[], Files]]

_WEIGHTS: Final = b"w" * 64


def graph(nodes: Sequence[NodeProto] = (), tensors: Sequence[TensorProto] = ()) -> GraphProto:
    float_row = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None]) for n in "xy"]
    chosen = list(nodes) or [helper.make_node("Neg", ["x"], ["y"])]
    return helper.make_graph(chosen, "g", float_row[:1], float_row[1:], list(tensors))


def model(given: GraphProto, functions: Sequence[FunctionProto] = ()) -> ModelProto:
    return helper.make_model(
        given, functions=list(functions), opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("evil", 1)]
    )


def external(**facts: Any) -> TensorProto:
    """A tensor of 16 floats in a file; keyword arguments are the key-value pairs of its place."""
    tensor = TensorProto(name="w", dims=[16], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "w.bin"} | facts).items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _files(proto: ModelProto, **more: bytes) -> Files:
    return {"model.onnx": proto.SerializeToString(), "w.bin": _WEIGHTS} | more


def _place(**facts: Any) -> Callable[[], Files]:
    return lambda: _files(model(graph(tensors=[external(**facts)])))


def _hidden(where: str) -> Callable[[], Files]:
    """A tensor whose file is outside, not among the initializers but somewhere a careless walk does not look."""

    def make() -> Files:
        bad = external(location="../secret")
        node = helper.make_node("Identity", ["x"], ["y"])
        function = FunctionProto(name="F", domain="evil", node=[node])
        sparse = SparseTensorProto(values=bad, indices=numpy_helper.from_array(np.zeros(16, np.int64)), dims=[16])
        made = model(graph([node]))
        if where == "subgraph":
            made.graph.node[0].attribute.add(name="body", type=AttributeProto.GRAPH, g=graph(tensors=[bad]))
        elif where == "attribute":
            made.graph.node[0].attribute.add(name="value", type=AttributeProto.TENSOR, t=bad)
        elif where == "attribute list":
            made.graph.node[0].attribute.add(name="values", type=AttributeProto.TENSORS, tensors=[bad])
        elif where == "sparse initializer":
            made.graph.sparse_initializer.append(sparse)
        elif where == "sparse attribute":
            made.graph.node[0].attribute.add(name="s", type=AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse)
        elif where == "training graph":
            made.training_info.append(TrainingInfoProto(initialization=graph(tensors=[bad])))
        else:
            function.node[0].attribute.add(name="value", type=AttributeProto.TENSOR, t=bad)
            made.functions.append(function)
        return _files(made)

    return make


def _operator(domain: str, op: str) -> Callable[[], Files]:
    return lambda: {"model.onnx": model(graph([helper.make_node(op, ["x"], ["y"], domain=domain)])).SerializeToString()}


def _function(name: str, domain: str, calls: Sequence[str]) -> FunctionProto:
    nodes = [helper.make_node(op, ["x"], ["y"], domain=domain) for op in calls]
    return FunctionProto(name=name, domain=domain, input=["x"], output=["y"], node=nodes)


def _functions(*given: FunctionProto) -> Callable[[], Files]:
    called = helper.make_node(given[0].name, ["x"], ["y"], domain=given[0].domain)
    return lambda: {"model.onnx": model(graph([called]), given).SerializeToString()}


def _laughs() -> Files:
    """Twelve functions, each calling the next ten times: 10^12 nodes in a kilobyte."""
    chain = [_function(f"f{i}", "evil", [f"f{i + 1}"] * 10) for i in range(12)]
    return _functions(*chain, FunctionProto(name="f12", domain="evil", node=[helper.make_node("Neg", ["x"], ["y"])]))()


def _nodes() -> Files:
    """Empty nodes, two bytes each; a protobuf library would make a hundred bytes of memory of every one."""
    return {"model.onnx": _wrap(7, b"\x0a\x00" * 60_000) + b"\x08\x0a" + _wrap(8, b"\x10\x15")}


def _fields() -> Files:
    return {"model.onnx": b"\x08\x0a" + b"\x28\x00" * 60_000}


def _nested() -> Files:
    inner = b""
    for _ in range(40):
        inner = _wrap(1, _wrap(5, _wrap(6, inner)))
    return {"model.onnx": b"\x08\x0a" + _wrap(8, b"\x10\x15") + _wrap(7, inner)}


def _wrap(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, length = b"", len(content)
    while length > 0x7F:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return _tag(number) + size + bytes([length]) + content


def _tag(number: int) -> bytes:
    tag = number << 3 | 2
    return bytes([tag]) if tag < 0x80 else bytes([tag & 0x7F | 0x80, tag >> 7])


def _merged() -> Files:
    """A tensor in two halves, each honest alone; protobuf merges them into one of 256 elements with 16 in it."""
    half = TensorProto(name="w", dims=[16], data_type=TensorProto.FLOAT, raw_data=_WEIGHTS).SerializeToString()
    head = b"\x08\x0a" + _wrap(8, b"\x10\x15")
    node = _wrap(4, b"Constant") + _wrap(5, _wrap(5, half) + _wrap(5, half))
    return {"model.onnx": head + _wrap(7, _wrap(1, node))}


def _ort_format() -> Files:
    """Protobuf to a parser, flatbuffers to onnxruntime, which looks at bytes 4 to 8 first."""
    return {"model.onnx": b"\x12\x06ab" + b"ORTM" + model(graph()).SerializeToString()}


def _not_text() -> Files:
    whole = model(graph(tensors=[external(location="AB")])).SerializeToString()
    return {"model.onnx": whole.replace(b"AB", b"\xff\xfe")}


def _tensor(**facts: Any) -> Callable[[], Files]:
    return lambda: {"model.onnx": model(graph(tensors=[TensorProto(name="w", **facts)])).SerializeToString()}


def _sparse_bomb() -> Files:
    one = SparseTensorProto(
        values=numpy_helper.from_array(np.ones(1, np.float32), "w"),
        indices=numpy_helper.from_array(np.zeros(1, np.int64), "i"), dims=[1 << 40],
    )  # fmt: skip
    made = model(graph())
    made.graph.sparse_initializer.append(one)
    return {"model.onnx": made.SerializeToString()}


_NEG = FunctionProto(name="Neg", domain="com.microsoft", node=[helper.make_node("Neg", ["x"], ["y"])])

ATTACKS: Final[Mapping[str, Attack]] = {
    # -- not a model
    "empty program": ("program.parse", lambda: {"model.onnx": b""}),
    "pickle": ("program.parse", lambda: {"model.onnx": b"\x80\x04\x95\x10cos\nsystem\n"}),
    "no entry": ("program.parse", lambda: {"w.bin": _WEIGHTS}),
    "no graph": ("program.parse", lambda: {"model.onnx": ModelProto(ir_version=10).SerializeToString()}),
    "onnxruntime's own format": ("program.parse", _ort_format),
    "merged halves": ("program.parse", _merged),
    "name that is not UTF-8": ("program.parse", _not_text),
    "cut off": ("program.parse", lambda: {"model.onnx": model(graph()).SerializeToString()[:-1]}),
    # -- external weights
    "parent folder": ("program.external", _place(location="../w.bin")),
    "parent inside": ("program.external", _place(location="a/../../w.bin")),
    "absolute": ("program.external", _place(location="/etc/passwd")),
    "backslash": ("program.external", _place(location="..\\w.bin")),
    "drive letter": ("program.external", _place(location="c:w.bin")),
    "no location": ("program.external", _place(location="")),
    "memory address": ("program.external", _place(location="*/_ORT_MEM_ADDR_/*", offset=140737488355328, length=64)),
    "no such file": ("program.external", _place(location="v.bin")),
    "offset beyond the file": ("program.external", _place(offset=1)),
    "negative offset": ("program.external", _place(offset=-64)),
    "length beyond the file": ("program.external", _place(length=1 << 40)),
    "length too short": ("program.external", _place(length=4)),
    "offset that is no number": ("program.external", _place(offset="0x10")),
    "prepacked weights": ("program.external", _place(prepacked_0="key|0|64|64")),
    "base path": ("program.external", _place(basepath="/etc")),
    "unused file": ("program.external", lambda: _files(model(graph()))),
    **{
        f"outside, in a {where}": ("program.external", _hidden(where))
        for where in ("subgraph", "attribute", "attribute list", "sparse initializer", "sparse attribute",
                      "training graph", "function")
    },
    # -- operators
    "custom operator": ("program.operator", _operator("evil", "Run")),
    "EPContext opens files": ("program.operator", _operator("com.microsoft", "EPContext")),
    "PythonOp": ("program.operator", _operator("com.microsoft", "PythonOp")),
    "training domain": ("program.operator", _operator("ai.onnx.preview.training", "Adam")),
    "internal layout": ("program.operator", _operator("com.microsoft.nchwc", "Conv")),
    "posing function": ("program.operator", _functions(_NEG)),
    # -- claims
    "functions that explode": ("program.size", _laughs),
    "function that calls itself": ("program.parse", _functions(_function("f", "evil", ["f"]))),
    "functions in a circle": (
        "program.parse",
        _functions(_function("f", "evil", ["g"]), _function("g", "evil", ["f"])),
    ),
    "sixty thousand nodes": ("program.size", _nodes),
    "sixty thousand fields": ("program.size", _fields),
    "subgraphs 40 deep": ("program.size", _nested),
    "terabytes claimed": ("program.size", _tensor(dims=[1 << 40], data_type=1)),
    "sizes that overflow": ("program.size", _tensor(dims=[1 << 62] * 4, data_type=1)),
    "a thousand dimensions": ("program.size", _tensor(dims=[1] * 1000, data_type=1)),
    "negative size": ("program.parse", _tensor(dims=[-1], data_type=1)),
    "unknown element type": ("program.parse", _tensor(dims=[1], data_type=99)),
    "sparse bomb": ("program.size", _sparse_bomb),
}  # fmt: skip
