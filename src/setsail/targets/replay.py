"""The stored samples, answered here through the path that every wire takes, against the source's own answers.

For targets that cannot be started where they are written: what they run is `serving/predict.py` too.
"""

from __future__ import annotations

from setsail.artifact import Artifact
from setsail.parity import Check, compare
from setsail.serving.model import Model
from setsail.serving.samples import stored

__all__ = ["replay"]


def replay(opened: Artifact) -> tuple[Check, ...]:
    """One check of all rows; none where the artifact keeps no samples."""
    sample = stored(opened)
    if sample is None:
        return ()
    with Model(opened) as model:
        got = model.predict(sample.inputs)
    return (compare(opened.signature, sample.outputs, got, what=sample.what, tolerance=opened.parity.tolerance),)
