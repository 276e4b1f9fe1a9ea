"""LightGBM's own library as a runner: the fallback where no ONNX program says what a booster says.

The variant's settings (written by `convert/lightgbm.py`): `form` (`binary`, `multi` or `value`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from setsail.errors import SetsailError
from setsail.runtime.native import outputs, run_fault
from setsail.signature import Signature
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["LightGBMRunner", "load"]


def load(
    variant: Variant, files: Mapping[str, bytes | memoryview], signature: Signature, *, threads: int = 1
) -> LightGBMRunner:
    """Read the model. Raises `model.failed`."""
    try:
        booster = lightgbm.Booster(model_str=bytes(files[variant.entry]).decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as fault:
        raise SetsailError(
            "model.failed", f"LightGBM cannot load variant {variant.id!r}", expected="a model of this LightGBM or older"
        ) from fault
    return LightGBMRunner(variant, signature, booster, threads)


class LightGBMRunner:
    """A booster with the signature's names, dtypes and labels."""

    def __init__(self, variant: Variant, signature: Signature, booster: Any, threads: int) -> None:
        self.signature = signature
        self.max_batch: int | None = None
        self._booster = booster
        self._threads = threads
        self._settings = variant.settings

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        booster = self._booster
        if booster is None:
            raise SetsailError("model.not_ready", "the model was unloaded")
        rows = np.ascontiguousarray(inputs[self.signature.inputs[0].name])
        try:
            scores = booster.predict(rows, num_threads=self._threads, validate_features=False)
        except (lightgbm.basic.LightGBMError, ValueError) as fault:
            raise run_fault(fault) from fault
        return outputs(self.signature, self._settings["form"], np.asarray(scores))

    def close(self) -> None:
        self._booster = None
