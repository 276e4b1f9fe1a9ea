"""The fuzz targets on the cases they start from, on every case that was a finding once, and for a while at random."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
from targets import TARGETS  # noqa: E402

# What `scripts/fuzz.py` printed.
FOUND = [
    ("plain", b'{"a":[4],"b":[[]]}'),
    ("predict", b'{"instances":[{"a":1,"b":[]}]}'),
    ("infer", b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2' + b" " * 4096),
    ("infer", b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[[1,2' + b" " * 4096),
    ("infer-binary",
     b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]}\n'
     b"\x00\x00\x00\x007\x00\x80\xff\xff\x00\x00@\x00\x00@@"),
]  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_good_cases(name: str) -> None:
    outcomes = {TARGETS[name].run(case) for case in TARGETS[name].seeds()}
    assert len(outcomes) > 1


@pytest.mark.parametrize(("name", "case"), FOUND)
def test_findings_stay_fixed(name: str, case: bytes) -> None:
    TARGETS[name].run(case)


@pytest.mark.slow
def test_twenty_seconds_of_fuzzing_find_nothing() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fuzz.py"), "--minutes", str(20 / 60)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
