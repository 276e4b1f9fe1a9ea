"""A variant: one way to run the model, without its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

__all__ = ["EXTRAS", "FORMATS", "Variant"]

# Every form a variant's files may have; `runtime.RUNTIMES` has who runs each.
FORMATS: Final = ("onnx", "xgboost-ubj", "lightgbm-text", "catboost-cbm", "litert-tflite")
# What is installed beside setsail to run a format; ONNX needs nothing.
EXTRAS: Final[Mapping[str, str]] = {
    "xgboost-ubj": "xgboost", "lightgbm-text": "lightgbm", "catboost-cbm": "catboost", "litert-tflite": "litert",
}  # fmt: skip


class Variant(Struct, frozen=True):
    """What a runtime must know beside the files.

    Attributes:
        id: folder name in the artifact: `onnx`, `onnx-f64`, `xgboost`, `lightgbm`, `catboost`, `litert`.
        format: one of FORMATS: decides the runner.
        precision: `float32` or `float64`, what the arithmetic is done in.
        entry: the file a runner opens, relative to the variant's folder.
        settings: what a native runner needs besides the file (output kind, class count); JSON values.
        max_batch: 1 for a program with a fixed batch of 1, None for any.
    """

    id: str
    format: str
    precision: str
    entry: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    max_batch: int | None = None
