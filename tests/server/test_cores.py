"""How many processes: affinity, and the quotas of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from setsail.server import cores


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "3:cpu:/\n", 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "3:cpu:/\n", None),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, "0::/a/b\n", 3.0),
        ({"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "300000 100000\n"}, "0::/a/b\n", 0.5),
        ({"cpu/a/cpu.cfs_quota_us": "40000\n", "cpu/a/cpu.cfs_period_us": "20000\n"}, "4:cpuacct,cpu:/a\n", 2.0),
        ({"a/cpu.max": "100000 100000\n"}, "7:memory:/a\n", None),
        ({}, "0::/a\n", None),
    ],
)
def test_the_smallest_limit_on_the_way_holds(
    tmp_path: Path, files: dict[str, str], own: str, expected: float | None
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    assert cores.quota(tmp_path / "cgroup", tmp_path / "own") == expected


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.5, 1), (1.5, 2), (2.0, 2), (64.0, 4)])
def test_a_quota_is_rounded_up_but_never_beyond_the_cores(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores, "quota", lambda: quota)
    assert cores.usable() == expected
    assert cores.processes(0) == expected
    assert cores.processes(7) == 7
