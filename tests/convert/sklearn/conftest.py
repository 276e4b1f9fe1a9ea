"""What the tests of estimators share: convert, run the program, hold it against the source."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.sklearn.model import convert
from setsail.runtime.steps import prepare


def run(conversion: Conversion, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The program's outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(conversion.programs[0].files["model.onnx"], options)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, prepare(conversion.processing.steps, {})(inputs)), strict=True))


@pytest.fixture
def agrees() -> Callable[..., Conversion]:
    """`agrees(model, example)`: on every probe the program's answers are the source's, to 1e-9."""

    def check(model: Any, example: Any = None, *, rtol: float = 1e-9, atol: float = 1e-11) -> Conversion:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*pkg_resources.*")
            conversion = convert(model, Intent(example=example))
        assert conversion.probes
        for probe in conversion.probes:
            got = run(conversion, probe.inputs)
            assert list(got) == [s.name for s in conversion.signature.outputs]
            for spec in conversion.signature.outputs:
                expected = probe.outputs[spec.name]
                assert got[spec.name].shape == expected.shape
                assert got[spec.name].dtype == (spec.dtype.numpy)
                if spec.dtype.kind == "float":
                    np.testing.assert_allclose(got[spec.name], expected, rtol=rtol, atol=atol, err_msg=probe.what)
                else:
                    np.testing.assert_array_equal(got[spec.name], expected, err_msg=probe.what)
        return conversion

    return check
