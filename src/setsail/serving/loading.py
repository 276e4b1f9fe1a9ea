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
from setsail.serving.ladder import Ladder, climb, drawn
from setsail.serving.leases import Facts, Loaded, Other
from setsail.serving.samples import Sample, example, stored
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["open_runner", "warm"]

_LOG = logging.getLogger("setsail.serving")
_GATE: Final = "setsail.artifact.admission"
_TRYOUT: Final = "setsail.serving.tryout"


def open_runner(artifact: Artifact, *, threads: int = 1, share: bool = True) -> Loaded:
    """Load, for every signature of the artifact, its first variant that loads here.

    Args:
        threads: of one run.
        share: keep large weights on disk as the runtime needs them, so that processes share them.

    Raises:
        SetsailError: the only variant's own fault, or `model.failed` with every variant's reason.
    """
    loaded = Loaded(*_opened(artifact, threads, share))
    try:
        for name, other in artifact.others.items():
            loaded.others[name] = Other(*_opened(other, threads, share), loaded, name)
        loaded.others |= {name: loaded.others.get(meant, loaded) for name, meant in artifact.aliases.items()}
    except BaseException:
        loaded.close()
        raise
    return loaded


def _opened(artifact: Artifact, threads: int, share: bool) -> tuple[Runner, Facts]:
    """The runner of one signature. Raises as `open_runner` does."""
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
        return runner, Facts(framework, shown, variant.id, artifact.digest, weights=_where(runner),
                             apart=artifact.processing.unbounded, about=artifact.facts())  # fmt: skip
    if len(faults) == 1:
        raise faults[0]
    raise SetsailError(
        "model.failed", "no variant of the model can be loaded here", expected="one that loads",
        value="; ".join(str(f) for f in faults),
    ) from faults[-1]  # fmt: skip


def warm(artifact: Artifact, loaded: Loaded, *, threads: int = 1) -> None:
    """Run every signature's stored sample, hold the answers against the stored ones, and learn what batches cost.

    `loaded` is changed: its facts tell what was learned. When weights that processes share give wrong answers, they are
    removed and the runner is replaced by one with weights of its own.

    Raises:
        SetsailError: `model.failed` when an answer differs by more than the parity rule allows.
    """
    _warm(artifact, loaded, threads)
    for name, other in artifact.others.items():
        _warm(other, loaded.others[name], threads)


def _warm(artifact: Artifact, loaded: Loaded, threads: int) -> None:
    sample = stored(artifact)
    rows = drawn(artifact.signature) if sample is None else sample.inputs
    one = {name: array[:1].copy() for name, array in rows.items()} if artifact.signature.batched else rows
    try:
        learned = _tried(artifact, loaded.runner, sample, rows, one)
    except SetsailError as fault:
        shared = loaded.runner.weights
        if not shared.path:
            raise
        _LOG.warning("the shared weights in %s are wrong and are removed: %s", shared.path, fault)
        runtime.discard(shared)
        loaded.runner.close()
        (variant,) = (v for v in artifact.variants if v.id == loaded.facts.variant)
        loaded.runner = _open(artifact, variant, sample, threads, share=False)
        learned = _tried(artifact, loaded.runner, sample, rows, one)
    del sample, rows  # what a resting runner gives back is what nobody holds
    _rest(loaded.runner, one)
    loaded.facts = replace(
        loaded.facts, ladder=learned.seconds, invariant=learned.invariant, weights=_where(loaded.runner)
    )


def _tried(
    artifact: Artifact, runner: Runner, sample: Sample | None, rows: Mapping[str, Array], one: Mapping[str, Array]
) -> Ladder:
    """What is learned from the runner, if its answers to the sample are right."""
    _rest(runner, one)  # the first region of onnxruntime's arena is never given back: let one row make it, not many
    answers = None if sample is None else _checked(artifact, runner, sample)
    return climb(runner, rows, answers, tolerance=artifact.parity.tolerance)


def _rest(runner: Runner, one: Mapping[str, Array]) -> None:
    with suppress(SetsailError):  # drawn rows may be nothing that the model takes
        runner.rest(one)


def _checked(artifact: Artifact, runner: Runner, sample: Sample) -> dict[str, Array]:
    """The runner's answers to the sample. Raises `model.failed` where they are not the stored ones."""
    inputs = sample.inputs
    total = len(next(iter(inputs.values()))) if runner.signature.batched else 1
    size = runner.max_batch or total
    if not runner.signature.batched or size >= total:
        answers = runner.run(inputs)
    else:
        parts = [runner.run({n: a[i : i + size] for n, a in inputs.items()}) for i in range(0, total, size)]
        answers = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    check = parity.compare(
        artifact.signature, sample.outputs, answers, what=sample.what, tolerance=artifact.parity.tolerance
    )
    if not check.passed:
        raise SetsailError(
            "model.failed", f"the model does not answer as when it was packed: {check.failed} of {check.rows} stored "
            f"rows differ: {check.gap}", field=check.where,
            expected="agreement by the parity rule",
        )  # fmt: skip
    return answers


def _where(runner: Runner) -> str:
    weights = runner.weights
    return weights.path or (f"not shared: {weights.note}" if weights.note else "")


def _open(artifact: Artifact, variant: Variant, sample: Sample | None, threads: int, share: bool) -> Runner:
    files = artifact.files(variant.id)
    key = verdict.key(variant, artifact.digests(variant.id))
    if not verdict.known(key):
        import_module(_GATE).admit(variant, files)
        import_module(_TRYOUT).survive(artifact, variant, sample)
        verdict.remember(key)
    options = runtime.Options(threads, key if share else "")
    return runtime.load(variant, files, artifact.signature, artifact.processing, options)
