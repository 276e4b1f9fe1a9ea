"""What every tensor converter is held to: its program answers its probes as the source did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from setsail import runtime
from setsail.convert.conversion import Conversion
from setsail.parity import compare

Agrees = Callable[[Conversion], None]


@pytest.fixture
def agrees(tmp_path: Path) -> Agrees:
    """Run a conversion's program on its probes, in batches as a server would, and hold it against the source."""

    def check(conversion: Conversion) -> None:
        program, signature = conversion.programs[0], conversion.signature
        folder = tmp_path / "program"
        folder.mkdir(exist_ok=True)
        for name, data in program.files.items():
            (folder / name).write_bytes(data)
        session = onnxruntime.InferenceSession(str(folder / program.variant.entry))
        inner = conversion.processing.inner(signature)
        assert [i.name for i in session.get_inputs()] == [s.name for s in inner.inputs]
        runner = runtime.load(program.variant, program.files, signature, conversion.processing)
        assert conversion.probes
        for probe in conversion.probes:
            rows = len(next(iter(probe.outputs.values()))) if signature.batched else 1
            for batch in {program.variant.max_batch or 1, min(3, rows), rows} if signature.batched else {0}:
                if program.variant.max_batch:
                    batch = 1
                parts = [
                    runner.run({n: a[i : i + batch] for n, a in probe.inputs.items()})
                    for i in range(0, rows, batch)
                ] if batch else [runner.run(dict(probe.inputs))]  # fmt: skip
                ours = {
                    spec.name: np.concatenate([part[spec.name] for part in parts]) if batch else parts[0][spec.name]
                    for spec in signature.outputs
                }
                for spec in signature.outputs:
                    assert ours[spec.name].dtype == probe.outputs[spec.name].dtype == spec.dtype.numpy
                    assert ours[spec.name].shape == probe.outputs[spec.name].shape
                if signature.batched:
                    found = compare(signature, probe.outputs, ours, what=probe.what, batch=batch)
                    assert found.passed, found
                else:
                    for name, expected in probe.outputs.items():
                        np.testing.assert_allclose(ours[name], expected, rtol=1e-3, atol=1e-4)

    return check
