"""The safety gate of TensorFlow Lite files: what one may hold before the interpreter sees it. It runs nothing.

LiteRT checks a file's offsets itself, and the sizes of constant tensors. It does not ask whether operators compute
nothing but their outputs, whether a tensor that is read was ever written, or whether weights lie in other files; and
one reader of hostile bytes, in C++, is one too few. So the whole graph is walked here first: every table, index and
size, operators from a list (`lite_operators.py`), subgraphs that call each other in no circle.

What no reading can find (an operator that allocates too much when run) is left to the trial run in a limited child.
Source: `schema.fbs` of LiteRT 2.3; slots below are the places of its fields.
"""

from __future__ import annotations

import math
import mmap
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from setsail import flatbuffer
from setsail.artifact import folders
from setsail.artifact.gate import GateLimits, check_size
from setsail.artifact.lite_operators import ALLOWED, CUSTOM, OPTIONAL, name_of
from setsail.errors import SetsailError
from setsail.flatbuffer import F32, I8, I32, I64, U8, U32, U64, Table

__all__ = ["LiteFacts", "inspect", "inspect_path"]

_MARK: Final = b"TFL3"
_VERSION: Final = 3
# TensorType -> bits an element takes. Texts (5), resources (13) and variants (14) are handles: nobody checks inside.
_BITS: Final[Mapping[int, int]] = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32, 16: 16, 17: 4, 18: 16,
}  # fmt: skip
# Quantised types -> where their zero points may lie. Those of 32 and 64 bits are sums of products, which have none.
_ZEROS: Final[Mapping[int, tuple[int, int]]] = {
    2: (0, 0), 3: (0, 255), 4: (0, 0), 7: (-32768, 32767), 9: (-128, 127), 16: (0, 65535), 17: (-8, 7),
}  # fmt: skip
_LEAST: Final = 1e-30  # of a scale; a converter's are above 1e-15
_IF, _WHILE = 118, 119
_MOST_TABLES: Final = 100_000  # tensors, operators, buffers: of each
_MOST_SUBGRAPHS: Final = 256
_MOST_AXES: Final = 8
_DEFAULTS: Final = GateLimits()
_ORDER: Final = "model_control_dependencies"  # metadata that changes the order in which operators run


@dataclass(frozen=True, slots=True)
class LiteFacts:
    """What the gate saw.

    Attributes:
        operators: "CONV_2D" -> how often, in all subgraphs.
        tensor_bytes: what all tensors claim, a free dimension counted as 1.
        variables: whether some tensors live on from one run to the next.
    """

    operators: Counter[str]
    tensor_bytes: int
    variables: bool


def inspect(files: Mapping[str, bytes | memoryview], entry: str, limits: GateLimits = _DEFAULTS) -> LiteFacts:
    """Hold a `.tflite` file against the rules.

    Raises:
        SetsailError: `program.parse`, `.operator`, `.external` or `.size`.
    """
    if entry not in files:
        raise SetsailError("program.parse", "the program's file is missing", value=entry, expected=", ".join(files))
    if len(files) > 1:
        raise SetsailError("program.external", "a file beside the program is not used by it",
                           value=sorted(files.keys() - {entry}))  # fmt: skip
    return _Walk(memoryview(files[entry]), limits).facts()


def inspect_path(path: Path, limits: GateLimits = _DEFAULTS) -> LiteFacts:
    """The same for a file on disk. Raises also `source.missing`."""
    with folders.open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(size, limits)
        if size == 0:
            _refuse("the program is empty", str(path))
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                return _Walk(view, limits).facts()
            finally:
                view.release()


class _Reader(flatbuffer.Reader):
    def fault(self, what: str, expected: str = "a TensorFlow Lite file") -> SetsailError:
        return SetsailError("program.parse", what, expected=expected)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor. `size` is what it claims, in bytes."""

    name: str
    size: int
    constant: bool
    variable: bool


class _Walk:
    """One inspection of a file."""

    def __init__(self, data: memoryview, limits: GateLimits) -> None:
        check_size(len(data), limits)
        if bytes(data[4:8]) != _MARK:
            _refuse("the program is no TensorFlow Lite file", bytes(data[4:8]), _MARK.decode())
        self._limits = limits
        self._model = _Reader(data).root()
        if (version := self._model.number(0, U32)) != _VERSION:
            _refuse("the program has another schema", version, str(_VERSION))
        self._operators: Counter[str] = Counter()
        self._total = 0
        self._variables = False

    def facts(self) -> LiteFacts:
        model = self._model
        for slot in (8, 9):
            if model.count(slot):
                _outside("the program's weights lie in other files")
        self._buffers = [self._buffer(table) for table in model.tables(4, _MOST_TABLES)]
        self._codes = [_code(table) for table in model.tables(1, _MOST_TABLES)]
        subgraphs = model.tables(2, _MOST_SUBGRAPHS)
        if not subgraphs:
            _refuse("the program has no graph", 0)
        self._sizes = [graph.count(0) for graph in subgraphs]
        calls = [self._graph(graph, main=index == 0) for index, graph in enumerate(subgraphs)]
        _check_calls(calls)
        self._check_names(model)
        return LiteFacts(self._operators, self._total, self._variables)

    def _buffer(self, table: Table) -> int:
        """How many bytes a buffer holds."""
        # 0 and 1 stand for "in this table"; anything else is a place behind the FlatBuffer, of files above 2 GB
        if table.number(1, U64) > 1 or table.number(2, U64) > 1:
            _outside("a buffer's content lies behind the program")
        start, end = table.span(0)
        return end - start

    def _check_names(self, model: Table) -> None:
        """Signatures and metadata: names for tensors and buffers."""
        for signature in model.tables(7, _MOST_SUBGRAPHS):
            graph = signature.number(4, U32)
            if graph >= len(self._sizes):
                _refuse("a signature names a graph that is not there", graph)
            for slot in (0, 1):
                for entry in signature.tables(slot, _MOST_TABLES):
                    entry.text(0)
                    _within(entry.number(1, U32), self._sizes[graph], "a signature names a tensor")
        for note in model.tables(6, _MOST_TABLES):
            _within(note.number(1, U32), len(self._buffers), "metadata names a buffer")
            if note.text(0).decode("utf-8", "replace") == _ORDER:
                _refuse("the program asks for another order of its operators", _ORDER)

    # -- a graph -------------------------------------------------------------------------------------------------

    def _graph(self, graph: Table, *, main: bool) -> set[int]:
        """Check one subgraph. Returns those that it calls."""
        tensors = [self._tensor(table) for table in graph.tables(0, _MOST_TABLES)]
        count = len(tensors)
        inputs, outputs = graph.numbers(1, I32, _MOST_TABLES), graph.numbers(2, I32, _MOST_TABLES)
        for index in (*inputs, *outputs):
            _within(index, count, "a graph takes or gives a tensor")
        if main and not outputs:
            _refuse("the program gives nothing", 0)
        # what holds something already: an operator may read it, and nobody may write it again
        known = {i for i, t in enumerate(tensors) if t.constant or t.variable or not t.size}
        fixed = {i for i, t in enumerate(tensors) if t.constant}
        if fixed & set(inputs) or len(set(inputs)) < len(inputs):
            _refuse("an input is a constant, or is there twice", [tensors[i].name for i in inputs])
        written = fixed | set(inputs)
        known |= set(inputs)
        calls: set[int] = set()
        for operator in graph.tables(3, _MOST_TABLES):
            calls |= self._operator(operator, tensors, known, written)
        for index in outputs:
            if index not in known:
                _refuse("a graph gives a tensor that nothing computes", tensors[index].name)
        return calls

    def _operator(self, operator: Table, tensors: Sequence[_Tensor], known: set[int], written: set[int]) -> set[int]:
        """Check an operator, and note what it writes. Returns the subgraphs that it calls."""
        code = operator.number(0, U32)
        _within(code, len(self._codes), "an operator has a code")
        number = self._codes[code]
        self._operators[ALLOWED[number]] += 1
        if operator.number(9, U64) or operator.number(10, U64):
            _outside("an operator's options lie behind the program")
        operator.span(5)
        operator.table(4), operator.table(12)
        operator.numbers(7, U8, _MOST_TABLES)
        for place, index in enumerate(operator.numbers(1, I32, _MOST_TABLES)):
            if index == -1 and place >= OPTIONAL.get(ALLOWED[number], 1 << 31):
                continue
            _within(index, len(tensors), "an operator reads a tensor")
            if index not in known:
                _refuse(f"{ALLOWED[number]} reads a tensor that nothing has computed", tensors[index].name)
        for index in operator.numbers(8, I32, _MOST_TABLES):
            if index != -1:
                _within(index, len(tensors), "an operator uses a tensor")
        for index in operator.numbers(2, I32, _MOST_TABLES):
            _within(index, len(tensors), "an operator writes a tensor")
            if index in written:
                _refuse(f"{ALLOWED[number]} writes a tensor that has its content already", tensors[index].name)
            written.add(index)
            known.add(index)
        return self._called(operator, number)

    def _called(self, operator: Table, number: int) -> set[int]:
        if number not in (_IF, _WHILE):
            return set()
        options = operator.table(4)
        if options is None or operator.number(3, U8) != {_IF: 92, _WHILE: 93}[number]:
            _refuse(f"{ALLOWED[number]} does not say what it calls", operator.number(3, U8))
        called = {options.number(slot, I32) for slot in (0, 1)}
        for index in called:
            _within(index, len(self._sizes), f"{ALLOWED[number]} calls a graph")
        return called

    # -- a tensor ------------------------------------------------------------------------------------------------

    def _tensor(self, table: Table) -> _Tensor:
        name = table.text(3).decode("utf-8", "replace")
        kind = table.number(1, I8)
        if kind not in _BITS:
            _refuse(f"tensor {name!r} has a type that is not read", kind, "numbers")
        if table.table(6) is not None or table.count(9):
            _refuse(f"tensor {name!r} is sparse, or a list", name, "dense tensors")
        if table.number(10, U32):
            _outside(f"tensor {name!r} lies in another file")
        shape = table.numbers(0, I32, _MOST_AXES)
        if any(d < 0 for d in shape):
            _refuse(f"tensor {name!r} has a negative size", list(shape))
        free = table.numbers(7, I32, _MOST_AXES)
        if free and (len(free) != len(shape) or any(f not in (-1, d) for f, d in zip(free, shape, strict=True))):
            _refuse(f"tensor {name!r} has two shapes", list(free), str(list(shape)))
        size = (math.prod(shape) * _BITS[kind] + 7) // 8
        self._total += size
        if self._total > self._limits.tensors:
            raise SetsailError("program.size", "the tensors are too large together", value=self._total,
                               expected=f"at most {self._limits.tensors}")  # fmt: skip
        _check_scales(table, name, shape, kind)
        buffer = table.number(2, U32)
        _within(buffer, max(1, len(self._buffers)), f"tensor {name!r} has a buffer")
        held = self._buffers[buffer] if self._buffers else 0
        if held and held != size:
            _refuse(f"tensor {name!r} is not as large as its content", size, str(held))
        variable = bool(table.byte(5))
        self._variables |= variable
        if variable and held:
            _refuse(f"tensor {name!r} is both a constant and a variable", name)
        return _Tensor(name, size, bool(held), variable)


def _code(table: Table) -> int:
    """A built-in operator's number. Raises `program.operator` for one that is not let in."""
    number = max(table.number(0, I8), table.number(3, I32))  # newer files have the larger numbers in the second
    custom = table.text(1).decode("utf-8", "replace")
    if number not in ALLOWED:
        what = f"the custom operator {custom!r}" if number == CUSTOM else f"the operator {name_of(number)}"
        raise SetsailError(
            "program.operator", f"{what} is not allowed", field="program", value=custom or name_of(number),
            expected="built-in operators that only compute",
        )  # fmt: skip
    return number


def _check_scales(tensor: Table, name: str, shape: Sequence[int], kind: int) -> None:
    """Scales and zero points: none, one, or one for each place of an axis; such that kernels can divide by them.

    A scale of 0, or next to it, or a zero point that is no value of the type ends the process: LiteRT does not look.
    """
    table = tensor.table(4)
    if table is None:
        return
    table.numbers(0, F32), table.numbers(1, F32)
    scales, zeros, axis = table.numbers(2, F32), table.numbers(3, I64), table.number(6, I32)
    many = len(scales) > 1
    wrong = table.byte(4) != 0 or (zeros and len(zeros) != len(scales))
    if wrong or (many and not (0 <= axis < len(shape) and shape[axis] == len(scales))):
        _refuse(f"the scales of tensor {name!r} do not fit it", [len(scales), len(zeros), axis], str(list(shape)))
    if kind in _ZEROS:
        low, high = _ZEROS[kind]
        if not all(_LEAST < scale < 1 / _LEAST for scale in scales):
            _refuse(f"tensor {name!r} has a scale out of range", repr(min(scales)), f"{_LEAST} to {1 / _LEAST}")
        if not all(low <= zero <= high for zero in zeros):
            _refuse(f"tensor {name!r} has a zero point out of range", max(zeros, key=abs), f"{low} to {high}")


def _check_calls(calls: Sequence[set[int]]) -> None:
    """Subgraphs that call each other in a circle would never end."""
    done: set[int] = set()
    for start in range(len(calls)):
        path, waiting = set[int](), [(start, False)]
        while waiting:
            index, left = waiting.pop()
            if left:
                path.discard(index)
                done.add(index)
            elif index in path:
                _refuse("the program's graphs call each other in a circle", index)
            elif index not in done:
                path.add(index)
                waiting.append((index, True))
                waiting += [(called, False) for called in calls[index]]


def _within(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        _refuse(f"{what} that is not there", index, f"0 to {count - 1}")


def _refuse(what: str, value: object, expected: str = "") -> NoReturn:
    raise SetsailError("program.parse", what, value=value, expected=expected or "a TensorFlow Lite file")


def _outside(what: str) -> NoReturn:
    raise SetsailError("program.external", what, expected="one file with everything in it")
