"""The zoo's TensorFlow house: Keras models, SavedModels and TensorFlow Lite files, made and packed where TensorFlow is
(`tensorflow_house.py`), then loaded and served here, where it is not, and held against the answers they gave there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_envs import ask_client
from keeper import Keeper, Specimen, keeping
from tensorflow_env import tensorflow_python

import setsail
from setsail import artifact
from setsail.packing import verify

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).with_name("tensorflow_house.py")

PACKED = (
    "keras-any-size", "keras-attention", "keras-bucketed", "keras-by-name", "keras-double", "keras-encoded",
    "keras-file", "keras-file-lookups", "keras-gelu", "keras-h5", "keras-image", "keras-lambda", "keras-lookups",
    "keras-normalised", "keras-recurrent", "keras-subclassed", "keras-table", "keras-two-by-two", "saved-model",
    "saved-model-lookups", "saved-model-signature", "tflite", "tflite-int8",
)  # fmt: skip
# What is refused, the code, and a word of what is said.
REFUSED = {
    "text-vectors": ("convert.unsupported", "StringSplitV2"),
    "hashed": ("convert.unsupported", "StringToHashBucketFast"),
    "steps-of-time": ("parity.failed", "differs from its source"),
    "which-signature": ("convert.input", "--signature"),
    "still-sampling": ("convert.unsupported", "differs between two runs"),
    "lambda": ("source.trust", "--trust pickle"),
    "weights-alone": ("source.load", "holds no Keras model"),
    "unbuilt": ("convert.example", "--input"),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tensorflow")
    for name in ("b", "again"):
        (folder / name).mkdir()
    told = ask_client(
        tensorflow_python(), HOUSE.read_text(), str(folder), seconds=1700,  # alone it takes two minutes
        env={"SETSAIL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return folder, told.json()


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


def test_the_house_made_what_the_catalogue_says(house: tuple[Path, dict[str, Any]]) -> None:
    assert tuple(house[1]["packed"]) == PACKED


@pytest.mark.parametrize("name", PACKED)
def test_served_as_trained(name: str, house: tuple[Path, dict[str, Any]], keeper: Keeper) -> None:
    folder = house[0]
    with np.load(folder / f"{name}.npz") as found:
        rows = tuple(_text(found[key]) for key in sorted(found) if key.startswith("in_"))
        truth = {key.removeprefix("out_"): _text(found[key]) for key in found if key.startswith("out_")}
    asked = rows if len(rows) > 1 else rows[0]
    keeper.check(name, Specimen(folder / f"{name}.setsail", asked, lambda _: truth))


def test_every_signature_of_a_saved_model_is_there_by_its_name(house: tuple[Path, dict[str, Any]]) -> None:
    """One of them is the default; its own name means it too."""
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    with setsail.load(house[0] / "saved-model-signature.setsail") as model:
        assert sorted(model.signatures) == ["echo", "pair", "scaled", "serving_default"]
        np.testing.assert_allclose(model.predict({"x": rows})["y"], rows * 3, rtol=1e-6)
        np.testing.assert_allclose(model.predict({"x": rows}, "scaled")["total"], rows.sum(axis=1), rtol=1e-6)
        assert model.predict(["a", "ü"], "echo").tolist() == ["a", "ü"]
        np.testing.assert_allclose(
            model.predict({"p": rows[:, :2], "q": rows[:, 2:]}, "pair")["sum"], [[2, 4], [10, 12]]
        )
    with artifact.read(house[0] / "saved-model-signature.setsail") as opened:
        assert [n for n in opened.notes if "not carried" in n] == [
            "signature 'split' is not carried: rows 0 to 0 answer differently alone than beside other rows"
        ]
    assert verify(house[0] / "saved-model-signature.setsail").passed


def test_what_keras_exports_under_two_names_is_there_once(house: tuple[Path, dict[str, Any]]) -> None:
    with artifact.read(house[0] / "saved-model.setsail") as opened:
        assert (dict(opened.others), opened.aliases) == ({}, {"serve": "serving_default"})


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_had_is_refused_by_name(name: str, house: tuple[Path, dict[str, Any]]) -> None:
    code, words = house[1]["refused"][name]
    assert code == REFUSED[name][0], words
    assert REFUSED[name][1] in words


def _text(array: Any) -> Any:
    return array.astype(object) if array.dtype.kind == "U" else array
