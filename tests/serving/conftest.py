"""Verdicts of trial runs are kept for the whole run, and apart from the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from setsail.serving.house import House


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(_cache))


@pytest.fixture
def house() -> Iterator[House]:
    with House() as made:
        yield made
