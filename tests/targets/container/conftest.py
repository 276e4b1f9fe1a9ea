"""A cache of one's own, a tiny base, and packages that come from nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_base import elf_file, root_tar, tiny_wheel
from sklearn.linear_model import LinearRegression

import setsail
from setsail import artifact, targets
from setsail.targets.container import planning, runtime, wheels
from setsail.targets.container.base import Facts

X = np.arange(40.0).reshape(20, 2) % 7


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Path]:
    """Two versions of a model."""
    folder, made = tmp_path_factory.mktemp("packed"), {}
    for version in (1, 2):
        made[version] = folder / f"line-{version}.setsail"
        model = LinearRegression().fit(X, X @ [2.0, -1.0] + version)
        setsail.pack(model, X, name="Line", version=version, output=made[version]).close()
    return made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return root_tar(tmp_path / "base.tar")


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pip was asked for: here each package is one module. Nothing is compiled, and nothing is run."""
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))
    asked: list[list[str]] = []
    path = tiny_wheel(tmp_path, "setsail", "0.1.0", {"setsail/server/run.py": b"", "setsail/__init__.py": b""})
    own = wheels.Wheel("setsail", "0.1.0", path, hashlib.sha256(path.read_bytes()).hexdigest(), "Apache-2.0")

    def download(requirements: Sequence[str], folder: Path, facts: Facts) -> None:
        asked.append(list(requirements))
        for requirement in requirements:
            name, _, version = requirement.partition("==")
            carried = {"xgboost_cpu.libs/libgomp-0a1b.so.1.0.0": elf_file()} if name == "xgboost-cpu" else None
            tiny_wheel(folder, name.replace("-", "_"), version, carried)

    monkeypatch.setattr(wheels, "_download", download)
    monkeypatch.setattr(planning, "own_wheel", lambda: own)
    for module in (runtime, planning):
        monkeypatch.setattr(module, "compiler", lambda base: None)
    monkeypatch.setattr(planning, "hindrance", lambda image: "its base is none")
    return asked


@pytest.fixture
def ship(packed: Mapping[int, Path], base: Path, fetched: object) -> Callable[..., targets.Shipment]:
    """`ship(folder, version=1, **options)`."""

    def shipped(folder: Path, version: int = 1, **options: Any) -> targets.Shipment:
        with artifact.read(packed[version]) as opened:
            return targets.ship(opened, "container", folder, {"base": str(base), **options})

    return shipped
