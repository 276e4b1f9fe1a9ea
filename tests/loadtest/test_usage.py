"""CPU and memory of a process and its children."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from setsail.loadtest import usage

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")

CODE = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "sum(range(10**7)); print(flush=True); input()"], stdin=0)
child.wait()
"""


def test_a_child_counts() -> None:
    line = [sys.executable, "-c", CODE]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        assert len(usage.family(process.pid)) == 2
        cpu, memory = usage.cpu_seconds(process.pid), usage.memory_mb(process.pid)
        process.stdin.write("\n")
        process.stdin.close()
    assert cpu is not None
    assert cpu > 0.1
    assert memory is not None
    assert 5 < memory < 500


def test_a_process_that_is_gone_says_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert usage.family(process.pid) == []
    assert usage.cpu_seconds(process.pid) is None
    assert usage.memory_mb(process.pid) is None
    assert os.getpid() in usage.family(os.getpid())
