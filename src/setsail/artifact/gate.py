"""The safety gate: what an ONNX program may contain before any runtime sees it. Reads bytes, runs nothing.

The runtime's own checks are not enough: onnxruntime follows a hard link to a file outside, and the ONNX checker lets an
external offset beyond the file pass. So here *all* tensors are walked, in subgraphs, attributes, sparse tensors,
functions and training graphs; external data must be plain files of the artifact, in bounds; operators must come from
the runtime's own portable domains, or be functions the model defines; and what is claimed must be paid for in bytes.
What no reading can find (an operator that allocates too much when run) is left to the trial run in a limited child.
"""

from __future__ import annotations

import math
import mmap
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from setsail.artifact import folders
from setsail.artifact.operators import DOMAINS, MICROSOFT, RESERVED
from setsail.artifact.wire import Budget, Message, Reader
from setsail.errors import SetsailError

__all__ = ["GateLimits", "ProgramFacts", "check_size", "inspect", "inspect_path", "weigh"]

# TensorProto.DataType -> bits an element takes. Text (8) takes at least a tag and a length.
_BITS: Final[Mapping[int, int]] = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 8: 16, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
    16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
_TEXT_TYPE: Final = 8
_MEMORY_MARKER: Final = "_ORT_MEM_ADDR_"
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_Operator = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What a program may claim. `program` and `tensors` are bytes: of the file, and of all tensors together.

    `nodes` counts after functions are expanded, as the runtime does; `depth` is nesting of protobuf messages (a
    subgraph is three of them), `calls` of functions.
    """

    program: int = 512 << 20
    tensors: int = 16 << 30
    nodes: int = 500_000
    messages: int = 1_000_000
    fields: int = 10_000_000
    depth: int = 64
    calls: int = 32


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What the gate saw.

    Attributes:
        opsets: domain -> version; the ONNX domain is "".
        operators: "MatMul", "ai.onnx.ml.Scaler" -> how often, functions counted once.
        nodes: how many after expanding functions.
        external: files the program refers to, sorted.
        tensor_bytes: bytes of all tensors.
    """

    opsets: Mapping[str, int]
    operators: Counter[str]
    nodes: int
    external: tuple[str, ...]
    tensor_bytes: int


_DEFAULTS = GateLimits()


def inspect(files: Mapping[str, bytes | memoryview], entry: str, limits: GateLimits = _DEFAULTS) -> ProgramFacts:
    """Hold a program, and the files beside it, against the rules.

    Args:
        files: relative name -> content, as `Artifact.files` gives them.
        entry: the ONNX file among them.

    Raises:
        SetsailError: `program.parse`, `.operator`, `.external` or `.size`.
    """
    if entry not in files:
        raise SetsailError("program.parse", "the program's file is missing", value=entry, expected=", ".join(files))
    sizes = {name: len(content) for name, content in files.items()}
    facts = _Walk(memoryview(files[entry]), sizes.get, limits).facts()
    unused = sizes.keys() - {entry, *facts.external}
    if unused:
        raise SetsailError("program.external", "a file beside the program is not used by it", value=sorted(unused))
    return facts


def inspect_path(path: Path, limits: GateLimits = _DEFAULTS) -> ProgramFacts:
    """The same for a model on disk, with the files beside it that it names.

    External files must be regular, beneath the model's folder, reached without symbolic links, and have no other name
    (a hard link could be to somebody's secret).
    """
    path = Path(path)
    with folders.open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(size, limits)
        if size == 0:
            raise SetsailError("program.parse", "the program is empty", value=str(path))
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                return _Walk(view, lambda name: folders.size_beneath(path.parent, name), limits).facts()
            finally:
                view.release()


def weigh(files: Mapping[str, bytes | memoryview], entry: str, limits: GateLimits = _DEFAULTS) -> int:
    """The gate of boosters, which only their own libraries can parse: the size. Their trial run does the rest."""
    if entry not in files:
        raise SetsailError("program.parse", "the program's file is missing", value=entry, expected=", ".join(files))
    total = sum(map(len, files.values()))
    check_size(total, limits)
    return total


@dataclass(slots=True)
class _Scope:
    """The nodes of the main graph or of one function, with those of their subgraphs."""

    operators: Counter[_Operator] = field(default_factory=Counter)


class _Walk:
    """One inspection: collects while the reader walks, then judges the whole."""

    def __init__(self, data: memoryview, size_of: Callable[[str], int | None], limits: GateLimits) -> None:
        check_size(len(data), limits)
        if bytes(data[4:8]) == b"ORTM":
            # onnxruntime takes any file with this mark for its own flatbuffer format, whatever else it may be.
            raise SetsailError("program.parse", "the program is in onnxruntime's own format", expected="ONNX")
        self._limits = limits
        self._size_of = size_of
        self._scopes = [_Scope()]
        self._functions: dict[_Operator, _Scope] = {}
        self._external: set[str] = set()
        self._tensor_bytes = 0
        self._reader = Reader(data, Budget(limits.messages, limits.fields, limits.depth), self._entered, self._left)

    def facts(self) -> ProgramFacts:
        model = self._reader.walk()
        if not model.number("ir_version") or not model.kept or not model.children >> 7 & 1:
            raise SetsailError("program.parse", "the program has no graph, version or opset", expected="an ONNX model")
        main = self._scopes[0]
        for scope in (main, *self._functions.values()):
            for operator in scope.operators:
                self._check_operator(operator)
        counts: Counter[str] = Counter()
        for scope in (main, *self._functions.values()):
            for (domain, op, _), count in scope.operators.items():
                counts[f"{domain}.{op}".lstrip(".")] += count
        opsets = {_domain(opset): opset.number("version") for opset in model.kept}
        return ProgramFacts(opsets, counts, self._expanded(), tuple(sorted(self._external)), self._tensor_bytes)

    def _entered(self, kind: str) -> None:
        if kind == "Function":
            self._scopes.append(_Scope())

    def _left(self, message: Message) -> None:
        if message.kind == "Node":
            self._scopes[-1].operators[(_domain(message), message.text("op_type"), message.text("overload"))] += 1
        elif message.kind == "Tensor":
            self._tensor(message)
        elif message.kind == "Sparse":
            # The runtime makes it dense; eight bytes an element is what that may take.
            self._claim(8 * math.prod(self._dims(message)))
        elif message.kind == "Function":
            key = (_domain(message), message.text("name"), message.text("overload"))
            if key in self._functions:
                raise SetsailError("program.parse", "a function is defined twice", value=key)
            self._functions[key] = self._scopes.pop()

    # -- operators ---------------------------------------------------------------------------------------------

    def _check_operator(self, operator: _Operator) -> None:
        domain, op, _ = operator
        if domain in DOMAINS or (domain == "com.microsoft" and op in MICROSOFT):
            return
        # A function may not pose as an operator of the runtime's own domains: the runtime's would win.
        if operator in self._functions and not domain.startswith(RESERVED):
            return
        raise SetsailError("program.operator", f"operator {op!r} of domain {domain!r} is not allowed", field="program",
                           value=f"{domain}.{op}", expected="ai.onnx, ai.onnx.ml, part of com.microsoft")  # fmt: skip

    def _expanded(self) -> int:
        """Nodes after expanding functions: few bytes of functions that call each other can stand for billions."""
        known: dict[_Operator, int] = {}

        def count(scope: _Scope, chain: tuple[_Operator, ...]) -> int:
            if len(chain) > self._limits.calls:
                _too_much("functions call each other too deep", len(chain), self._limits.calls)
            total = 0
            for operator, times in scope.operators.items():
                callee = self._functions.get(operator)
                if operator in chain:
                    raise SetsailError("program.parse", "a function calls itself", value=".".join(operator))
                if callee is not None and operator not in known:
                    known[operator] = count(callee, (*chain, operator))
                total += times * (known[operator] if callee is not None else 1)
            if total > self._limits.nodes:
                _too_much("the program has too many nodes", total, self._limits.nodes)
            return total

        return count(self._scopes[0], ())

    # -- tensors -----------------------------------------------------------------------------------------------

    def _tensor(self, tensor: Message) -> None:
        count, kind, name = math.prod(self._dims(tensor)), tensor.number("data_type"), tensor.text("name")
        if kind not in _BITS:
            raise SetsailError("program.parse", f"tensor {name!r} has no known type", value=kind)
        claimed = (count * _BITS[kind] + 7) // 8
        location = tensor.number("data_location")
        if location > 1:
            raise SetsailError("program.parse", f"tensor {name!r} lies nowhere known", value=location)
        if location or tensor.kept:
            self._check_external(tensor, claimed, text=kind == _TEXT_TYPE)
        elif count * min(8, _BITS[kind]) > tensor.size * 8:
            # Numbers may be stored as varints, so one byte an element is the least.
            _too_much(f"tensor {name!r} claims more than it holds", claimed, tensor.size)
        self._claim(claimed)

    def _dims(self, tensor: Message) -> list[int]:
        dims: list[int] = tensor.values.get("dims", [])
        if len(dims) > 64:
            _too_much("a tensor has too many dimensions", len(dims), 64)
        if any(dim >= 1 << 63 for dim in dims):
            raise SetsailError("program.parse", "a tensor has a negative size", value=tensor.text("name"))
        return dims

    def _claim(self, size: int) -> None:
        self._tensor_bytes += size
        if self._tensor_bytes > self._limits.tensors:
            _too_much("the tensors are too large together", self._tensor_bytes, self._limits.tensors)

    def _check_external(self, tensor: Message, claimed: int, *, text: bool) -> None:
        name = tensor.text("name")
        facts = {pair.text("key"): pair.text("value") for pair in tensor.kept}
        place = facts.get("location", "")
        if _MEMORY_MARKER in place:
            _outside(f"tensor {name!r} points into memory", place)
        if len(facts) != len(tensor.kept) or not facts.keys() <= {"location", "offset", "length", "checksum"}:
            _outside(f"tensor {name!r} has unknown or repeated facts about its file", sorted(facts))
        if not folders.is_plain(place) or text:
            _outside(f"tensor {name!r} is not in a plain file beside the program", place)
        if not all(_NUMBER.match(facts.get(key, "0")) for key in ("offset", "length")):
            _outside(f"tensor {name!r} has a place that is no number", facts)
        offset, length = int(facts.get("offset", "0")), int(facts.get("length", claimed))
        size = self._size_of(place)
        if size is None:
            _outside(f"the file of tensor {name!r} does not exist", place)
        if length != claimed or offset + length > size:
            _outside(f"tensor {name!r} reaches outside its file", [offset, length, size])
        self._external.add(place)


def _domain(message: Message) -> str:
    domain = message.text("domain")
    return "" if domain == "ai.onnx" else domain


def check_size(size: int, limits: GateLimits) -> None:
    """Whether a program's file is small enough to be looked at. Raises `program.size`."""
    if size > limits.program:
        _too_much("the program's file is too large", size, limits.program)


def _too_much(what: str, value: int, limit: int) -> NoReturn:
    raise SetsailError("program.size", what, value=value, expected=f"at most {limit}")


def _outside(what: str, value: object) -> NoReturn:
    raise SetsailError("program.external", what, value=value, expected="a plain name of a file beside the program")
