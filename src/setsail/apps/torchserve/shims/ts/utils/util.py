"""Names of classes, and what a handler raises to say what is wrong."""

from __future__ import annotations

import inspect
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

__all__ = ["PredictionException", "list_classes_from_module", "load_label_mapping", "map_class_to_label"]


class PredictionException(Exception):  # noqa: N818  # handlers know it by this name
    """Tells the client a message with a status."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message, self.error_code = message, error_code

    def __str__(self) -> str:
        return f"{self.message} : {self.error_code}"


def list_classes_from_module(module: ModuleType, parent_class: type | None = None) -> list[type]:
    """The classes that a module itself defines; with `parent_class`, those that derive from it."""
    found = [one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__]
    return [one for one in found if parent_class is None or issubclass(one, parent_class)]


def load_label_mapping(mapping_file_path: str) -> dict[str, str] | None:
    """`index_to_name.json`: number of a class -> its name; None where there is no such file."""
    if not os.path.isfile(mapping_file_path):
        return None
    with open(mapping_file_path, encoding="utf-8") as file:
        mapping = json.load(file)
    if not isinstance(mapping, dict):
        raise ValueError('index_to_name.json should be in format {"0": "name", …}')
    inner = mapping.get("object_type_names", mapping)
    named = enumerate(inner) if isinstance(inner, list) else inner.items()
    return {str(key): str(name[-1]) if isinstance(name, list) else name for key, name in named}


def map_class_to_label(
    probs: Sequence[Iterable[float]], mapping: Mapping[str, str] | None = None,
    lbl_classes: Sequence[Iterable[Any]] | None = None,
) -> list[dict[str, float]]:  # fmt: skip
    """A mapping a row, name of a class -> its probability."""
    classes = lbl_classes if lbl_classes is not None else itertools.repeat(range(len(list(probs[0]))), len(probs))
    rows = []
    for values, numbers in zip(probs, classes, strict=True):
        names = (str(number) for number in numbers)
        rows.append(
            {(mapping[name] if mapping is not None else name): p for name, p in zip(names, values, strict=True)}
        )
    return rows
