"""Which gate a program goes through before any runtime sees it: the table of gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from setsail.variants import Variant

__all__ = ["admit", "admit_source"]

# Formats of variants, and of sources that are programs as they are -> the module that reads them. Boosters are weighed:
# only their own libraries can parse them.
_GATES: Final[Mapping[str, str]] = {"onnx": "setsail.artifact.gate", "litert-tflite": "setsail.artifact.lite"}
_SOURCES: Final[Mapping[str, str]] = {"onnx": "setsail.artifact.gate", "tflite": "setsail.artifact.lite"}
_SCALES: Final = "setsail.artifact.gate"


def admit(variant: Variant, files: Mapping[str, bytes | memoryview]) -> None:
    """Hold a variant's files against the rules of its format. Raises `program.*`."""
    module = _GATES.get(variant.format)
    gate: Callable[..., Any] = import_module(module).inspect if module else import_module(_SCALES).weigh
    gate(files, variant.entry)


def admit_source(form: str, path: Path) -> None:
    """Hold a source that is a program as it is (a key of `convert.formats.FORMATS`) against the rules, if it is one.

    Raises:
        SetsailError: `program.*`, or `source.missing`.
    """
    if form in _SOURCES:
        import_module(_SOURCES[form]).inspect_path(path)
