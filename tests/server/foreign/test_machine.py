"""The machine, as TorchServe's metrics tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from setsail.server.foreign import machine
from setsail.server.foreign.machine import _Processor, gauges


def test_shares_and_amounts_agree() -> None:
    found = {name: value for name, _, value in gauges()}
    assert 0 < found["DiskUtilization"] <= 100
    assert found["DiskUsage"] > 0
    if Path("/proc/meminfo").exists():
        used, free = found["MemoryUsed"], found["MemoryAvailable"]
        assert found["MemoryUtilization"] == pytest.approx(100 * used / (used + free))


def test_the_processor_is_busy_by_what_passed_since_it_was_asked() -> None:
    processor = _Processor()
    assert processor.busy("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1") == pytest.approx(20)
    assert processor.busy("cpu  60 0 60 70 10 0 0 0 0 0") == pytest.approx(100)
    assert processor.busy("cpu  60 0 60 70 10 0 0 0 0 0") is None  # no time has passed


def test_what_the_system_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_read", lambda path: "")
    assert [name for name, _, _ in gauges()] == ["DiskUsage", "DiskAvailable", "DiskUtilization"]
