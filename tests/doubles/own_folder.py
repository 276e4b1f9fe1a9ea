"""A folder of one's own for each test, with the files it names in it; made once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import MAKERS, PLACES


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def given(_made: Path) -> Callable[..., None]:
    """`given("iris.ubj", "rows.csv")` puts these files into the current folder."""

    def put(*names: str) -> None:
        for name in names:
            if name in PLACES:
                PLACES[name](Path(name))
                continue
            if not (_made / name).exists():
                MAKERS[name](_made / name)
            shutil.copy(_made / name, name)

    return put
