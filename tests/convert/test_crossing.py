"""An example arrives in the child as what it was."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from setsail.convert import crossing
from setsail.errors import SetsailError


def crossed(value: Any, folder: Path) -> Any:
    return crossing.load(json.loads(json.dumps(crossing.save(value, folder))), folder)


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=np.float32).reshape(3, 2), np.array([True, False]), np.array(["a", "ä\0b"]),
     np.array(["a", "b"], dtype=object), np.array([["a", 1.5], [None, 2]], dtype=object), np.zeros((0, 3)),
     np.asfortranarray(np.arange(6.0).reshape(2, 3))],
)  # fmt: skip
def test_arrays(tmp_path: Path, array: Any) -> None:
    got = crossed(array, tmp_path)
    assert got.shape == array.shape
    assert got.tolist() == array.tolist()
    assert got.dtype == (object if array.dtype.kind == "U" else array.dtype)


def test_a_frame_keeps_its_dtypes_and_what_is_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "f": np.array([1.5, np.nan], dtype=np.float32), "i": [1, 2], "s": ["a", None], "b": [True, False],
        "o": pd.Series(["x", np.nan], dtype=object), "c": pd.Categorical(["l", None], categories=["m", "l"]), 7: [0, 1],
    })  # fmt: skip
    got = crossed(frame, tmp_path)
    pd.testing.assert_frame_equal(got, frame.astype({"o": object}))
    pd.testing.assert_series_equal(crossed(frame["s"], tmp_path), frame["s"])


def test_arrangements(tmp_path: Path) -> None:
    value = ({"a": np.arange(2), "b": [1, 2.5, None, "x"]}, [np.zeros(2)], None)
    got = crossed(value, tmp_path)
    assert isinstance(got, tuple)
    assert got[0]["a"].tolist() == [0, 1]
    assert got[0]["b"] == [1, 2.5, None, "x"]
    assert got[1][0].tolist() == [0, 0]
    assert got[2] is None


@pytest.mark.torch
def test_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    got = crossed((torch.ones(2, 3, requires_grad=True), torch.tensor([1])), tmp_path)
    assert torch.equal(got[0], torch.ones(2, 3))
    assert got[1].dtype == torch.int64


@pytest.mark.parametrize(
    "value", [object(), np.array([1 + 2j]), np.array([object()], dtype=object), {"a": np.datetime64("2020-01-01")}]
)
def test_what_cannot_cross_is_refused_before_a_child_is_started(tmp_path: Path, value: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        crossing.save(value, tmp_path)
    assert caught.value.code == "convert.input"
