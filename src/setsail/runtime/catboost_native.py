"""CatBoost's own library as a runner: for categories and texts, which have no ONNX.

The variant's settings (written by `convert/catboost.py`): `form` (`binary`, `multi` or `value`), `asked` (CatBoost's
`prediction_type`) and, where it is not 0.5, `limit` (the probability above which a row is of the second class).

`import catboost` takes most of a second, of which its compiled part, with pandas and scipy that it imports itself, is
nearly all: nothing is won by going around the package. Plotting libraries are not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import catboost
import numpy as np

from setsail.errors import SetsailError
from setsail.runtime.native import NativeRunner, run_fault
from setsail.runtime.runner import Options
from setsail.signature import Signature
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["CatBoostRunner", "load"]


def load(
    variant: Variant, files: Mapping[str, bytes | memoryview], signature: Signature, options: Options
) -> CatBoostRunner:
    """Read the model. Raises `model.failed`."""
    try:
        model = catboost.CatBoost().load_model(blob=bytes(files[variant.entry]))
    except catboost.CatBoostError as fault:
        raise SetsailError(
            "model.failed", f"CatBoost cannot load variant {variant.id!r}", expected="a model of this CatBoost or older"
        ) from fault
    return CatBoostRunner(variant, signature, model, options.threads)


class CatBoostRunner(NativeRunner):
    """A CatBoost model."""

    def _rows(self, inputs: Mapping[str, Array]) -> Array:
        """The one table, or a table of objects: texts and numbers side by side."""
        specs = self.signature.inputs
        if len(specs) == 1 and len(specs[0].shape) == 2:
            return np.ascontiguousarray(inputs[specs[0].name])
        first = inputs[specs[0].name]
        table = np.empty((len(first), len(specs)), dtype=object)
        for index, spec in enumerate(specs):
            table[:, index] = inputs[spec.name]
        return table

    def _scores(self, booster: Any, rows: Array) -> Array:
        try:
            scores = np.asarray(
                booster.predict(rows, prediction_type=self._settings["asked"], thread_count=self._threads)
            )
        except (catboost.CatBoostError, TypeError) as fault:
            raise run_fault(fault) from fault
        return scores[:, 1] if self._settings["form"] == "binary" else scores
