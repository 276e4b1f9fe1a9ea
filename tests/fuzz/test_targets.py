"""The fuzz targets on the cases they start from, on every case that was a finding once, and for a while at random."""

from __future__ import annotations

import subprocess
import sys
import zlib
from base64 import b85decode
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
from targets import TARGETS, parquet_seeds  # noqa: E402


def parquet_of_no_text() -> bytes:
    """Text columns whose text is not UTF-8."""
    seed = next(seed for seed in parquet_seeds() if b"u\x01\x00\x00\x00v" in seed)
    return seed.partition(b"\n")[2].replace(b"u\x01\x00\x00\x00v", b"\xf7\x01\x00\x00\x00v")


def parquet_of_a_text_that_is_not_there() -> bytes:
    """A dictionary's column whose index names no text of it."""
    return zlib.decompress(b85decode(
        "c-lo#O>4qH5S<MnNb#WJhAiyCi=hXNwM8kVmx(AXwbTmI^VUi#v>Ky{m;9Li)Xv191M|V#d2f~(6URU6r8%s(n_jm03QTO4-"
        ">V=t$u3<Tu4XvzOItQ&b4m#S1bNCKlOP+i(IL1d9qDMoEOJ|jnY2}B0G_iasb3>4kkz*3iO)7nxy`keR@w(Gt7-sFP0^Di)Xm-"
        "8zxOM82-hO>L|U(d;sL-CKyxg3B(kG?uvsT}ZNK8?ptM)T`TXtU;WW|v6Fs&&WP8Vxy&xVjjBtV&;V3GwFhqRiVubiy0GCWQ=CCN"
        "M1@nmi#5#p;SSsUqQgnvVnS^J4xGwd^m#-j#*D811UB+?OB+2&J%2vsq4$-<D1~)-pX<pWpmd#iA2U?R^>H"
    ))  # fmt: skip


# What `scripts/fuzz.py` printed.
FOUND = [
    ("plain", b'{"a":[4],"b":[[]]}'),
    ("predict", b'{"instances":[{"a":1,"b":[]}]}'),
    ("infer", b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2' + b" " * 4096),
    ("infer", b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[[1,2' + b" " * 4096),
    ("infer-binary",
     b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]}\n'
     b"\x00\x00\x00\x007\x00\x80\xff\xff\x00\x00@\x00\x00@@"),
    ("invocations", b"text/csv\n\xef\r&u,1e"),
    ("payload", b"application/x-npy\n\x93NUMPY\x01\x00v\x00{'descr': '<U1', 'fortran_order': False, 'shape': (2,), }"
     + b" " * 60 + b"\nu\x00\x00\x00\xff\xff\xff\x00"),
    ("graphpipe",
     b"\x0c\x00\x00\x00\x08\x00\t\x00\x08\x00\x04\x00\x08\x00\x00\x00\x14\x00\x00\x00\x01\x00\x00\x00"
     b"\x0c\x00\x14\x00\x04\x00\x08\x00\x0c\x00\x10\x00\x0c\x00\x00\x00\x10\x00\x00\x00\x14\x00\x00\x00\x14\x00\x00\x00h\x00\x00\x00"
     b"\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00\x0c\x00\x11\x00\x10\x00\x04\x00\x08\x00\x0c\x00\x0c\x00"
     b"\x00\x00\x10\x00\x00\x00$\x00\x00\x004\x00\x00\x00\n\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00\x00\x00\x001\x00\x00"
     b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00"),
    ("parquet", b"application/vnd.apache.parquet\n" + parquet_of_no_text()),
    ("parquet", parquet_of_a_text_that_is_not_there()),
    ("payload", b"application/jsonlines\n[1,2\n]"),
    ("properties", b"load_models=all\nmodel_store=\x00"),
    ("registering", b"url=e://["),
    ("registering", b"url=e://[]"),
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
