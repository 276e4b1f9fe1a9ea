"""The dtype table agrees with numpy, ONNX and itself."""

from __future__ import annotations

import numpy as np
import pytest

from setsail.tensors import BY_NAME, BY_OIP, BY_ONNX, BY_TF, DTYPES, DType, dtype_of, widens


def test_every_name_of_every_dtype_is_its_own() -> None:
    for table in (BY_NAME, BY_OIP, BY_ONNX, BY_TF):
        assert len(table) == len(DTYPES)
    assert len({d.tf_number for d in DTYPES}) == len(DTYPES)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_onnx_has_the_same_numbers(dtype: DType) -> None:
    onnx = pytest.importorskip("onnx")
    assert onnx.helper.tensor_dtype_to_np_dtype(dtype.onnx) == dtype.numpy


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_numpy_and_back(dtype: DType) -> None:
    array = np.zeros(1, dtype.numpy)
    assert dtype_of(array) == dtype
    assert array.itemsize == dtype.size or dtype.kind == "string"


def test_what_we_have_no_dtype_for() -> None:
    for array in (np.zeros(1, complex), np.zeros(1, "datetime64[s]"), np.zeros(1, "i4,i4")):
        assert dtype_of(array) is None


@pytest.mark.parametrize("target", DTYPES, ids=str)
@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_widening_keeps_every_value(source: DType, target: DType) -> None:
    """Held against the extremes of the source, converted there and back."""
    if source == target:
        assert widens(source, target)
        return
    if "string" in (source.kind, target.kind) or "bool" in (source.kind, target.kind):
        assert not widens(source, target)
        return
    values = _extremes(source)
    with np.errstate(all="ignore"):
        there = values.astype(target.numpy)
        back = there.astype(source.numpy)
    kept = np.array_equal(back, values) and np.array_equal(np.signbit(there), np.signbit(values))
    if target.kind in ("int", "uint") and source.kind == "float":
        kept = False
    assert widens(source, target) is bool(kept)


def _extremes(dtype: DType) -> np.ndarray:
    if dtype.kind == "float":
        info = np.finfo(dtype.numpy)
        return np.array([info.min, info.tiny, 1 + info.eps, info.max], dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    return np.array([limits.min, limits.max // 3, limits.max - 1, limits.max], dtype.numpy)
