"""Running a program on probe rows, in a child process, and holding its answers against the source's.

Nothing of a candidate program touches this process's onnxruntime: it is gated here (pure reading) and run in a child
with limits, because a malformed model can crash the runtime that loads it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setsail import isolation, tensorfile
from setsail.artifact import admission
from setsail.convert.conversion import Probe
from setsail.parity import Check, ParityReport, compare
from setsail.runtime import trial as trials
from setsail.signature import Signature
from setsail.steps import Processing
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["Trial", "answered", "head", "run_trial"]

# Rows that go in at once, and how many rows that is worth: batch 1, an odd batch, everything at once (0).
_BATCHES: Final = ((1, 16), (7, 63), (0, 1 << 30))
_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried: a variant's bytes or slices of files, and the contract it must keep."""

    variant: Variant
    signature: Signature
    processing: Processing
    files: Mapping[str, bytes | memoryview]
    slices: Mapping[str, tuple[str, int, int]] | None = None


def run_trial(trial: Trial, rows: Sequence[Probe], tolerance: float) -> ParityReport:
    """Gate, run and compare. Returns a report that may have failed.

    Raises:
        SetsailError: a `program.*` code when the gate refuses or the child dies.
    """
    admission.admit(trial.variant, trial.files)
    with tempfile.TemporaryDirectory(prefix="setsail-trial-") as made:
        folder = Path(made)
        plan = _plan(trial, rows)
        checks = _run(trial, plan, folder, tolerance)
    return ParityReport(trial.variant.id, trial.variant.precision, tolerance, tuple(checks))


def _plan(trial: Trial, rows: Sequence[Probe]) -> list[tuple[Probe, int]]:
    """Which rows go in at which batch size; the rows are already cut to what that batch size is worth."""
    plan: list[tuple[Probe, int]] = []
    for probe in rows:
        first = next(iter(probe.outputs.values()))
        count = len(first) if first.ndim else 1
        batches = _BATCHES if trial.signature.batched else _BATCHES[-1:]
        if trial.variant.max_batch == 1:
            batches = ((1, 64),)
        for batch, worth in batches:
            if batch == 0 or count >= batch:
                keep = min(count, worth) if trial.signature.batched else None
                plan.append((_cut(probe, keep), batch))
    return plan


def _cut(probe: Probe, count: int | None) -> Probe:
    if count is None:
        return probe
    ins, outs = ({n: a[:count] for n, a in side.items()} for side in (probe.inputs, probe.outputs))
    return Probe(probe.what, ins, outs, probe.leaf_span)


def _run(trial: Trial, plan: Sequence[tuple[Probe, int]], folder: Path, tolerance: float) -> list[Check]:
    found = _answers(trial, [(probe.inputs, batch) for probe, batch in plan], folder)
    return [
        compare(trial.signature, probe.outputs, ours, what=probe.what, batch=batch, tolerance=tolerance,
                leaf_span=probe.leaf_span)
        for (probe, batch), ours in zip(plan, found, strict=True)
    ]  # fmt: skip


def answered(trial: Trial, rows: Mapping[str, Array]) -> dict[str, Array]:
    """What a program that passed its trial answers to these rows, again in a child process."""
    with tempfile.TemporaryDirectory(prefix="setsail-trial-") as made:
        return next(_answers(trial, [(rows, _AT_ONCE)], Path(made)))


def _answers(trial: Trial, plan: Sequence[tuple[Mapping[str, Array], int]], folder: Path) -> Iterator[dict[str, Array]]:
    """Run inputs, each with the rows that go in at once, in one child; the answers are read one by one."""
    slices: dict[str, tuple[str, int, int]] = dict(trial.slices or {})
    if trial.slices is None:
        for index, (name, data) in enumerate(trial.files.items()):
            path = folder / f"file{index}"
            path.write_bytes(data)
            slices[name] = (str(path), 0, len(data))
    batches = []
    for index, (inputs, batch) in enumerate(plan):
        (folder / f"in{index}").write_bytes(tensorfile.encode(inputs))
        batches.append({"inputs": f"in{index}", "outputs": f"out{index}", "rows": batch})
    arguments = trials.arguments(
        trial.variant, slices, trial.signature, trial.processing, tuple(batches), folder=folder
    )
    isolation.try_out(arguments, folder)
    for index in range(len(plan)):
        yield tensorfile.decode((folder / f"out{index}").read_bytes())


def head(arrays: Mapping[str, Array], count: int) -> dict[str, Array]:
    """The first rows of every array."""
    return {name: (array[:count] if array.ndim else array).copy() for name, array in arrays.items()}
