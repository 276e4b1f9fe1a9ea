"""TensorFlow Lite files where TensorFlow is not: packed as they are, served, and every bit as the interpreter has it.

What TensorFlow's own converter writes, and the ONNX programs of it, are in tests/zoo/test_tensorflow_zoo.py.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import requests
from lite_models import convolution, interpreted, recurrent, together, twice, written

import setsail
from setsail import artifact
from setsail.convert.conversion import Intent
from setsail.convert.tensorflow.lite import convert
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack, verify
from setsail.packing.export import export
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.targets.browser.fitness import program
from setsail.targets.ray import extras

pytest.importorskip("ai_edge_litert", reason="needs LiteRT, which has no wheel for macOS on Intel")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed: files are translated first"
)
DRAW = np.random.default_rng(5)
ROWS = DRAW.integers(0, 256, (9, 6, 6, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lite")
    (folder / "picture.tflite").write_bytes(written(convolution("uint8")))
    return pack(folder / "picture.tflite", Intent(), PackOptions(output=folder / "picture.setsail")).path


def test_the_file_is_the_program(packed: Path) -> None:
    with artifact.read(packed) as opened:
        (variant,) = opened.variants
        assert (variant.id, variant.format, variant.entry) == ("litert", "litert-tflite", "model.tflite")
        assert variant.max_batch is None
        assert bytes(opened.files("litert")["model.tflite"]) == written(convolution("uint8"))
        assert [str(s) for s in (*opened.signature.inputs, *opened.signature.outputs)] == [
            "x:uint8[N,6,6,2]", "scores:uint8[N,3]",
        ]  # fmt: skip
        assert opened.notes[1] == "no ONNX program: tensorflow is not installed"
    assert verify(packed).passed


def test_it_is_served_bit_by_bit(packed: Path) -> None:
    truth = interpreted(written(convolution("uint8")), ROWS)
    with Server(Settings(port=0, admin_port=-1)).start() as server:
        server.open(packed)
        url = f"{server.url}/v1/models/picture:predict"
        for start, stop in ((0, 1), (0, 9), (3, 7)):
            answer = requests.post(url, json={"instances": ROWS[start:stop].tolist()}, timeout=30)
            assert answer.json() == {"predictions": truth[start:stop].tolist()}
    with setsail.load(packed) as model:
        np.testing.assert_array_equal(model.predict(ROWS), truth)


def test_of_a_fixed_batch_of_one_the_server_splits(tmp_path: Path) -> None:
    content = written(convolution(batch=1, depthwise=True))
    (tmp_path / "one.tflite").write_bytes(content)
    rows = DRAW.integers(-128, 128, (5, 6, 6, 2), dtype=np.int8)
    with pack(tmp_path / "one.tflite", Intent(), PackOptions(output=tmp_path / "one.setsail")) as made:
        assert [v.max_batch for v in made.variants] == [1]
    with setsail.load(tmp_path / "one.setsail") as model:
        np.testing.assert_array_equal(model.predict(rows), interpreted(content, rows))


def test_programs_are_offered_for_any_batch_and_then_for_one(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(written(convolution("float32")))
    made = convert(tmp_path / "model.tflite", Intent())
    assert [(p.variant.id, p.variant.max_batch) for p in made.programs] == [("litert", None), ("litert", 1)]
    rows = [len(probe.inputs["x"]) for probe in made.probes]
    assert rows == [4096, 64], "what is quantised is compared on many more rows"


def test_a_state_that_goes_on_is_no_difference_between_runs(tmp_path: Path) -> None:
    (tmp_path / "cell.tflite").write_bytes(written(recurrent()))
    made = convert(tmp_path / "cell.tflite", Intent())
    probe = made.probes[-1]
    np.testing.assert_array_equal(probe.outputs["scores"], interpreted(written(recurrent()), probe.inputs["x"]))


def test_the_export_is_the_file(packed: Path, tmp_path: Path) -> None:
    with artifact.read(packed) as opened:
        done = export(opened, "native", tmp_path / "out")
        assert done.report.passed
        assert (tmp_path / "out/model.tflite").read_bytes() == written(convolution("uint8"))
        with pytest.raises(SetsailError) as caught:
            export(opened, "onnx", tmp_path / "other")
        assert caught.value.code == "convert.unsupported"


def test_what_ships_it_knows_what_it_needs(packed: Path) -> None:
    with artifact.read(packed) as opened:
        assert extras(opened) == "[litert]"
        assert "litert (litert-tflite, float32), run by setsail[litert]" in str(opened)
        with pytest.raises(SetsailError, match="no ONNX program") as caught:
            program(opened)
        assert caught.value.code == "ship.unsupported"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    (folder / "two.tflite").write_bytes(written(together(double=twice(), picture=convolution("uint8"))))
    options = PackOptions(output=folder / "two.setsail")
    return pack(folder / "two.tflite", Intent(signature="picture"), options).path


def test_every_signature_of_a_file_is_carried(two: Path) -> None:
    assert verify(two).passed
    with artifact.read(two) as opened:
        assert set(opened.others) == {"double"}
        assert opened.aliases == {"picture": "serving_default"}
        assert opened.variants[0].settings["signature"] == "picture"
    rows = DRAW.normal(size=(5, 2)).astype(np.float32)
    with setsail.load(two) as model:
        np.testing.assert_array_equal(model.predict(ROWS), interpreted(written(convolution("uint8")), ROWS))
        np.testing.assert_array_equal(model.predict(rows, signature="double"), rows + rows)
        np.testing.assert_array_equal(model.predict(rows[:1], signature="double"), rows[:1] * 2)


def test_each_is_served_by_its_name(two: Path) -> None:
    with Server(Settings(port=0, admin_port=-1)).start() as server:
        server.open(two)
        url = f"{server.url}/v1/models/two:predict"
        answer = requests.post(url, json={"signature_name": "double", "instances": [[1.0, 2.5]]}, timeout=30)
        assert answer.json() == {"predictions": [[2.0, 5.0]]}


def test_several_signatures_and_none_is_the_default(two: Path) -> None:
    with pytest.raises(SetsailError, match="none is the default") as caught:
        convert(two.with_name("two.tflite"), Intent())
    assert caught.value.code == "convert.input"


def test_a_signature_with_a_memory_is_not_carried(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(written(together(serving_default=twice(), again=recurrent())))
    made = convert(tmp_path / "m.tflite", Intent())
    assert not made.others
    assert "signature 'again' is not carried" in made.notes[-1]
