"""The technical record: what is in it, that it is the same each time, and how it differs from here."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from setsail.artifact import Artifact
from setsail.packing import environment
from setsail.packing.environment import compared, normal, record

Pack = Callable[..., Artifact]
CPU = "processor\t: 0\nflags\t\t: fpu sse4_2 avx avx2 fma somethingnew\n\nprocessor\t: 1\nflags\t\t: avx512f\n"


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Another processor, as Linux tells it."""
    real = Path.read_text

    def use(text: str) -> None:
        def read(self: Path, *args: Any, **options: Any) -> str:
            return text if str(self) == "/proc/cpuinfo" else real(self, *args, **options)

        monkeypatch.setattr(Path, "read_text", read)

    return use


def test_what_took_part_is_recorded_with_all_it_requires() -> None:
    found = record({"scikit-learn": metadata.version("scikit-learn"), "not-installed": "1.2"})
    packages = found["packages"]
    for name in ("numpy", "onnxruntime", "safetensors", "scikit-learn", "scipy", "threadpoolctl"):
        assert packages[name] == metadata.version(name)
    assert packages["not-installed"] == "1.2"
    assert "pytest" not in packages  # required by extras only
    assert list(packages) == sorted(packages)
    assert list(found) == ["setsail", "python", "system", "machine", "libc", "cpu", "packages"]


def test_a_module_is_recorded_as_the_package_it_comes_from() -> None:
    pytest.importorskip("xgboost")
    names = [name for name in ("xgboost", "xgboost-cpu") if name in record({"xgboost": "0"})["packages"]]
    assert [metadata.version(name) for name in names] == [metadata.version(names[0])]
    assert names[0] in {normal(d.metadata["Name"]) for d in metadata.distributions()}


def test_features_of_the_processor_are_those_that_count(cpu: Callable[[str], None]) -> None:
    cpu(CPU)
    assert record({})["cpu"] == ["sse4_2", "avx", "avx2", "fma"]
    cpu("Features\t: fp asimd asimddp sve\n")
    assert record({})["cpu"] == ["asimd", "asimddp", "sve"]
    cpu("nothing of it")
    assert record({})["cpu"] == []


def test_packing_twice_gives_the_same_record_without_paths_and_clock(packed: Pack, ridge: Ridge, diabetes: Any) -> None:
    members = [bytes(packed(ridge, diabetes[0], file=f"{i}.setsail").member("environment.json") or b"") for i in "ab"]
    assert members[0] == members[1]
    told = json.loads(members[0])
    assert told["packages"]["scikit-learn"] == metadata.version("scikit-learn")
    assert "/" not in members[0].decode()


def test_nothing_differs_where_it_was_packed() -> None:
    found = compared(record({"numpy": np.__version__}))
    assert (found.differences, found.same) == ((), len(found.packages))
    assert f"{found.same} of {found.same} packages are as they were" in str(found)


def test_what_differs_is_told(cpu: Callable[[str], None]) -> None:
    cpu(CPU)
    told = record({"scikit-learn": "1"})
    told["packages"] |= {"numpy": "1.0.0", "gone": "2.0"}
    del told["packages"]["joblib"]
    told |= {"python": "3.9.1", "cpu": ["avx2", "avx512f"]}
    found = compared(told)
    assert {(d.name, d.recorded, d.here) for d in found.differences} == {
        ("python", "3.9.1", record({})["python"]), ("cpu avx512f", "avx512f", None), ("cpu sse4_2", None, "sse4_2"),
        ("cpu avx", None, "avx"), ("cpu fma", None, "fma"), ("numpy", "1.0.0", np.__version__), ("gone", "2.0", None),
        ("joblib", None, metadata.version("joblib")),
    }  # fmt: skip
    lines = str(found).splitlines()
    assert lines[0] == f"{found.same} of {len(found.packages)} packages are as they were"
    assert f"  {'numpy':<20} 1.0.0  is {np.__version__} here" in lines
    assert f"  {'cpu avx512f':<20} avx512f  is missing here" in lines
    assert f"  {'gone':<20} 2.0  is missing here" in lines


def test_an_older_record_says_less() -> None:
    older = {"setsail": "0.0.9", "python": record({})["python"], "packages": {"numpy": np.__version__}}
    found = compared(older)
    assert [d.name for d in found.differences] == ["setsail"]
    assert "recorded less" in str(found)
    assert str(compared({})) == "no environment was recorded"


def test_a_strangers_record_is_no_way_to_a_terminal_or_an_index() -> None:
    found = compared({
        "python": "\x1b[2J", "cpu": ["avx2; rm", 5, "x" * 500], "machine": 7,
        "packages": {"../etc": "1", "a b": "1", "ok": "1\n2", "numpy": 3, "fine": "1.0"},
    })  # fmt: skip
    assert dict(found.packages) == {"fine": "1.0"}
    assert "\x1b" not in str(found)
    assert environment.parsed(None) == {}
    assert environment.parsed(b"[1]") == {}
