"""How many processor cores this process may use: the machine's, narrowed by affinity and by the container's quota."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import Final

__all__ = ["processes", "quota", "usable"]

_CGROUP: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def processes(asked: int) -> int:
    """How many processes answer: as many as asked for, or (0) one a core; one where processes cannot be spawned so."""
    return (asked or usable()) if hasattr(os, "posix_spawn") else 1


def usable() -> int:
    """The container's CPU quota rounded up where there is one, but never more than the cores we may run on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    return cores if limit is None else max(1, min(cores, ceil(limit)))


def quota(root: Path = _CGROUP, own: Path = _OWN) -> float | None:
    """Cores' worth of CPU time that the control groups above this process allow; None where they allow all.

    The smallest limit on the way from our group to the root holds. Inside a container the root is often our own group.

    Args:
        root: where control groups are mounted (version 2, or version 1 with its `cpu` folder).
        own: the file that says which group this process is in.
    """
    limits = [limit for folder in _folders(root, own) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _folders(root: Path, own: Path) -> list[Path]:
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        lines = []
    found = [root, root / "cpu"]
    for _, controllers, group in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        place = base / group.lstrip("/")
        found += [folder for folder in (place, *place.parents) if folder != base and base in folder.parents]
    return found


def _limit(folder: Path) -> float | None:
    """The limit that one group states, in version 2's file or version 1's two."""
    try:
        parts = (folder / "cpu.max").read_text().split()
    except OSError:
        try:
            parts = [(folder / name).read_text().strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
        except OSError:
            return None
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):  # "max", or -1 in version 1
        return None
    limit, period = int(parts[0]), int(parts[1])
    return limit / period if limit > 0 and period > 0 else None
