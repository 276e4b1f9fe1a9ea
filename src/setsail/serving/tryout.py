"""A program's first run on this machine, in a child process: it may crash there.

Imported only when an artifact has no verdict yet (`artifact/verdict.py`), so that a known one starts without any of
what child processes need.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from setsail import isolation, tensorfile
from setsail.artifact import Artifact
from setsail.runtime import trial
from setsail.serving.samples import Sample
from setsail.variants import Variant

__all__ = ["survive"]


def survive(artifact: Artifact, variant: Variant, sample: Sample | None) -> None:
    """Load the variant and run the sample in a child. Raises `program.trial`, or `dependency.missing`."""
    with tempfile.TemporaryDirectory(prefix="setsail-tryout-") as made:
        folder = Path(made)
        batches = []
        if sample is not None:
            (folder / "in").write_bytes(tensorfile.encode(sample.inputs))
            batches.append({"inputs": "in", "outputs": "out", "rows": 0})
        arguments = trial.arguments(
            variant,
            artifact.slices(variant.id),
            artifact.signature,
            artifact.processing,
            tuple(batches),
            folder=folder,
        )
        isolation.try_out(arguments, folder)
