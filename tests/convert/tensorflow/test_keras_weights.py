"""A loaded model that makes variables when it is called has weights that were never read: drawn at random."""

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_keras


@pytest.fixture(autouse=True)
def weights() -> Iterator[Any]:
    with toy_keras.installed():
        yield sys.modules["setsail.convert.tensorflow.keras_weights"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"numbers")
    return tmp_path / "m.keras"


class Loaded:
    """A model whose call makes so many variables."""

    def __init__(self, made: int) -> None:
        self.variables, self.made, self.read = ["seed"], made, list[bytes]()

    def call(self) -> None:
        self.variables += ["kernel"] * self.made

    def load_weights(self, path: str) -> None:
        self.read.append(Path(path).read_bytes())


def test_a_model_that_was_built_when_it_was_loaded_is_left_alone(weights: Any, saved: Path) -> None:
    model = Loaded(0)
    weights.complete(model, saved, model.call)
    assert model.read == []


def test_what_the_call_makes_gets_its_weights(weights: Any, saved: Path) -> None:
    model = Loaded(2)
    weights.complete(model, saved, model.call)
    assert model.read == [b"numbers"]


def test_a_file_that_has_none_is_no_model(weights: Any, tmp_path: Path) -> None:
    model, path = Loaded(2), tmp_path / "m.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match="no weights before it is called"):
        weights.complete(model, path, model.call)


def test_vocabularies_cannot_be_read_again(weights: Any, saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("assets/lookup/vocabulary.txt", "red\n")
    with pytest.raises(ValueError, match="vocabularies"):
        weights.unbuilt(saved, {})
