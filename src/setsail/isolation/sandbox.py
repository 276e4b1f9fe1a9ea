"""A process makes itself harmless: limits first, then the cut. Both kinds of child do this before anything else:
the one that answers a single `call`, and the one that stays (`apps/`).

Called while the process has one thread and nothing but the standard library in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from setsail.isolation import landlock, namespaces

__all__ = ["enter", "limit"]


def limit(limits: Mapping[str, int]) -> None:
    """Set the kernel's limits (`Limits.to_json`). Windows has none of them; macOS lacks some, which stay as they were.

    Without `cpu_seconds`, or with 0, processor time has no limit.
    """
    if sys.platform == "win32":
        return
    import resource

    rows = (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_AS", limits["memory"]),
        ("RLIMIT_FSIZE", limits["file_bytes"]),
        ("RLIMIT_NOFILE", limits["open_files"]),
    )
    for name, value in rows:
        _lower(resource, name, value)
    if limits.get("cpu_seconds"):
        _lower(resource, "RLIMIT_CPU", limits["cpu_seconds"], grace=2)


def enter(
    how: str,
    *,
    parent: int,
    processes: int,
    report: Callable[[int], None],
    writable: Sequence[str],
    readable: Sequence[str] | None = None,
    network: bool = False,
) -> str | None:
    """Leave the network, everybody else's processes and the folders of others. Goes on in another process.

    Args:
        how: "require", "try", or "off", which only ties this process's life to its parent's.
        parent: process number of whoever started us; we end with it.
        processes: as `Limits.processes`.
        report: called in another process with the signal that killed this one.
        writable: folders that may be written beneath.
        readable: files and folders that may be read; None for all.
        network: keep it.

    Returns:
        Why it was required and could not be done; None when all is well.
    """
    if sys.platform != "linux":
        return f"{sys.platform} has no network namespaces" if how == "require" else None
    import resource

    refusal = "off" if how == "off" else namespaces.cut(network=network)
    if refusal is not None and how == "require":
        return refusal
    namespaces.die_with_parent()
    if os.getppid() != parent:
        os._exit(1)  # it ended before we asked to end with it
    if refusal is None:
        _lower(resource, "RLIMIT_NPROC", processes)
        namespaces.worker(report)
        landlock.confine(writable, readable)  # where the kernel has it; the contract asks for the network only
    return None


def _lower(resource: Any, name: str, value: int, grace: int = 0) -> None:
    """Lower one limit. At the soft one the process gets a signal that names it; `grace` later it is killed."""
    number = getattr(resource, name, None)
    if number is None:
        return
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard - grace)
    try:
        resource.setrlimit(number, (value, value + grace))
    except (ValueError, OSError):  # macOS refuses RLIMIT_AS
        return
