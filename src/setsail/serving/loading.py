"""From an opened artifact to a runner that was seen to answer as its source does.

Gate and trial come first: a program is inspected without running it, then run once in a child process. Both verdicts
are remembered by digest and versions (`artifact/verdict.py`), so the second start of an artifact on a machine does
neither; what is imported for them is imported only then.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import numpy as np

from setsail import parity, runtime
from setsail.artifact import Artifact, verdict
from setsail.errors import SetsailError
from setsail.runtime import Runner
from setsail.serving.leases import Facts, Loaded
from setsail.serving.samples import Sample, example, stored
from setsail.variants import Variant

__all__ = ["open_runner", "warm"]

_GATE: Final = "setsail.artifact.gate"
_TRYOUT: Final = "setsail.serving.tryout"


def open_runner(artifact: Artifact, *, threads: int = 1) -> Loaded:
    """Load the artifact's first variant that loads here.

    Raises:
        SetsailError: the only variant's own fault, or `model.failed` with every variant's reason.
    """
    sample = stored(artifact)
    faults: list[SetsailError] = []
    for variant in artifact.variants:
        try:
            runner = _open(artifact, variant, sample, threads)
        except SetsailError as fault:
            faults.append(fault)
            continue
        framework = f"{artifact.framework} {artifact.versions.get(artifact.framework, '')}".strip()
        facts = Facts(framework, example(artifact.signature, sample), variant.id, artifact.digest)
        return Loaded(runner, facts)
    if len(faults) == 1:
        raise faults[0]
    raise SetsailError(
        "model.failed", "no variant of the model can be loaded here", expected="one that loads",
        value="; ".join(str(f) for f in faults),
    ) from faults[-1]  # fmt: skip


def warm(artifact: Artifact, runner: Runner) -> None:
    """Run the stored sample, which also makes the first request fast, and hold the answers against the stored ones.

    Raises:
        SetsailError: `model.failed` when an answer differs by more than the parity rule allows.
    """
    sample = stored(artifact)
    if sample is None:
        return
    rows = len(next(iter(sample.inputs.values())))
    size = min(runner.max_batch or rows, rows) if runner.signature.batched else rows
    parts = [runner.run({n: a[i : i + size] for n, a in sample.inputs.items()}) for i in range(0, rows, size)]
    answers = {
        name: np.concatenate([p[name] for p in parts]) if len(parts) > 1 else parts[0][name] for name in parts[0]
    }
    check = parity.compare(
        artifact.signature, sample.outputs, answers, what=sample.what, tolerance=artifact.parity.tolerance
    )
    if not check.passed:
        raise SetsailError(
            "model.failed", f"the model does not answer as when it was packed: {check.failed} of {check.rows} stored "
            f"rows differ", field=check.worst_output, value=f"a difference of {check.worst:.3g}",
            expected="agreement by the parity rule",
        )  # fmt: skip


def _open(artifact: Artifact, variant: Variant, sample: Sample | None, threads: int) -> Runner:
    files = artifact.files(variant.id)
    key = verdict.key(variant, artifact.digests(variant.id))
    if not verdict.known(key):
        gate = import_module(_GATE)
        (gate.inspect if variant.format == "onnx" else gate.weigh)(files, variant.entry)
        import_module(_TRYOUT).survive(artifact, variant, sample)
        verdict.remember(key)
    return runtime.load(variant, files, artifact.signature, artifact.steps, threads=threads)
