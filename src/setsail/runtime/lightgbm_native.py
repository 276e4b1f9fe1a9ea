"""LightGBM's own library as a runner: the fallback where no ONNX program says what a booster says.

The variant's settings (written by `convert/lightgbm.py`): `form` (`binary`, `multi` or `value`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from setsail.errors import SetsailError
from setsail.runtime.native import NativeRunner, run_fault
from setsail.runtime.runner import Options
from setsail.signature import Signature
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["LightGBMRunner", "load"]


def load(
    variant: Variant, files: Mapping[str, bytes | memoryview], signature: Signature, options: Options
) -> LightGBMRunner:
    """Read the model. Raises `model.failed`."""
    try:
        booster = lightgbm.Booster(model_str=bytes(files[variant.entry]).decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as fault:
        raise SetsailError(
            "model.failed", f"LightGBM cannot load variant {variant.id!r}", expected="a model of this LightGBM or older"
        ) from fault
    return LightGBMRunner(variant, signature, booster, options.threads)


class LightGBMRunner(NativeRunner):
    """A LightGBM booster."""

    def _scores(self, booster: Any, rows: Array) -> Array:
        try:
            table = np.ascontiguousarray(rows)
            return np.asarray(booster.predict(table, num_threads=self._threads, validate_features=False))
        except (lightgbm.basic.LightGBMError, ValueError) as fault:
            raise run_fault(fault) from fault
