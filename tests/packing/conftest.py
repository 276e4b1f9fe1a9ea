"""Small trained models, packed; a cache apart from the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from setsail import convert
from setsail.artifact import Artifact
from setsail.convert.conversion import Conversion, Intent
from setsail.packing import PackOptions, pack

X, Y = (part[:150] for part in load_diabetes(return_X_y=True))
Pack = Callable[..., Artifact]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def diabetes() -> tuple[np.ndarray, np.ndarray]:
    return X, Y


@pytest.fixture(scope="session")
def ridge() -> Ridge:
    return Ridge().fit(X, Y)


@pytest.fixture(scope="session")
def mixed() -> tuple[Any, dict[str, np.ndarray]]:
    """A pipeline over a number and a text, and its rows."""
    pandas = pytest.importorskip("pandas")
    cities = np.array(["Rome", "Oslo", "Bern"], dtype=object)[np.arange(len(X)) % 3]
    frame = pandas.DataFrame({"age": X[:, 0], "city": cities})
    prepare = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["city"]))
    return make_pipeline(prepare, Ridge()).fit(frame, Y), frame


@pytest.fixture
def packed(tmp_path: Path) -> Iterator[Pack]:
    """Pack into a folder of the test; artifacts are closed at its end."""
    made: list[Artifact] = []

    def run(model: Any, example: Any = None, *, file: str = "m.setsail", **options: Any) -> Artifact:
        made.append(pack(model, Intent(example=example), PackOptions(output=tmp_path / file, **options)))
        return made[-1]

    yield run
    for artifact in made:
        artifact.close()


@pytest.fixture
def converting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Conversion], Conversion]], None]:
    """Let a function change what every converter returns: a converter with a bug."""
    real = convert.convert

    def use(change: Callable[[Conversion], Conversion]) -> None:
        monkeypatch.setattr(convert, "convert", lambda *told: change(real(*told)))

    return use
