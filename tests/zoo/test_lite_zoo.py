"""The zoo's house of quantised `.tflite` files: written by TensorFlow's converter and packed where TensorFlow is
(`lite_house.py`), then served here, where it is not, and held bit by bit against the interpreter's answers there.
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
from setsail.packing.export import export

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).with_name("lite_house.py")

# Which program answers as the interpreter, and its batch where that is fixed.
PACKED: dict[str, list[Any]] = {
    "tflite-uint8-dense": ["onnx", None],
    "tflite-float32-dense": ["onnx", None],
    "tflite-int8-image": ["litert-tflite", None],
    "tflite-uint8-image": ["litert-tflite", None],
    "tflite-float32-image": ["litert-tflite", None],
    "tflite-int8-depthwise": ["litert-tflite", None],
    "tflite-uint8-depthwise": ["litert-tflite", None],
    "tflite-float32-depthwise": ["litert-tflite", None],
    "tflite-int8-one": ["litert-tflite", 1],
    "tflite-int16-image": ["litert-tflite", None],
    "tflite-range-image": ["onnx", None],
}
NATIVE = [name for name, (form, _) in PACKED.items() if form == "litert-tflite"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("lite")
    told = ask_client(
        tensorflow_python(), HOUSE.read_text(), str(folder), seconds=1700,  # alone it takes four minutes
        env={"SETSAIL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return folder, told.json()


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


def rows_and_truth(folder: Path, name: str) -> tuple[Any, dict[str, Any]]:
    with np.load(folder / f"{name}.npz") as found:
        return found["in_0"], {key.removeprefix("out_"): found[key] for key in found if key.startswith("out_")}


def test_where_onnx_rounds_otherwise_the_file_is_the_program(house: tuple[Path, dict[str, Any]]) -> None:
    assert house[1] == PACKED


@pytest.mark.parametrize("name", PACKED)
def test_served_as_trained(name: str, house: tuple[Path, dict[str, Any]], keeper: Keeper) -> None:
    rows, truth = rows_and_truth(house[0], name)
    keeper.check(name, Specimen(house[0] / f"{name}.setsail", rows, lambda _: truth))
    assert verify(house[0] / f"{name}.setsail").passed


@pytest.mark.parametrize("name", NATIVE)
def test_every_bit_is_the_interpreters(name: str, house: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    rows, truth = rows_and_truth(house[0], name)
    (expected,) = truth.values()
    with setsail.load(house[0] / f"{name}.setsail") as model:
        for part in (slice(0, None), slice(2, 3), slice(4, 9)):
            answer = np.asarray(model.predict(rows[part]))
            assert answer.dtype == expected.dtype
            np.testing.assert_array_equal(answer, expected[part])
    with artifact.read(house[0] / f"{name}.setsail") as opened:
        assert export(opened, "native", tmp_path / "out").report.passed
    assert (tmp_path / "out/model.tflite").read_bytes() == (house[0] / f"{name}.tflite").read_bytes()
