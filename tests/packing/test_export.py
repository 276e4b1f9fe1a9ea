"""The plain program out of an artifact, for tools that want one file."""

from __future__ import annotations

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
    written = export(packed(ridge, X), "onnx", tmp_path / "out")
    assert [p.name for p in written] == ["model.onnx", "signature.json"]
    session = onnxruntime.InferenceSession(str(written[0]))
    np.testing.assert_allclose(session.run(None, {"input": X})[0], ridge.predict(X), rtol=1e-12)
    told = json.loads(written[1].read_text(encoding="utf-8"))
    assert [i["name"] for i in told["inputs"]] == ["input"]
    assert told["steps"] == []
    assert told["program"] is None


def test_what_cannot_be_exported(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    made = packed(ridge, diabetes[0])
    for to, code in (("tflite", "setting.value"), ("xgboost", "convert.unsupported")):
        with pytest.raises(SetsailError) as caught:
            export(made, to, tmp_path / "out")
        assert caught.value.code == code
        assert not (tmp_path / "out").exists()


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
    written = export(packed(booster), "xgboost", tmp_path / "out")
    back = xgboost.Booster(model_file=written[0])
    rows = xgboost.DMatrix(X)
    np.testing.assert_allclose(back.predict(rows), booster.predict(rows), rtol=1e-6)
