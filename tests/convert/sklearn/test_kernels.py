"""A catalogue of kernel ridge regressions: each is fitted, emitted and held against its source."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn_agreement import DIABETES, IRIS, agree, catalogue

from setsail.convert.graph import Graph
from setsail.convert.sklearn.emit import Value, emit
from setsail.errors import SetsailError

PAIR = (DIABETES[0], np.stack([DIABETES[1], DIABETES[1] ** 0.5], axis=1))

REGRESSORS = [
    (KernelRidge(), DIABETES),
    (KernelRidge(kernel="rbf"), IRIS),
    (KernelRidge(kernel="rbf", gamma=3.0), PAIR),
    (KernelRidge(kernel="polynomial", degree=2), IRIS),
    (KernelRidge(kernel="sigmoid"), DIABETES),
    (KernelRidge(kernel="precomputed"), (IRIS[0] @ IRIS[0].T, IRIS[1])),
]


@pytest.mark.parametrize(("estimator", "data"), catalogue(REGRESSORS))
def test_regressors(estimator, data):
    agree(estimator.fit(*data), data[0], rtol=1e-7, atol=1e-8, expect=("prediction",))


def test_other_kernels_are_refused():
    with pytest.raises(SetsailError) as caught:
        emit(Graph(), KernelRidge(kernel="laplacian").fit(*IRIS), Value("x", "float64", 4))
    assert caught.value.code == "convert.unsupported"
    assert "laplacian" in str(caught.value)
