"""From a variant's bytes to something that runs: the string table of runtimes.

`load` is the only door. A runtime is named by text and imported when a model of its format is loaded, so a server
of ONNX models never imports a booster. Steps (`setsail/steps.py`) wrap a runner only where a model has some.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.runtime.runner import Options, Runner, Weights
from setsail.signature import Signature
from setsail.steps import NONE, Processing
from setsail.variants import Variant

__all__ = ["RUNTIMES", "Files", "Options", "Runner", "Weights", "discard", "load"]

Files = Mapping[str, bytes | memoryview]

# format -> "module:function", called as function(variant, files, signature, options) -> Runner
RUNTIMES: Final[Mapping[str, str]] = {
    "onnx": "setsail.runtime.onnx_runner:load",
    "xgboost-ubj": "setsail.runtime.xgboost_native:load",
    "lightgbm-text": "setsail.runtime.lightgbm_native:load",
    "catboost-cbm": "setsail.runtime.catboost_native:load",
    "litert-tflite": "setsail.runtime.litert_native:load",
}
# package a runtime needs -> the extra that installs it
_EXTRAS: Final[Mapping[str, str]] = {
    "xgboost": "xgboost", "lightgbm": "lightgbm", "catboost": "catboost", "ai_edge_litert": "litert",
}  # fmt: skip
_STEPPED: Final = "setsail.runtime.stepped:Stepped"
_DISCARD: Final = "setsail.runtime.prepared:discard"
_PLAIN: Final = Options()


def load(
    variant: Variant,
    files: Files,
    signature: Signature,
    processing: Processing = NONE,
    options: Options = _PLAIN,
) -> Runner:
    """Load one variant.

    Args:
        files: relative file name -> content, `variant.entry` among them. Views (of a mapped artifact) are not kept
            after this returns.
        processing: what is done around every run. The runner has the signature, the program what lies within.
        options: threads of a run, and whether large weights are shared between processes.

    Raises:
        SetsailError: `artifact.requires` for a format we have no runtime for, `dependency.missing` when its package
            is not installed, `model.failed` when the program cannot be loaded or does not have the signature.
    """
    target = RUNTIMES.get(variant.format)
    if target is None:
        raise SetsailError(
            "artifact.requires", f"variant {variant.id!r} has a format this setsail cannot run", field="format",
            value=variant.format, expected=", ".join(RUNTIMES),
        )  # fmt: skip
    runner: Runner = _named(target)(variant, files, processing.inner(signature), options)
    if not processing:
        return runner
    stepped: Runner = _named(_STEPPED)(runner, signature, processing)
    return stepped


def discard(weights: Weights) -> None:
    """Remove shared weights that turned out to be wrong. The next load makes them again."""
    _named(_DISCARD)(Path(weights.path).parent)


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as fault:
        package = (fault.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise SetsailError(
            "dependency.missing", f"running this model needs the package {package!r}",
            todo=f"run: pip install 'setsail[{_EXTRAS[package]}]'",
        ) from fault  # fmt: skip
