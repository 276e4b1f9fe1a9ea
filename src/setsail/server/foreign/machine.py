"""The machine under TorchServe's names: processor, memory and disk, in its units, as of now.

What the system does not tell (`/proc` is Linux's) is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["gauges"]

_MB: Final = 1 << 20
_GB: Final = 1 << 30


class _Processor:
    """Percent of its time that it was busy, since it was last asked for; at first since the machine was started."""

    def __init__(self) -> None:
        self._before = (0, 0)

    def busy(self, text: str) -> float | None:
        """Args: text: of /proc/stat, whose first line is jiffies by kind, of which the fourth and fifth are idle."""
        kinds = [int(word) for word in text.partition("\n")[0].split()[1:9]]
        idle, whole = sum(kinds[3:5]), sum(kinds)
        idle_, whole_ = self._before
        if whole <= whole_:
            return None
        self._before = (idle, whole)
        return 100.0 * (1 - (idle - idle_) / (whole - whole_))


_PROCESSOR: Final = _Processor()


def gauges() -> Iterator[tuple[str, str, float]]:
    """Name, what it says, value."""
    if (stat := _read("/proc/stat")) and (busy := _PROCESSOR.busy(stat)) is not None:
        yield "CPUUtilization", "Percent of the processors' time.", busy
    if told := _read("/proc/meminfo"):
        facts = {line.partition(":")[0]: int(line.split()[1]) << 10 for line in told.splitlines() if line}
        whole, free = facts["MemTotal"], facts["MemAvailable"]
        yield "MemoryUsed", "Megabytes of memory in use.", (whole - free) / _MB
        yield "MemoryAvailable", "Megabytes of memory that are free.", free / _MB
        yield "MemoryUtilization", "Percent of memory in use.", 100.0 * (whole - free) / whole
    disk = shutil.disk_usage("/")
    yield "DiskUsage", "Gigabytes of disk in use.", disk.used / _GB
    yield "DiskAvailable", "Gigabytes of disk that are free.", disk.free / _GB
    yield "DiskUtilization", "Percent of disk in use.", 100.0 * disk.used / disk.total


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
