"""CatBoost's reader is C++: a hostile file may end the child that reads it, and never this process."""

from __future__ import annotations

import os
from pathlib import Path

import catboost_files
import numpy as np
import pytest

from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack

catboost = pytest.importorskip("catboost", reason="needs CatBoost: pip install 'setsail[catboost]'")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    model = catboost.CatBoostRegressor(iterations=3, depth=2, verbose=0, allow_writing_files=False, thread_count=1)
    path = tmp_path_factory.mktemp("good") / "model.cbm"
    model.fit(rows, rows[:, 0]).save_model(path)
    return path.read_bytes()


FIRST = ("cut off", "table before the buffer", "a pickle inside")  # each costs a process; the others are slow tests
NAMES = [pytest.param(n, marks=() if n in FIRST else pytest.mark.slow) for n in catboost_files.ATTACKS]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_file(name: str, good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, make = catboost_files.ATTACKS[name]
    (tmp_path / "model.cbm").write_bytes(make(good))
    with pytest.raises(SetsailError) as caught:
        pack("model.cbm", Intent(), PackOptions(name="hostile"))
    assert caught.value.code == code, str(caught.value)
    assert os.listdir(tmp_path) == ["model.cbm"], "no artifact, and no canary"
