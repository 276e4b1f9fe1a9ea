"""An estimator in words: its title, hyperparameters and the versions of the packages that took part."""

from __future__ import annotations

import math
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

from setsail.convert.sklearn.facts import parts

__all__ = ["hyperparameters", "title", "versions"]

_ALWAYS: Final = ("scikit-learn", "numpy", "onnx")
_PACKAGES: Final = {"xgboost": "xgboost", "lightgbm": "lightgbm", "imblearn": "imbalanced-learn"}


def title(estimator: Any) -> str:
    """`Pipeline(StandardScaler, SVC)`: the class, and the classes it is composed of."""
    name = type(estimator).__name__
    if name == "Pipeline":
        return f"{name}({', '.join(title(s) for _, s in estimator.steps if not isinstance(s, str) and s is not None)})"
    if name == "TransformedTargetRegressor":
        return f"{name}({title(estimator.regressor_)})"
    return name


def versions(estimator: Any) -> dict[str, str]:
    """Distribution name -> version, sorted."""
    names = list(_ALWAYS)
    names += [_PACKAGES[m] for m in {type(p).__module__.split(".")[0] for p in parts(estimator)} if m in _PACKAGES]
    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the same package under another distribution's name (xgboost-cpu)
            module = sys.modules.get(name)
            found[name] = str(getattr(module, "__version__", "unknown"))
    return found


def hyperparameters(estimator: Any) -> dict[str, Any]:
    """`get_params`, JSON values only: an estimator becomes its class name, a function its qualified name."""
    return {str(k): plain(v) for k, v in sorted(estimator.get_params(deep=True).items())}


def plain(value: Any, depth: int = 0) -> Any:
    """One value as JSON. Never a `repr`, which may hold an address that changes from run to run."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return plain(value.item(), depth)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < 4 and isinstance(value, dict):
        return {str(k): plain(v, depth + 1) for k, v in value.items()}
    if depth < 4 and isinstance(value, list | tuple | np.ndarray) and len(value) <= 64:
        return [plain(v, depth + 1) for v in value]
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    return type(value).__name__
