"""A model out of an artifact, in the forms that other tools read: each answers as the source, or is refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.packing import export

Pack = Callable[..., Artifact]


def test_the_exported_program_answers_as_the_source(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    import onnxruntime

    X = diabetes[0]
    exported = export(packed(ridge, X), "onnx", tmp_path / "out")
    written = exported.files
    assert exported.report.checks
    assert "stored rows" in str(exported)
    assert [p.name for p in written] == ["model.onnx", "signature.json"]
    session = onnxruntime.InferenceSession(str(written[0]))
    np.testing.assert_allclose(session.run(None, {"input": X})[0], ridge.predict(X), rtol=1e-12)
    told = json.loads(written[1].read_text(encoding="utf-8"))
    assert [i["name"] for i in told["inputs"]] == ["input"]
    assert told["steps"] == []
    assert told["program"] is None


def test_what_cannot_be_exported(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    made = packed(ridge, diabetes[0])
    for to, code in (("tflite", "setting.value"), ("native", "convert.unsupported")):
        with pytest.raises(SetsailError) as caught:
            export(made, to, tmp_path / "out")
        assert caught.value.code == code
        assert not (tmp_path / "out").exists()


def test_a_savedmodel_needs_tensorflow(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    """The others of its tests are where TensorFlow is: tests/zoo/test_savedmodel_zoo.py."""
    if importlib.util.find_spec("tensorflow") is not None:
        pytest.skip("TensorFlow is installed here")
    with pytest.raises(SetsailError, match="tensorflow is not installed") as caught:
        export(packed(ridge, diabetes[0]), "savedmodel", tmp_path / "out")
    assert caught.value.code == "dependency.missing"
    assert caught.value.facts["command"] == 'pip install "setsail[tensorflow]"'
    assert not (tmp_path / "out").exists()


def test_no_savedmodel_of_a_native_program_nor_without_rows(
    packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path
) -> None:
    xgboost = pytest.importorskip("xgboost")
    X, Y = diabetes
    booster = xgboost.train({"booster": "gblinear", "nthread": 1}, xgboost.DMatrix(X, Y), 3)
    bare = packed(ridge, X, file="bare.setsail", samples="none")
    for made, why in ((packed(booster), "no program that savedmodel could be made of"), (bare, "no stored samples")):
        with pytest.raises(SetsailError, match=why) as caught:
            export(made, "savedmodel", tmp_path / "out")
        assert caught.value.code == "convert.unsupported"


def test_nothing_is_written_over(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    made, folder = packed(ridge, diabetes[0]), tmp_path / "out"
    folder.mkdir()
    (folder / "signature.json").write_text("mine")
    with pytest.raises(SetsailError) as caught:
        export(made, "onnx", folder)
    assert caught.value.code == "artifact.exists"
    assert [p.name for p in folder.iterdir()] == ["signature.json"]


def test_a_native_variant_is_a_file_its_framework_reads(packed: Pack, diabetes: Any, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    X, Y = diabetes
    booster = xgboost.train({"booster": "gblinear", "nthread": 1}, xgboost.DMatrix(X, Y), 3)
    written = export(packed(booster), "native", tmp_path / "out").files
    back = xgboost.Booster(model_file=written[0])
    rows = xgboost.DMatrix(X)
    np.testing.assert_allclose(back.predict(rows), booster.predict(rows), rtol=1e-6)


def test_an_artifact_without_samples_is_loaded_and_says_so(
    packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path
) -> None:
    made = packed(ridge, diabetes[0], samples="none")
    exported = export(made, "mar", tmp_path / "out")
    assert exported.to_json()["compared"] is False
    assert "compared with nothing" in str(exported)
    with pytest.raises(SetsailError, match="no stored samples") as caught:
        export(made, "pt2", tmp_path / "torch")
    assert caught.value.code == "convert.unsupported"


def test_what_answers_otherwise_is_not_written(
    packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = packed(ridge, diabetes[0])
    real = Artifact.samples

    def moved(self: Artifact, what: str = "synthetic") -> Any:
        found = real(self, what)
        return found and (found[0], {name: array + 1 for name, array in found[1].items()})

    monkeypatch.setattr(Artifact, "samples", moved)
    for to in ("onnx", "mar"):
        with pytest.raises(SetsailError) as caught:
            export(made, to, tmp_path / "out")
        assert caught.value.code == "parity.failed"
        assert not (tmp_path / "out").exists()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.torch.jit.load. is:DeprecationWarning")
@pytest.mark.parametrize("to", ["torchscript", pytest.param("pt2", marks=pytest.mark.slow)])
def test_a_program_of_pytorch_answers_as_the_source(
    packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path, to: str
) -> None:
    torch = pytest.importorskip("torch")
    X = diabetes[0]
    written = export(packed(ridge, X), to, tmp_path / "out").files
    assert [p.name for p in written] == [{"pt2": "model.pt2", "torchscript": "model.pt"}[to], "signature.json"]
    load = {"pt2": lambda p: torch.export.load(p).module(), "torchscript": torch.jit.load}[to]
    (found,) = load(written[0])(torch.from_numpy(X[:5].copy()))
    np.testing.assert_allclose(found.numpy(), ridge.predict(X[:5]), rtol=1e-9)


@pytest.mark.torch
def test_what_pytorch_cannot_hold_is_refused_by_name(packed: Pack, mixed: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model, frame = mixed
    with pytest.raises(SetsailError, match="text has no tensors") as caught:
        export(packed(model, frame), "torchscript", tmp_path / "out")
    assert caught.value.code == "convert.unsupported"
