"""Hostile TensorFlow Lite files, each one lie in an honest one: name -> (code of the answer, generator)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from lite_models import (
    BUFFERS,
    CODES,
    GRAPHS,
    INPUTS,
    METADATA,
    OPERATORS,
    OUTPUTS,
    QUANTIZATION,
    SHAPE,
    SIGNATURES,
    TENSORS,
    N,
    T,
    V,
    convolution,
    operator,
    tensor,
    twice,
    written,
)

__all__ = ["ATTACKS", "PARSE"]

Make = Callable[[], bytes]
PARSE: Final = "program.parse"


def _lie(change: Callable[[T], Any], tree: Callable[[], T] = convolution) -> Make:
    """A file whose tree was changed in one place."""

    def make() -> bytes:
        made = tree()
        change(made)
        return written(made)

    return make


def _graph(change: Callable[[T], Any]) -> Make:
    return _lie(lambda tree: change(tree[GRAPHS][0]))


def _first(change: Callable[[T], Any]) -> Make:
    """The first operator, a convolution: tensors 0, 1 and 2 in, 3 out."""
    return _graph(lambda graph: change(graph[OPERATORS][0]))


def _kernel(change: Callable[[T], Any]) -> Make:
    """Tensor 1, a constant with a scale for each of four channels."""
    return _graph(lambda graph: change(graph[TENSORS][1]))


def _set(slot: int, value: Any) -> Callable[[T], Any]:
    return lambda table: table.__setitem__(slot, value)


def _scales(scale: float, zero: int = 0) -> Make:
    """Tensor 0, what is asked: its kernel divides by the scale, and dies of these."""
    return _graph(lambda graph: graph[TENSORS][0].update({QUANTIZATION: {2: V("f", scale), 3: V("q", zero)}}))


def _bytes(change: Callable[[bytearray], Any]) -> Make:
    def make() -> bytes:
        data = bytearray(written(convolution()))
        change(data)
        return bytes(data)

    return make


def _code(number: int, custom: str = "", old: int | None = None) -> Make:
    table: T = {0: N("b", min(number, 127) if old is None else old), 2: N("i", 1), 3: N("i", number)}
    return _lie(lambda tree: tree[CODES].__setitem__(0, table | ({1: custom} if custom else {})))


def _calls(first: tuple[int, int], second: tuple[int, int]) -> Make:
    """Two graphs, each with an IF that names two others."""

    def change(tree: T) -> None:
        tree[CODES].append({0: N("b", 118), 2: N("i", 1), 3: N("i", 118)})
        graphs = []
        for then, other in (first, second):
            tensors = [tensor("c", [1], "float32"), tensor("a", [1, 2], "float32"), tensor("b", [1, 2], "float32")]
            branch = operator(1, [0, 1], [2], 92, {0: N("i", then), 1: N("i", other)})
            graphs.append({0: tensors, 1: V("i", 0, 1), 2: V("i", 2), 3: [branch]})
        tree[GRAPHS] = graphs
        del tree[SIGNATURES]

    return _lie(change, twice)


def _shared() -> bytes:
    """A million buffers claimed, behind the end of the file."""
    data = bytearray(written(twice()))
    model = struct.unpack_from("<I", data)[0]
    vtable = model - struct.unpack_from("<i", data, model)[0]
    place = model + struct.unpack_from("<H", data, vtable + 4 + 2 * BUFFERS)[0]
    at = len(data) + -len(data) % 4
    data += bytes(at - len(data)) + struct.pack("<I", 1 << 20)
    struct.pack_into("<I", data, place, at - place)
    return bytes(data)


def _large(tree: T) -> None:
    for made in tree[GRAPHS][0][TENSORS]:
        if 2 not in made or not made[2].value:
            made[SHAPE] = V("i", *[2**31 - 1] * 4)
            made.pop(7, None)


ATTACKS: Mapping[str, tuple[str, Make]] = {
    "empty": (PARSE, lambda: b""),
    "four letters": (PARSE, lambda: bytes(4) + b"TFL3"),
    "cut off": (PARSE, lambda: written(convolution())[:700]),
    "root outside": (PARSE, _bytes(lambda data: struct.pack_into("<I", data, 0, 1 << 30))),
    "root before the buffer": (PARSE, _bytes(lambda data: struct.pack_into("<I", data, 0, 0xFFFFFFFC))),
    "another schema": (PARSE, _lie(_set(0, N("I", 2)))),
    "a vector without end": (PARSE, _shared),
    "custom operator": ("program.operator", _code(32, "TFLite_Detection_PostProcess")),
    "TensorFlow's operators": ("program.operator", _code(32, "FlexReadFile")),
    "delegate": ("program.operator", _code(51)),
    "memory that outlives a run": ("program.operator", _code(142)),
    "code run once": ("program.operator", _code(129)),
    "chance": ("program.operator", _code(148)),
    "operator nobody knows": ("program.operator", _code(100_000)),
    "negative operator": ("program.operator", _code(-7, old=-7)),
    "custom under the old number": ("program.operator", _code(0, "FlexWriteFile", old=32)),
    "weights of another file": ("program.external", _lie(lambda tree: tree.__setitem__(9, [{0: N("I", 1)}]))),
    "group of other files": ("program.external", _lie(lambda tree: tree.__setitem__(8, [{0: "/etc/passwd"}]))),
    "tensor of another file": ("program.external", _kernel(_set(10, N("I", 1)))),
    "buffer behind the program": (
        "program.external", _lie(lambda tree: tree[BUFFERS][1].update({1: N("Q", 1 << 40), 2: N("Q", 72)})),
    ),
    "options behind the program": (
        "program.external", _first(lambda op: op.update({9: N("Q", 1 << 40), 10: N("Q", 8)})),
    ),
    "buffer that is not there": (PARSE, _kernel(_set(2, N("I", 99)))),
    "content too short": (PARSE, _kernel(_set(SHAPE, V("i", 64, 3, 3, 2)))),
    "content too long": (PARSE, _kernel(_set(SHAPE, V("i", 1, 3, 3, 2)))),
    "negative size": (PARSE, _kernel(_set(SHAPE, V("i", 4, -3, -3, 2)))),
    "size that overflows": ("program.size", _lie(_large)),
    "nine axes": (PARSE, _kernel(_set(SHAPE, V("i", *[1] * 9)))),
    "texts": (PARSE, _kernel(_set(1, N("b", 5)))),
    "handle to a resource": (PARSE, _kernel(_set(1, N("b", 13)))),
    "unknown type": (PARSE, _kernel(_set(1, N("b", 99)))),
    "sparse weights": (PARSE, _kernel(_set(6, {0: V("i", 0, 1, 2, 3)}))),
    "two shapes": (PARSE, _kernel(_set(7, V("i", 4, 3, 3, 4)))),
    "a scale too few": (PARSE, _kernel(_set(QUANTIZATION, {2: V("f", 1, 1, 1), 3: V("q", 0, 0, 0)}))),
    "scales of an axis that is not there": (
        PARSE, _kernel(_set(QUANTIZATION, {2: V("f", *[1] * 4), 3: V("q", *[0] * 4), 6: N("i", 9)})),
    ),
    "fewer zero points than scales": (PARSE, _kernel(_set(QUANTIZATION, {2: V("f", *[1] * 4), 3: V("q", 0)}))),
    "scale that is no number": (PARSE, _kernel(_set(QUANTIZATION, {2: V("f", float("nan")), 3: V("q", 0)}))),
    "scale of nothing": (PARSE, _scales(0.0)),
    "scale next to nothing": (PARSE, _scales(1.4e-45)),
    "scale without end": (PARSE, _scales(3e38)),
    "negative scale": (PARSE, _scales(-0.05)),
    "zero point that is no value": (PARSE, _scales(0.05, 2147483647)),
    "quantised by another rule": (PARSE, _kernel(lambda t: t[QUANTIZATION].update({4: N("B", 1), 5: {}}))),
    "constant that is a variable": (PARSE, _kernel(_set(5, N("B", 1)))),
    "reads a tensor that is not there": (PARSE, _first(_set(INPUTS, V("i", 0, 1, 99)))),
    "reads below the tensors": (PARSE, _first(_set(INPUTS, V("i", -2, 1, 2)))),
    "leaves out what is needed": (PARSE, _first(_set(INPUTS, V("i", 0, -1, 2)))),
    "reads what nothing computes": (PARSE, _first(_set(INPUTS, V("i", 5, 1, 2)))),
    "reads its own answer": (PARSE, _first(_set(INPUTS, V("i", 3, 1, 2)))),
    "writes a tensor that is not there": (PARSE, _first(_set(OUTPUTS, V("i", 99)))),
    "writes a constant": (PARSE, _first(_set(OUTPUTS, V("i", 1)))),
    "writes the request": (PARSE, _first(_set(OUTPUTS, V("i", 0)))),
    "uses a tensor that is not there": (PARSE, _first(_set(8, V("i", 99)))),
    "operator without a code": (PARSE, _first(_set(0, N("I", 99)))),
    "request into a constant": (PARSE, _graph(_set(INPUTS, V("i", 1)))),
    "request twice": (PARSE, _graph(_set(INPUTS, V("i", 0, 0)))),
    "request that is not there": (PARSE, _graph(_set(INPUTS, V("i", 99)))),
    "answers what nothing computes": (PARSE, _graph(lambda graph: graph[OPERATORS].pop())),
    "answers nothing": (PARSE, _graph(_set(OUTPUTS, V("i")))),
    "no graph": (PARSE, _lie(_set(GRAPHS, []))),
    "signature of another graph": (PARSE, _lie(lambda tree: tree[SIGNATURES][0].update({4: N("I", 3)}))),
    "signature of another tensor": (
        PARSE, _lie(lambda tree: tree[SIGNATURES][0].update({0: [{0: "x", 1: N("I", 77)}]})),
    ),
    "metadata without a buffer": (PARSE, _lie(_set(METADATA, [{0: "note", 1: N("I", 77)}]))),
    "another order": (PARSE, _lie(_set(METADATA, [{0: "model_control_dependencies", 1: N("I", 0)}]))),
    "graphs in a circle": (PARSE, _calls((1, 1), (0, 0))),
    "graph that calls itself": (PARSE, _calls((0, 0), (0, 0))),
    "calls a graph that is not there": (PARSE, _calls((1, 9), (0, 0))),
    "calls a graph below": (PARSE, _calls((-1, 1), (0, 0))),
}  # fmt: skip
