"""Holding every program of a converted booster against its source, in batches as a server would run them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from setsail import runtime
from setsail.convert.conversion import Conversion, Program
from setsail.parity import compare
from setsail.tensors import Array

CANCER = load_breast_cancer(return_X_y=True)
IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)


def run(
    conversion: Conversion, program: Program, rows: Array | Mapping[str, Array], batch: int = 0
) -> dict[str, Array]:  # fmt: skip
    """A program's outputs by name, asked for in batches of `batch` rows (0: all at once). Rows: a table, or columns."""
    runner = runtime.load(program.variant, program.files, conversion.signature, conversion.processing)
    inputs = rows if isinstance(rows, Mapping) else {"input": rows}
    count = len(next(iter(inputs.values())))
    size = batch or count
    parts = [runner.run({n: a[i : i + size] for n, a in inputs.items()}) for i in range(0, count, size)]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def agree(conversion: Conversion, *, rtol: float = 2e-6, programs: Mapping[str, bool] | None = None) -> None:
    """Every program, on every probe, in batches of 1, 7 and all: labels equal, scores within `rtol`.

    Boundary rows get no allowance here: what is written is meant to be exact.
    """
    for program in conversion.programs:
        for probe in conversion.probes:
            for batch in (1, 7, 0):
                kept = 30 if batch == 1 else None
                ours = run(conversion, program, {n: a[:kept] for n, a in probe.inputs.items()}, batch)
                source = {name: array[:kept] for name, array in probe.outputs.items()}
                close(conversion, source, ours, f"{program.variant.id}, {probe.what}, batch {batch}", rtol)


def close(
    conversion: Conversion, source: Mapping[str, Array], ours: Mapping[str, Array], where: str, rtol: float
) -> None:
    assert list(source) == [s.name for s in conversion.signature.outputs], where
    assert compare(conversion.signature, source, ours, what="example").passed, where
    for name, expected in source.items():
        assert ours[name].dtype == expected.dtype, (where, name)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(ours[name], expected, rtol=rtol, atol=rtol, err_msg=f"{where}: {name}")
        else:
            np.testing.assert_array_equal(ours[name], expected, err_msg=f"{where}: {name}")
