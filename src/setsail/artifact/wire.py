"""The parts of an ONNX file that the gate must see, read straight from the protobuf bytes, without copying weights.

Why not the protobuf library: it builds every message before anyone can count them, and an empty message of two bytes
becomes a hundred in memory, in the server's own process. Here a message is a span of the file; at most `Budget` of
them are entered, and what is not listed in CHILDREN and SCALARS is stepped over.

This reader is stricter than protobuf, so that no file can mean one thing here and another to the runtime: a field that
occurs twice where it may occur once (protobuf would merge or take the last), a known field with another wire type,
groups, and overlong numbers are refused. No exporter writes any of these.

Wire format: https://protobuf.dev/programming-guides/encoding. Field numbers: onnx.proto (ONNX 1.23); when ONNX adds a
field that can hold a tensor, a graph or a node, add it here and raise `verdict.GATE_VERSION`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from setsail.errors import SetsailError

__all__ = ["Budget", "Message", "Reader"]

# message -> field number -> (message in it, whether it may repeat)
CHILDREN: Final[Mapping[str, Mapping[int, tuple[str, bool]]]] = {
    "Model": {7: ("Graph", False), 8: ("Opset", True), 20: ("Training", True), 25: ("Function", True)},
    "Training": {1: ("Graph", False), 2: ("Graph", False)},
    "Graph": {1: ("Node", True), 5: ("Tensor", True), 15: ("Sparse", True)},
    "Function": {7: ("Node", True), 9: ("Opset", True), 11: ("Attribute", True)},
    "Node": {5: ("Attribute", True)},
    "Attribute": {
        5: ("Tensor", False), 6: ("Graph", False), 10: ("Tensor", True), 11: ("Graph", True),
        22: ("Sparse", False), 23: ("Sparse", True),
    },
    "Tensor": {13: ("Pair", True)},
    "Sparse": {1: ("Tensor", False), 2: ("Tensor", False)},
    "Opset": {},
    "Pair": {},
}  # fmt: skip
# message -> field number -> (name, "int", "text" or "ints")
SCALARS: Final[Mapping[str, Mapping[int, tuple[str, str]]]] = {
    "Model": {1: ("ir_version", "int")},
    "Opset": {1: ("domain", "text"), 2: ("version", "int")},
    "Node": {4: ("op_type", "text"), 7: ("domain", "text"), 8: ("overload", "text")},
    "Function": {1: ("name", "text"), 10: ("domain", "text"), 13: ("overload", "text")},
    "Tensor": {1: ("dims", "ints"), 2: ("data_type", "int"), 8: ("name", "text"), 14: ("data_location", "int")},
    "Sparse": {3: ("dims", "ints")},
    "Pair": {1: ("key", "text"), 2: ("value", "text")},
}
# message -> first bytes of length-delimited fields that are stepped over.
_SKIPPED: Final = {
    kind: frozenset(n << 3 | 2 for n in range(1, 16) if n not in CHILDREN[kind] and n not in SCALARS.get(kind, {}))
    for kind in CHILDREN
}
_KEPT: Final = ("Opset", "Pair")
# Attributes of tree ensembles hold millions of unpacked numbers: steps of up to 4096 of them.
_RUNS: Final = {
    0x3D: re.compile(rb"(?:\x3d.{4}){1,4096}", re.DOTALL),
    0x40: re.compile(rb"(?:\x40[\x80-\xff]{0,9}[\0-\x7f]){1,4096}"),
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TEXT_LIMIT: Final = 4096


@dataclass(slots=True)
class Budget:
    """How much may be read: messages entered, fields stepped over, how deep messages nest."""

    messages: int
    fields: int
    depth: int


@dataclass(slots=True)
class Message:
    """One message: its bytes in the file, its scalar fields by name, its opset imports or key-value pairs (`kept`).

    `children` has the bit of every field number that held a message.
    """

    kind: str
    size: int
    values: dict[str, Any] = field(default_factory=dict)
    kept: list[Message] = field(default_factory=list)
    children: int = 0

    def text(self, name: str) -> str:
        return str(self.values.get(name, ""))

    def number(self, name: str) -> int:
        return int(self.values.get(name, 0))


class Reader:
    """Walks a program and hands every message, innermost first, to `entered` and `left`.

    Args:
        data: the program file.
        budget: counts down; at zero `program.size` is raised.
        entered, left: called with the kind, and with the whole message.
    """

    def __init__(
        self, data: memoryview, budget: Budget, entered: Callable[[str], None], left: Callable[[Message], None]
    ) -> None:
        self._data = data
        self._budget = budget
        self._entered = entered
        self._left = left

    def walk(self) -> Message:
        """Read the whole file as one ModelProto. Raises `program.parse` or `program.size`."""
        return self._message("Model", 0, len(self._data), 0)

    def _message(self, kind: str, at: int, end: int, depth: int) -> Message:
        self._budget.messages -= 1
        if self._budget.messages < 0 or depth > self._budget.depth:
            what = "too deep" if self._budget.messages >= 0 else "of too many parts"
            raise SetsailError("program.size", f"the program is {what}", value=depth, expected="fewer")
        self._entered(kind)
        message = Message(kind, end - at)
        children, scalars, runs = CHILDREN[kind], SCALARS.get(kind, {}), _RUNS if kind == "Attribute" else {}
        data, known = self._data, _SKIPPED[kind]
        while at < end:
            byte = data[at]
            if byte in known and at + 1 < end and data[at + 1] < 0x80:
                # A short field that nobody reads, e.g. one of a million texts of a tree ensemble.
                at += 2 + data[at + 1]
                self._spend(at, end)
                continue
            if runs and byte in runs and (run := runs[byte].match(data, at, end)):
                at = run.end()
                continue
            number, wire, at = self._tag(at, end)
            start, stop, at = self._payload(wire, at, end)
            if number in children:
                self._child(message, number, wire, start, stop, depth)
            elif number in scalars:
                self._scalar(message, *scalars[number], wire, start, stop)
        self._left(message)
        return message

    def _child(self, message: Message, number: int, wire: int, start: int, stop: int, depth: int) -> None:
        kind, repeats = CHILDREN[message.kind][number]
        if wire != _BYTES or (message.children >> number & 1 and not repeats):
            _refuse(f"field {number} of a {message.kind} message is not as ONNX defines it", start)
        message.children |= 1 << number
        child = self._message(kind, start, stop, depth + 1)
        if kind in _KEPT:
            message.kept.append(child)

    def _scalar(self, message: Message, name: str, form: str, wire: int, start: int, stop: int) -> None:
        if form == "ints" and wire in (_VARINT, _BYTES):
            known = message.values.setdefault(name, [])
            while start < stop and len(known) <= 64:
                value, start = self._varint(start, stop)
                known.append(value)
            return
        if name in message.values or wire != (_VARINT if form == "int" else _BYTES):
            _refuse(f"field {name!r} of a {message.kind} message is not as ONNX defines it", start)
        if form == "int":
            message.values[name], _ = self._varint(start, stop)
        elif stop - start <= _TEXT_LIMIT:
            message.values[name] = _text(bytes(self._data[start:stop]), start)
        else:
            _refuse(f"field {name!r} of a {message.kind} message is too long", start)

    def _spend(self, at: int, end: int) -> None:
        self._budget.fields -= 1
        if self._budget.fields < 0:
            raise SetsailError("program.size", "the program has too many fields", expected="fewer")
        if at > end:
            _refuse("a field is longer than what holds it", at)

    def _tag(self, at: int, end: int) -> tuple[int, int, int]:
        self._spend(at, end)
        value, after = self._varint(at, end)
        if value >> 3 == 0 or value >= 1 << 32 or after - at > 5:
            _refuse("a field has no valid number", at)
        return value >> 3, value & 7, after

    def _payload(self, wire: int, at: int, end: int) -> tuple[int, int, int]:
        """(start, stop) of a field's content, and where the next field begins."""
        if wire == _BYTES:
            length, at = self._varint(at, end)
            stop = at + length
        elif wire == _VARINT:
            _, stop = self._varint(at, end)
        elif wire in (_FIXED32, _FIXED64):
            stop = at + (4 if wire == _FIXED32 else 8)
        else:
            _refuse("a field has a wire type that ONNX does not use", at)
        if stop > end:
            _refuse("a field is longer than what holds it", at)
        return at, stop, stop

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        data, value, shift = self._data, 0, 0
        while at < end and shift < 70:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
        _refuse("a number does not end", at)


def _text(raw: bytes, at: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        _refuse("a name is not UTF-8", at)


def _refuse(what: str, at: int) -> NoReturn:
    raise SetsailError("program.parse", f"{what}, at byte {at}", expected="an ONNX model")
