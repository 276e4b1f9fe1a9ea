"""XGBoost's own library as a runner: the fallback where no ONNX program says what a booster says.

The variant's settings (written by `convert/xgboost.py`): `form` (`binary`, `multi`, `margin` or `value`), `margin`
(ask for raw margins), `rounds` (0 for all) and, where one was set, `missing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

from setsail.errors import SetsailError
from setsail.runtime.native import NativeRunner, run_fault
from setsail.runtime.runner import Options
from setsail.signature import Signature
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["XGBoostRunner", "load"]


def load(
    variant: Variant, files: Mapping[str, bytes | memoryview], signature: Signature, options: Options
) -> XGBoostRunner:
    """Read the model. Raises `model.failed`."""
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(files[variant.entry]))
        booster.set_param({"nthread": options.threads})
    except xgboost.core.XGBoostError as fault:
        raise SetsailError(
            "model.failed", f"XGBoost cannot load variant {variant.id!r}", expected="a model of this XGBoost or older"
        ) from fault
    return XGBoostRunner(variant, signature, booster, options.threads)


class XGBoostRunner(NativeRunner):
    """An XGBoost booster."""

    def _scores(self, booster: Any, rows: Array) -> Array:
        settings = self._settings
        try:
            table = xgboost.DMatrix(rows, missing=settings.get("missing", np.nan), nthread=self._threads)
            scores: Array = booster.predict(
                table,
                output_margin=settings["margin"],
                validate_features=False,
                iteration_range=(0, settings["rounds"]),
            )
        except xgboost.core.XGBoostError as fault:
            raise run_fault(fault) from fault
        if settings["form"] == "multi" and settings["margin"]:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = powers / powers.sum(axis=1, keepdims=True)
        return scores
