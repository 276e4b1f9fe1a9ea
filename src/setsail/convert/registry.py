"""From a source to its converter, through two literal tables of strings: no framework is imported before it is chosen.

Files go by their format (`formats.py`), live models by the first class in their inheritance whose package we know.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from setsail.convert.conversion import Apart, Conversion, Intent
from setsail.convert.formats import EXTRAS, FORMATS, Source
from setsail.errors import SetsailError

__all__ = ["convert", "entry", "from_file", "load", "missing"]

# Package of a class -> converter of live models, and the extra that holds everything it needs.
LIVE: Final[Mapping[str, tuple[str, str]]] = {
    "sklearn": ("setsail.convert.sklearn.model:convert", "sklearn"),
    "xgboost": ("setsail.convert.xgboost:convert", "xgboost"),
    "lightgbm": ("setsail.convert.lightgbm:convert", "lightgbm"),
    "catboost": ("setsail.convert.catboost:convert", "catboost"),
    "transformers": ("setsail.convert.transformers:convert", "transformers"),
    "keras": ("setsail.convert.tensorflow.keras_live:convert", "tensorflow"),
    "tensorflow": ("setsail.convert.tensorflow.saved_model:convert", "tensorflow"),
    "torch": ("setsail.convert.torch:convert", "torch"),
}
# Those of which a part may be converted in a child process: their converters take a third argument.
_APART: Final = frozenset({"keras"})
# Live models that another way leads to.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "tf_keras": 'call model.export("folder"), then pack that SavedModel',
    "onnx": "write it with onnx.save, then pack the file",
}


def convert(model: Any, intent: Intent, apart: Apart | None = None) -> Conversion:
    """Convert a live model, or a file whose loading runs no code.

    Args:
        model: a fitted estimator, booster or module of this process, or a `Source`.
        apart: calls a function in a child process, for live models that take one.

    Raises:
        SetsailError: `source.trust` for a source that only a child process may load; `source.load`; `convert.*`;
            `dependency.missing` with the pip line.
    """
    if not isinstance(model, Source):
        return _from_live(model, intent, apart)
    if model.trust is not None:
        raise SetsailError(
            "source.trust", f"loading {model.path.name} can run code; it is loaded in a child process only",
            field="trust", value=model.format, expected=model.trust,
        )  # fmt: skip
    return from_file(model, intent)


def from_file(source: Source, intent: Intent) -> Conversion:
    """Load and convert a source, trusted or not: for `convert` above and for the child process only."""
    row = FORMATS[source.format]
    if row.later:
        raise SetsailError(
            "source.unknown", f"{source.path.name} is a {row.title}", value=source.format, todo=row.later
        )
    if not row.loader:
        return _converted(entry(row.converter, row.framework)(source if row.whole else source.path, intent))
    model = load(source)
    if row.converter:
        return _converted(entry(row.converter, row.framework)(model, intent))
    return _from_live(model, intent)


def load(source: Source) -> Any:
    """Load a source with its own framework. Raises `source.load` for whatever that raises."""
    row = FORMATS[source.format]
    loader = entry(row.loader, source.framework or "sklearn")
    try:
        return loader(source.path)
    except SetsailError:
        raise
    except ModuleNotFoundError as fault:
        raise missing(fault, source.framework or "sklearn") or _not_loaded(source, fault) from fault
    except Exception as fault:  # a pickle may raise anything
        raise _not_loaded(source, fault) from fault


def _not_loaded(source: Source, fault: BaseException) -> SetsailError:
    lines = [line for line in str(fault).splitlines() if line.strip()] or [""]
    return SetsailError(
        "source.load", f"{source.path.name} could not be loaded: {type(fault).__name__}", value=lines[-1].strip(),
        expected=source.describe(), exception=type(fault).__name__,
    )  # fmt: skip


def _from_live(model: Any, intent: Intent, apart: Apart | None = None) -> Conversion:
    for cls in type(model).__mro__:
        root = cls.__module__.partition(".")[0]
        if root in LIVE:
            target, framework = LIVE[root]
            told = (intent, apart) if root in _APART else (intent,)
            return _converted(entry(target, framework)(model, *told))
        if root in _ELSEWHERE:
            raise SetsailError("convert.unsupported", f"a live {root} model is not converted directly",
                               value=_name(model), todo=_ELSEWHERE[root])  # fmt: skip
    raise SetsailError(
        "convert.unsupported", f"{_name(model)} is of no framework we know", field="model", value=_name(model),
        expected="a fitted model of " + ", ".join(LIVE) + ", or a path",
    )  # fmt: skip


def _name(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _converted(result: Any) -> Conversion:
    if not isinstance(result, Conversion):
        raise TypeError(f"a converter returned {type(result).__name__}, not a Conversion")
    return result


def entry(target: str, framework: str) -> Callable[..., Any]:
    """The function a table names. Raises `dependency.missing` with the exact pip line."""
    module, _, name = target.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as fault:
        raise missing(fault, framework) or fault from fault
    return function


def missing(fault: ModuleNotFoundError, framework: str) -> SetsailError | None:
    """The error for a package of one of our extras; None for any other, e.g. a module of the person's own."""
    package = (fault.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    # An extra holds what its converter needs beside the framework, so `xgboost` is right where `onnx` is missing.
    own = package in ("skops", "pandas", "pyarrow", "yaml") or (framework not in EXTRAS.values())
    extra = EXTRAS[package] if own else framework
    line = f'pip install "setsail[{extra}]"'
    return SetsailError("dependency.missing", f"{package} is not installed", field=package, todo=f"run: {line}",
                        command=line)  # fmt: skip
