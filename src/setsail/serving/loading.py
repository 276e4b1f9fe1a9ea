"""From an opened artifact to a runner that was seen to answer as its source does.

Gate and trial come first: a program is inspected without running it, then run once in a child process. Both verdicts
are remembered by digest and versions (`artifact/verdict.py`), so the second start of an artifact on a machine does
neither; what is imported for them is imported only then.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Final

import numpy as np
from msgspec.structs import replace

from setsail import parity, runtime
from setsail.artifact import Artifact, verdict
from setsail.errors import SetsailError
from setsail.runtime import Runner
from setsail.serving.ladder import climb, drawn
from setsail.serving.leases import Facts, Loaded
from setsail.serving.samples import Sample, example, stored
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["open_runner", "warm"]

_LOG = logging.getLogger("setsail.serving")
_GATE: Final = "setsail.artifact.gate"
_TRYOUT: Final = "setsail.serving.tryout"


def open_runner(artifact: Artifact, *, threads: int = 1, share: bool = True) -> Loaded:
    """Load the artifact's first variant that loads here.

    Args:
        threads: of one run.
        share: keep large weights on disk as the runtime needs them, so that processes share them.

    Raises:
        SetsailError: the only variant's own fault, or `model.failed` with every variant's reason.
    """
    sample = stored(artifact)
    faults: list[SetsailError] = []
    for variant in artifact.variants:
        try:
            runner = _open(artifact, variant, sample, threads, share)
        except SetsailError as fault:
            faults.append(fault)
            continue
        framework = f"{artifact.framework} {artifact.versions.get(artifact.framework, '')}".strip()
        shown = example(artifact.signature, sample)
        return Loaded(runner, Facts(framework, shown, variant.id, artifact.digest, weights=_where(runner)))
    if len(faults) == 1:
        raise faults[0]
    raise SetsailError(
        "model.failed", "no variant of the model can be loaded here", expected="one that loads",
        value="; ".join(str(f) for f in faults),
    ) from faults[-1]  # fmt: skip


def warm(artifact: Artifact, loaded: Loaded, *, threads: int = 1) -> None:
    """Run the stored sample, hold the answers against the stored ones, and learn what batches cost.

    `loaded` is changed: its facts tell what was learned. When weights that processes share give wrong answers, they are
    removed and the runner is replaced by one with weights of its own.

    Raises:
        SetsailError: `model.failed` when an answer differs by more than the parity rule allows.
    """
    sample = stored(artifact)
    answers = None
    if sample is not None:
        try:
            answers = _checked(artifact, loaded.runner, sample)
        except SetsailError as fault:
            path = loaded.runner.weights.path
            if not path:
                raise
            _LOG.warning("the shared weights in %s are wrong and are removed: %s", path, fault)
            runtime.discard(loaded.runner.weights)
            loaded.runner.close()
            (variant,) = (v for v in artifact.variants if v.id == loaded.facts.variant)
            loaded.runner = _open(artifact, variant, sample, threads, share=False)
            answers = _checked(artifact, loaded.runner, sample)
    usable = sample is not None and _rows(sample.inputs) > 0
    rows = sample.inputs if sample is not None and usable else drawn(artifact.signature)
    learned = climb(loaded.runner, rows, answers if usable else None, tolerance=artifact.parity.tolerance)
    with suppress(SetsailError):  # drawn rows may be nothing that the model takes
        loaded.runner.rest({n: a[:1] for n, a in rows.items()} if loaded.runner.signature.batched else rows)
    loaded.facts = replace(
        loaded.facts, ladder=learned.seconds, invariant=learned.invariant, weights=_where(loaded.runner)
    )


def _checked(artifact: Artifact, runner: Runner, sample: Sample) -> dict[str, Array]:
    """The runner's answers to the sample. Raises `model.failed` where they are not the stored ones."""
    rows = _rows(sample.inputs)
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
    return answers


def _rows(arrays: Mapping[str, Array]) -> int:
    return len(next(iter(arrays.values())))


def _where(runner: Runner) -> str:
    weights = runner.weights
    return weights.path or (f"not shared: {weights.note}" if weights.note else "")


def _open(artifact: Artifact, variant: Variant, sample: Sample | None, threads: int, share: bool) -> Runner:
    files = artifact.files(variant.id)
    key = verdict.key(variant, artifact.digests(variant.id))
    if not verdict.known(key):
        gate = import_module(_GATE)
        (gate.inspect if variant.format == "onnx" else gate.weigh)(files, variant.entry)
        import_module(_TRYOUT).survive(artifact, variant, sample)
        verdict.remember(key)
    options = runtime.Options(threads, key if share else "")
    return runtime.load(variant, files, artifact.signature, artifact.steps, options)
