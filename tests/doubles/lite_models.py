"""TensorFlow Lite files, written by hand: small quantised networks, and the tree of a file for who wants to lie in it.

A file is a tree: a `T` is a table (slot -> field), a field is a text, bytes (a buffer's content), a table, a list of
tables, `V` (a vector of numbers) or `N` (a number). Slots and numbers are those of LiteRT's `schema.fbs`.

    program = written(convolution())
    tree = convolution("uint8", batch=1)
    tree[GRAPHS][0][OPERATORS][0][INPUTS] = V("i", 99, 1, 2)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import flatbuffers
import numpy as np

__all__ = [
    "BUFFERS", "CODES", "GRAPHS", "INPUTS", "METADATA", "OPERATORS", "OUTPUTS", "QUANTIZATION", "SHAPE", "SIGNATURES",
    "TENSORS", "TYPES", "N", "T", "V", "convolution", "interpreted", "operator", "recurrent", "tensor", "together",
    "twice", "written",
]  # fmt: skip

CODES, GRAPHS, BUFFERS, METADATA, SIGNATURES = 1, 2, 4, 6, 7  # of the model
TENSORS, OPERATORS = 0, 3  # of a graph
INPUTS, OUTPUTS = 1, 2  # of a graph and of an operator
SHAPE, QUANTIZATION = 0, 4  # of a tensor
TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "int8": 9}
_PREPEND = {"i": "Int32", "I": "Uint32", "b": "Int8", "B": "Uint8", "q": "Int64", "Q": "Uint64", "f": "Float32"}
_SIZES = {"i": 4, "I": 4, "b": 1, "B": 1, "q": 8, "Q": 8, "f": 4}

T = dict[int, Any]


class N(NamedTuple):
    """A number, by its letter in `struct`."""

    form: str
    value: int


class V:
    """A vector of numbers."""

    def __init__(self, form: str, *values: float) -> None:
        self.form, self.values = form, values


def written(tree: T) -> bytes:
    """The bytes of a tree."""
    builder = flatbuffers.Builder(4096)
    builder.Finish(_table(builder, tree), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _table(builder: Any, fields: T) -> int:
    pointed = {slot: _child(builder, field) for slot, field in fields.items() if not isinstance(field, N)}
    builder.StartObject(max(fields, default=0) + 1)
    for slot, field in fields.items():
        if isinstance(field, N):
            getattr(builder, f"Prepend{_PREPEND[field.form]}Slot")(slot, field.value, None)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, pointed[slot], 0)
    return int(builder.EndObject())


def _child(builder: Any, field: Any) -> int:
    if isinstance(field, str):
        return int(builder.CreateString(field))
    if isinstance(field, dict):
        return _table(builder, field)
    if isinstance(field, bytes):
        builder.StartVector(1, len(field), 16)
        builder.head -= len(field)
        builder.Bytes[builder.head : builder.head + len(field)] = field
        return int(builder.EndVector())
    if isinstance(field, V):
        size = _SIZES[field.form]
        builder.StartVector(size, len(field.values), size)
        for value in reversed(field.values):
            getattr(builder, f"Prepend{_PREPEND[field.form]}")(value)
        return int(builder.EndVector())
    places = [_table(builder, each) for each in field]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


# -- parts -------------------------------------------------------------------------------------------------------------


def tensor(
    name: str, shape: list[int], kind: str, *, buffer: int = 0, scales: tuple[float, ...] = (), zero: int = 0,
    free: bool = False,
) -> T:  # fmt: skip
    made: T = {0: V("i", *shape), 1: N("b", TYPES[kind]), 2: N("I", buffer), 3: name}
    if scales:
        made[QUANTIZATION] = {2: V("f", *scales), 3: V("q", *[zero] * len(scales)), 6: N("i", 0)}
    if free:
        made[7] = V("i", -1, *shape[1:])
    return made


def operator(code: int, inputs: list[int], outputs: list[int], kind: int = 0, options: T | None = None) -> T:
    made: T = {0: N("I", code), 1: V("i", *inputs), 2: V("i", *outputs)}
    if options is not None:
        made |= {3: N("B", kind), 4: options}
    return made


def _code(number: int, version: int) -> T:
    return {0: N("b", min(number, 127)), 2: N("i", version), 3: N("i", number)}


class _File:
    """A file under construction; `constant` gives the number of a tensor with content."""

    def __init__(self) -> None:
        self.tensors: list[T] = []
        self.operators: list[T] = []
        self.codes: list[int] = []
        self.versions: list[int] = []
        self.buffers: list[T] = [{}]

    def hold(self, made: T) -> int:
        self.tensors.append(made)
        return len(self.tensors) - 1

    def constant(self, name: str, array: Any, scales: tuple[float, ...] = ()) -> int:
        self.buffers.append({0: array.tobytes()})
        made = tensor(name, list(array.shape), array.dtype.name, buffer=len(self.buffers) - 1, scales=scales)
        return self.hold(made)

    def does(self, number: int, version: int, inputs: list[int], output: int, kind: int, options: T) -> int:
        if number not in self.codes:
            self.codes.append(number)
            self.versions.append(version)
        self.operators.append(operator(self.codes.index(number), inputs, [output], kind, options))
        return output

    def tree(self, given: int, answer: int) -> T:
        graph: T = {0: self.tensors, 1: V("i", given), 2: V("i", answer), 3: self.operators, 4: "main"}
        names: T = {
            0: [{0: "x", 1: N("I", given)}], 1: [{0: "scores", 1: N("I", answer)}], 2: "serving_default", 4: N("I", 0),
        }  # fmt: skip
        codes = [_code(number, version) for number, version in zip(self.codes, self.versions, strict=True)]
        return {0: N("I", 3), 1: codes, 2: [graph], 3: "by hand", 4: self.buffers, 7: [names]}


def convolution(io: str = "int8", *, batch: int | None = None, depthwise: bool = False, seed: int = 0) -> T:
    """3x3 convolution with a scale a channel, ReLU, mean over the picture, dense: 8-bit inside.

    Args:
        io: what it takes and gives: `int8`, `uint8` or `float32`.
        batch: a number fixes it.
    """
    draw, file = np.random.default_rng(seed), _File()
    rows, free, channels = batch or 1, batch is None, 2 if depthwise else 4

    def value(name: str, shape: list[int], kind: str, scale: float, zero: int) -> int:
        scales = () if kind == "float32" else (scale,)
        return file.hold(tensor(name, [rows, *shape], kind, scales=scales, zero=zero, free=free))

    outer = {"int8": 0, "uint8": 128, "float32": 0}[io]
    given = value("serving_default_x:0", [6, 6, 2], io, 0.05, 3 + outer)
    inner = given
    if io != "int8":
        inner = file.does(114, 2, [given], value("inner", [6, 6, 2], "int8", 0.05, 3), 89, {})
    scales = tuple(float(s) for s in draw.uniform(0.01, 0.02, channels).astype(np.float32))
    shape = (1, 3, 3, 2) if depthwise else (channels, 3, 3, 2)
    weights = file.constant("kernel", draw.integers(-127, 128, shape, dtype=np.int8), scales)
    if depthwise:
        file.tensors[weights][QUANTIZATION][6] = N("i", 3)
    bias = file.constant("bias", draw.integers(-400, 400, channels, dtype=np.int32), tuple(0.05 * s for s in scales))
    seen = value("seen", [4, 4, channels], "int8", 0.06, -128)
    plain = {0: N("b", 1), 1: N("i", 1), 2: N("i", 1)}
    if depthwise:
        file.does(4, 3, [inner, weights, bias], seen, 2, {**plain, 3: N("i", 1), 4: N("b", 1)})
    else:
        file.does(3, 3, [inner, weights, bias], seen, 1, {**plain, 3: N("b", 1)})
    axes = file.constant("axes", np.array([1, 2], dtype=np.int32))
    mean = file.does(40, 2, [seen, axes], value("mean", [channels], "int8", 0.03, -128), 27, {0: N("B", 0)})
    dense = file.constant("dense", draw.integers(-127, 128, (3, channels), dtype=np.int8), (0.011,))
    shift = file.constant("shift", draw.integers(-300, 300, 3, dtype=np.int32), (0.03 * 0.011,))
    scores = value("scores", [3], "int8", 0.07, 5)
    file.does(9, 4, [mean, dense, shift], scores, 8, {0: N("b", 0)})
    answer = scores
    if io == "uint8":
        answer = file.does(114, 2, [scores], value("StatefulPartitionedCall:0", [3], "uint8", 0.07, 133), 89, {})
    elif io == "float32":
        answer = file.does(6, 2, [scores], value("StatefulPartitionedCall:0", [3], "float32", 0, 0), 38, {})
    return file.tree(given, answer)


def twice() -> T:
    """`x + x`, in floats."""
    file = _File()
    given = file.hold(tensor("x", [1, 2], "float32", free=True))
    answer = file.does(0, 1, [given, given], file.hold(tensor("y", [1, 2], "float32", free=True)), 11, {})
    return file.tree(given, answer)


def recurrent() -> T:
    """A simple recurrent cell whose state lives on in a variable: an answer would depend on the one before."""
    draw, file = np.random.default_rng(2), _File()
    given = file.hold(tensor("x", [1, 2], "float32"))
    kernel, again = (file.constant(n, draw.normal(size=s).astype(np.float32)) for n, s in
                     (("kernel", (3, 2)), ("again", (3, 3))))  # fmt: skip
    bias = file.constant("bias", draw.normal(size=3).astype(np.float32))
    state = file.hold(tensor("state", [1, 3], "float32") | {5: N("B", 1)})
    answer = file.hold(tensor("y", [1, 3], "float32"))
    file.does(24, 1, [given, kernel, again, bias, state], answer, 7, {0: N("b", 4)})
    return file.tree(given, answer)


def together(**trees: T) -> T:
    """One file of several: a graph and a signature for each, under its name."""
    whole: T = {0: N("I", 3), CODES: [], GRAPHS: [], 3: "by hand", BUFFERS: [{}], SIGNATURES: []}
    for name, tree in trees.items():
        ((graph,), (names,)) = tree[GRAPHS], tree[SIGNATURES]
        codes, buffers = len(whole[CODES]), len(whole[BUFFERS]) - 1
        for made in graph[TENSORS]:
            if made[2].value:
                made[2] = N("I", made[2].value + buffers)
        for made in graph[OPERATORS]:
            made[0] = N("I", made[0].value + codes)
        whole[CODES] += tree[CODES]
        whole[BUFFERS] += tree[BUFFERS][1:]
        whole[SIGNATURES].append(names | {2: name, 4: N("I", len(whole[GRAPHS]))})
        whole[GRAPHS].append(graph | {4: name})
    return whole


def interpreted(program: bytes, rows: Any) -> Any:
    """What a fresh interpreter answers to these rows: the first output of all of them at once, or one by one."""
    interpreter = import_module("ai_edge_litert.interpreter").Interpreter(model_content=program, num_threads=1)
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    parts = [rows] if given["shape_signature"][0] == -1 else [rows[i : i + 1] for i in range(len(rows))]
    found = []
    for part in parts:
        interpreter.resize_tensor_input(given["index"], part.shape)
        interpreter.allocate_tensors()
        interpreter.reset_all_variables()
        interpreter.set_tensor(given["index"], part)
        interpreter.invoke()
        found.append(interpreter.get_tensor(answer["index"]))
    return np.concatenate(found)
