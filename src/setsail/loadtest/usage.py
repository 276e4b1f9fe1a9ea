"""CPU time and memory of a process and its descendants, from /proc; nothing (None) where there is no /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["cpu_seconds", "family", "memory_mb"]

_PROC: Final = Path("/proc")


def cpu_seconds(pid: int) -> float | None:
    """User and system time so far, that of descendants and of their ended children included."""
    ticks, found = 0, False
    for fields in map(_stat, family(pid)):
        if fields:
            found = True
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK") if found else None


def memory_mb(pid: int) -> float | None:
    """Proportional set size in MiB: pages that processes share are counted once."""
    total, found = 0, False
    for member in family(pid):
        try:
            lines = (_PROC / str(member) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        found = True
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024 if found else None


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    parents = dict(_parents())
    if pid not in parents:
        return []
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def _parents() -> Iterator[tuple[int, int]]:
    if not (_PROC / "self").exists():
        return
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            yield int(entry.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """proc(5)'s stat from the third field on; the second may hold spaces."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
