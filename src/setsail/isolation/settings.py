"""What a child process may use, and how both sides write it down.

The border is crossed by JSON only: one document in on the child's standard input (`Order`), one document a line out on
a pipe of its own: `{"progress": text}` any number of times, then one of `{"result": …}`, `{"fault": {…}}` (a
SetsailError), `{"crash": {"type", "line"}}` (any other exception), `{"signal": n}` or `{"uncut": reason}`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

from setsail.errors import KINDS, SetsailError

__all__ = ["JSON", "MAX_ANSWER", "Limits", "fault_from_json", "fault_to_json", "printable"]

# What json.loads gives. A recursive alias would have to be spelled at every use; callers check what they get.
JSON = Any
GIB: Final = 1 << 30
MAX_ANSWER: Final = 64 << 20
_TEXTS: Final = ("value", "expected", "todo", "field")


def _memory() -> int:
    """The machine's memory, at least 16 GiB: frameworks reserve far more address space than they use."""
    try:
        return max(16 * GIB, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 16 * GIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What one child may use. The kernel enforces all but `seconds`, which the parent does by killing it.

    Attributes:
        seconds: wall-clock time.
        cpu_seconds: processor time of a process, all its threads together.
        memory: bytes of address space of a process; None is the machine's memory, at least 16 GiB.
        file_bytes: size of any one file it writes.
        open_files: file descriptors of a process.
        processes: processes and threads together; enforced where the child has a user namespace of its own and the
            person is not root.
    """

    seconds: float = 900.0
    cpu_seconds: int = 3600
    memory: int | None = None
    file_bytes: int = 16 * GIB
    open_files: int = 1024
    processes: int = 4096

    def to_json(self) -> dict[str, Any]:
        """Without `seconds`, which the child need not know."""
        return {
            "cpu_seconds": self.cpu_seconds,
            "memory": _memory() if self.memory is None else self.memory,
            "file_bytes": self.file_bytes,
            "open_files": self.open_files,
            "processes": self.processes,
        }


def fault_to_json(fault: SetsailError) -> dict[str, Any]:
    """An error as JSON. Facts that are no JSON are left out rather than lose the error."""
    facts = {k: v for k, v in fault.facts.items() if _is_plain(v)}
    texts = {key: getattr(fault, key) for key in _TEXTS}
    return {"code": fault.code, "what": fault.what, **texts, "facts": facts}


def fault_from_json(body: Any) -> SetsailError | None:
    """The error that a child sent, or None where it is no such thing: a child's word is data like any other."""
    if not isinstance(body, dict) or not isinstance(body.get("what"), str) or body.get("code") not in KINDS:
        return None
    texts = {k: printable(body[k]) if isinstance(body.get(k), str) else None for k in _TEXTS}
    facts = body.get("facts")
    known = {"code", "what", "message", *_TEXTS}
    kept = {k: v for k, v in facts.items() if k not in known} if isinstance(facts, dict) else {}
    fault = SetsailError(
        body["code"], printable(body["what"]), field=texts["field"], expected=texts["expected"], todo=texts["todo"],
        **kept,
    )  # fmt: skip
    fault.value = texts["value"]  # it was shortened when it was raised
    return fault


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def printable(text: str, limit: int = 2000) -> str:
    """Text from a child, fit for a terminal: no escape sequences, no carriage returns, not endless."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text[:limit])
