"""Looking into pickles without loading them.

A pickle is a program for a small stack machine; loading one runs it. The scan reads its instructions
(`pickletools.genops`, which runs nothing) and lists every name they import. It is shown before the question "do you
trust this file?". It is advice, never a verdict: a clean scan does not make a pickle safe, and nothing is loaded
because of one.

Also read: compressed files (zlib, gzip, bz2, xz, as joblib writes them), zips with pickles inside (PyTorch), several
pickles in a row, and joblib's files, whose arrays stand raw between instructions; there the scan skips to what looks
like the next instruction that pushes a name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["ZIP_FAULTS", "Findings", "is_pickle", "judge", "names", "scan", "unpacked"]

MAX_BYTES: Final = 256 << 20
MAX_OPCODES: Final = 5_000_000
MAX_MEMBERS: Final = 10_000
_CHUNK: Final = 1 << 20

# Modules whose use inside a model is a sign of an attack, and single names in modules that are otherwise harmless.
_DANGEROUS: Final = frozenset((
    "os", "posix", "nt", "subprocess", "sys", "socket", "shutil", "ctypes", "_ctypes", "importlib", "pkgutil",
    "runpy", "timeit",
    "cProfile", "profile", "code", "codeop", "pdb", "bdb", "pty", "webbrowser", "multiprocessing", "_posixsubprocess",
    "threading", "_thread", "asyncio", "http", "urllib", "ftplib", "smtplib", "requests", "httpx", "aiohttp",
    "pickle", "_pickle",
    "marshal", "types", "inspect", "gc", "signal", "platform", "pip", "venv", "ensurepip", "doctest", "trace",
    "tempfile", "pathlib",
    "io", "_io", "fileinput", "linecache", "commands", "popen2", "imp", "zipimport", "site", "sysconfig",
    "distutils", "setuptools",
    "dill", "cloudpickle", "IPython", "bpython", "ssl", "xmlrpc", "telnetlib", "logging.config", "idlelib",
))  # fmt: skip
_DANGEROUS_NAMES: Final = frozenset((
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.__import__", "builtins.getattr",
    "builtins.setattr", "builtins.delattr", "builtins.globals", "builtins.locals", "builtins.vars", "builtins.input",
    "builtins.breakpoint", "builtins.apply", "builtins.execfile", "builtins.file", "builtins.memoryview",
    "builtins.map",
    "operator.attrgetter", "operator.methodcaller", "operator.itemgetter", "_operator.attrgetter",
    "_operator.methodcaller",
    "_operator.itemgetter", "functools.partial", "functools.reduce", "functools.partialmethod", "torch.load",
    "torch.hub.load",
    "torch.jit.load", "torch.utils.cpp_extension.load", "numpy.load", "numpy.loadtxt", "numpy.fromfile", "numpy.memmap",
    "numpy.testing._private.utils.runstring", "joblib.load", "pandas.read_pickle", "pandas.eval",
    "sklearn.utils._joblib.load",
))  # fmt: skip
_FRAMEWORKS: Final = {name: name for name in ("sklearn", "xgboost", "lightgbm", "catboost", "torch")}
_LIBRARIES: Final = frozenset((
    "numpy", "scipy", "pandas", "sklearn", "xgboost", "lightgbm", "torch", "joblib", "catboost", "collections",
    "copyreg", "copy_reg",
    "datetime", "decimal", "fractions", "skops", "imblearn", "category_encoders", "statsmodels", "pyarrow",
))  # fmt: skip
_HARMLESS_BUILTINS: Final = frozenset((
    "set", "frozenset", "dict", "list", "tuple", "str", "bytes", "bytearray", "int", "float", "complex", "bool",
    "object", "slice",
    "range", "type", "Ellipsis", "NotImplemented", "print", "len", "min", "max", "sum", "abs",
))  # fmt: skip
_OLD: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(frozen=True, slots=True)
class Findings:
    """What a scan saw. Names are `module.name`, sorted.

    Attributes:
        dangerous: imports that can run commands, open files or sockets, or load more code.
        known: names of ML libraries and harmless types.
        unknown: everything else, e.g. the person's own classes.
        notes: what could not be read.
    """

    dangerous: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Frameworks whose classes are named, the outermost first: boosters' own classes build on scikit-learn's."""
        roots = {name.partition(".")[0] for name in self.known}
        return tuple(f for root, f in _FRAMEWORKS.items() if root in roots)

    def __str__(self) -> str:
        lines = []
        for title, found in (
            ("DANGEROUS", self.dangerous), ("unknown", self.unknown), ("known libraries", self.known),
            ("note", self.notes),
        ):  # fmt: skip
            if found:
                shown = ", ".join(found[:12]) + (f", … ({len(found)} in all)" if len(found) > 12 else "")
                lines.append(f"{title}: {shown}")
        return "\n".join(lines) or "imports nothing"

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        return {key: list(getattr(self, key)) for key in ("dangerous", "known", "unknown", "notes")}


def scan(path: Path) -> Findings:
    """Scan a file that is or holds pickles. Never raises for what is inside; says what it could not read."""
    found: set[str] = set()
    notes: list[str] = []
    for label, data in _streams(path, notes):
        if len(data) >= MAX_BYTES:
            notes.append(f"{label}: only the first {MAX_BYTES >> 20} MiB were read")
        found |= names(data, notes)
    return judge(found, notes)


def judge(found: set[str], notes: list[str]) -> Findings:
    """Sort names into the three groups."""
    groups: dict[str, list[str]] = {"dangerous": [], "known": [], "unknown": []}
    for name in sorted(found):
        groups[_group(name)].append(_fit(name))
    dangerous, known, unknown = (tuple(group) for group in groups.values())
    return Findings(dangerous, known, unknown, tuple(notes))


def _fit(name: str) -> str:
    text = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return text if len(text) <= 120 else text[:119] + "…"


def _group(name: str) -> str:
    module, _, last = name.rpartition(".")
    root = module.partition(".")[0]
    if name in _DANGEROUS_NAMES or root in _DANGEROUS or module in _DANGEROUS:
        return "dangerous"
    # `numpy.os.system` and `sklearn.os.popen` go through a harmless root.
    if any(part in _DANGEROUS for part in name.split(".")[1:-1]) and root in ("numpy", "torch", "scipy", "pandas"):
        inner = name.split(".")[1]
        if inner in ("os", "sys", "subprocess", "importlib", "ctypes", "builtins", "shutil", "socket"):
            return "dangerous"
    if root in _LIBRARIES or (module == "builtins" and last in _HARMLESS_BUILTINS):
        return "known"
    return "unknown"


def names(data: bytes, notes: list[str]) -> set[str]:
    """Every `module.name` that the pickles in `data` import."""
    found: set[str] = set()
    view = io.BytesIO(data)
    budget = MAX_OPCODES
    while view.tell() < len(data):
        start = view.tell()
        used, complete = _one(view, found, budget)
        budget -= used
        if budget <= 0:
            notes.append(f"only the first {MAX_OPCODES} instructions were read")
            break
        if not complete:
            raw = data[max(start, view.tell() - 1) :]
            _raw_names(raw, found)
            break
    return found


def _one(view: io.BytesIO, found: set[str], budget: int) -> tuple[int, bool]:
    """Read one pickle; False as the second where its instructions end in something else."""
    used = 0
    strings: list[str] = []
    memo: dict[int, str] = {}
    top: str | None = None
    try:
        for opcode, argument, _ in pickletools.genops(view):
            used += 1
            if used >= budget:
                return used, True
            code = opcode.name
            if code in ("GLOBAL", "INST"):
                found.add(_dotted(*str(argument).split(" ", 1)))
                top = None
            elif code == "STACK_GLOBAL":
                module, name = (["?", "?", *strings])[-2:]
                found.add(_dotted(module, name))
                top = None
            elif "UNICODE" in code or code in ("STRING", "BINSTRING", "SHORT_BINSTRING"):
                top = str(argument)
                strings.append(top)
            elif code == "MEMOIZE":
                memo[len(memo)] = top or ""
            elif code in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(argument or 0)] = top or ""
            elif code in ("GET", "BINGET", "LONG_BINGET"):
                top = memo.get(int(argument or 0), "")
                strings.append(top)
            else:
                top = None
            if len(strings) > 4096:
                del strings[:-2]
    except (ValueError, EOFError, UnicodeDecodeError, IndexError, OverflowError, MemoryError):
        return used, False
    return used, True


def _dotted(module: str, name: str = "?") -> str:
    return f"{_OLD.get(module, module)}.{name}"


# GLOBAL `c<module>\n<name>\n`; a name pushed as SHORT_BINUNICODE twice and STACK_GLOBAL (with or without MEMOIZE).
_GLOBAL: Final = re.compile(rb"c([A-Za-z_][\w.]{0,200})\n([A-Za-z_][\w.]{0,200})\n")
_PUSHED: Final = re.compile(rb"\x8c([\x01-\xff])(?=([A-Za-z_][\w.]{0,254}))")


def _raw_names(data: bytes, found: set[str]) -> None:
    """Names in a stream that is interrupted by raw arrays: by their look, not by reading instructions."""
    for match in _GLOBAL.finditer(data):
        found.add(_dotted(match[1].decode(), match[2].decode()))
    pushed: list[tuple[int, str]] = []
    for match in _PUSHED.finditer(data):
        size, text = match[1][0], match[2]
        if len(text) >= size:
            pushed.append((match.end(1) + size, text[:size].decode()))
    for index, (end, name) in enumerate(pushed):
        follows = data[end : end + 2].removeprefix(b"\x94")[:1] == b"\x93"
        if follows and index:
            found.add(_dotted(pushed[index - 1][1], name))
        elif name.partition(".")[0] in _DANGEROUS and len(name) > 1:
            found.add(f"{name}.?")


# -- from a file to pickle streams -------------------------------------------------------------------------------------

# All that zipfile and the decompressors raise for damaged files (found by damaging some).
ZIP_FAULTS: Final = (
    OSError, EOFError, KeyError, ValueError, RuntimeError, NotImplementedError, OverflowError, struct.error,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip

_OPENERS: Final[Mapping[bytes, Any]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open, b"\x5d\x00\x00": lzma.open,
}  # fmt: skip


def _streams(path: Path, notes: list[str]) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(path):
        yield from _members(path, notes)
        return
    try:
        yield path.name, unpacked(path, MAX_BYTES)
    except ZIP_FAULTS as fault:
        notes.append(f"{path.name}: {fault}")


def _members(path: Path, notes: list[str]) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:MAX_MEMBERS]:
                with archive.open(info) as member:
                    if is_pickle(member.read(64)) or info.filename.endswith(".pkl"):
                        with archive.open(info) as again:
                            yield info.filename, again.read(MAX_BYTES)
    except ZIP_FAULTS as fault:
        notes.append(f"{path.name}: {fault}")


def unpacked(path: Path, limit: int) -> bytes:
    """The first bytes of a file, decompressed where it is compressed the way joblib does it."""
    with path.open("rb") as file:
        head = file.read(8)
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            with opener(path, "rb") as file:
                data: bytes = file.read(limit)
                return data
    with path.open("rb") as file:
        if len(head) >= 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
            inflater, parts, size = zlib.decompressobj(), [], 0
            while size < limit and not inflater.eof and (chunk := file.read(_CHUNK)):
                parts.append(inflater.decompress(chunk, limit - size))
                size += len(parts[-1])
            return b"".join(parts)
        return file.read(limit)


def is_pickle(head: bytes) -> bool:
    """Whether bytes begin like a pickle: a protocol instruction, or a protocol 0 or 1 program."""
    if len(head) >= 2 and head[0] == 0x80:
        return 2 <= head[1] <= 5
    if not head[:1] or head[:1] not in b"(cilI]}":
        return False
    return _GLOBAL.match(head.lstrip(b"(")) is not None
