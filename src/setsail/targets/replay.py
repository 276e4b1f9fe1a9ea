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
    """A check of all rows of every signature; none where the artifact keeps no samples."""
    kept = {name: (one, sample) for name, one in opened.signatures.items() if (sample := stored(one)) is not None}
    if not kept:
        return ()
    with Model(opened) as model:
        return tuple(
            compare(one.signature, sample.outputs, model.predict(sample.inputs, name), what=sample.what,
                    tolerance=one.parity.tolerance)
            for name, (one, sample) in kept.items()
        )  # fmt: skip
