"""The zoo's live Keras models of PyTorch, JAX and numpy: made, asked and packed where these are (`keras_house.py`),
then served here and held against what the live models answered there; and files that such models saved, likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_envs import ask_client
from keeper import Keeper, Specimen, keeping
from tensorflow_env import keras_python

from setsail import artifact

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).with_name("keras_house.py")

PACKED = {
    "torch": ("double", "file-h5", "file-keras", "file-subclassed", "image", "recurrent", "subclassed", "two-inputs"),
    "jax": ("double", "file-h5", "file-keras", "image", "subclassed", "two-inputs"),
    "numpy": ("table",),
}
# What is refused, the code, and a word of what is said.
REFUSED = {
    "text": ("convert.unsupported", "pack that file"),
    "in-the-script": ("convert.unsupported", "Here is defined in the script or notebook itself"),
    "unsaved": ("convert.unsupported", "get_config()"),
    "unbuilt": ("convert.example", "--input"),
    "elsewhere": ("convert.unsupported", "the child process cannot import made_up_layers"),
    "forgotten": ("parity.failed", "differs from its source"),
    "native": ("convert.unsupported", "keras.ops"),
}
ASKED = {"torch": tuple(REFUSED), "jax": ("text", "in-the-script", "native"), "numpy": ()}

House = dict[str, tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> House:
    """By backend. Each model starts a child process, which imports TensorFlow: alone they take five minutes in all."""
    made: House = {}
    for backend in PACKED:
        folder = tmp_path_factory.mktemp(backend)
        told = ask_client(
            keras_python(), HOUSE.read_text(), str(folder), str(HOUSE.parent), seconds=1700,
            env={"KERAS_BACKEND": backend, "SETSAIL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        made[backend] = folder, told.json()
    return made


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


@pytest.mark.parametrize("backend", PACKED)
def test_the_house_made_what_the_catalogue_says(backend: str, houses: House) -> None:
    assert tuple(houses[backend][1]["packed"]) == tuple(f"keras-{backend}-{name}" for name in PACKED[backend])


@pytest.mark.parametrize(("backend", "name"), [(backend, name) for backend in PACKED for name in PACKED[backend]])
def test_served_as_the_live_model_answers(backend: str, name: str, houses: House, keeper: Keeper) -> None:
    folder, full = houses[backend][0], f"keras-{backend}-{name}"
    with np.load(folder / f"{full}.npz") as found:
        with artifact.read(folder / f"{full}.setsail") as opened:
            rows = tuple(found[f"in_{spec.name}"] for spec in opened.signature.inputs)
        truth = {key.removeprefix("out_"): found[key] for key in found if key.startswith("out_")}
    asked = rows if len(rows) > 1 else rows[0]
    keeper.check(full, Specimen(folder / f"{full}.setsail", asked, lambda _: truth))


def test_an_artifact_says_whose_answers_it_was_held_against(houses: House) -> None:
    with artifact.read(houses["jax"][0] / "keras-jax-image.setsail") as opened:
        assert any("live model on the jax backend" in note for note in opened.notes)
        assert {"jax", "keras", "tf2onnx"} <= set(opened.versions)


@pytest.mark.parametrize(("backend", "name"), [(backend, name) for backend in ASKED for name in ASKED[backend]])
def test_what_cannot_be_had_is_refused_by_name(backend: str, name: str, houses: House) -> None:
    code, words = houses[backend][1]["refused"][name]
    assert code == REFUSED[name][0], words
    assert REFUSED[name][1] in words
