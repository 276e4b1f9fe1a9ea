"""A keras of a hundred lines: what setsail asks of a live model on a backend that is not TensorFlow's.

    with toy_keras.installed() as live:            # `import keras` finds the toy; setsail's modules are imported anew
        model = toy_keras.model(lambda x: x * 2)
        live.convert(model, Intent(), toy_keras.Child(toy_keras.program("Mul", 2.0)))

Tensors are `Tensor`, so that who forgets to convert is found out. What a real Keras does is in
`tests/zoo/keras_house.py`.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

__all__ = ["Child", "Tensor", "installed", "model", "program"]

_ANEW = ("keras_calls", "keras_weights", "keras_live")


class Tensor:
    """What the toy computes with: no array, and nothing numpy would take for one."""

    def __init__(self, array: Any) -> None:
        self._held = np.asarray(array)
        self.shape, self.dtype = self._held.shape, self._held.dtype

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a tensor on a device")

    def map(self, change: Callable[[Any], Any]) -> Tensor:
        return Tensor(change(self._held))


class Symbol:
    """A symbolic input: name, dtype, shape."""

    def __init__(self, name: str, dtype: str, shape: tuple[int | None, ...]) -> None:
        self.name, self.dtype, self.shape = name, dtype, shape


class Model:
    """One input, and what a function of arrays makes of it."""

    def __init__(self, function: Callable[[Any], Any], dtype: str = "float32", name: str = "x") -> None:
        self.inputs, self.layers, self.built = [Symbol(name, dtype, (None, 3))], list[Any](), True
        self.function, self.modes = function, set[bool]()
        self.config: dict[str, Any] = {"module": "keras", "class_name": "Functional", "config": {}}
        self.fault: Exception | None = None

    def _flatten_layers(self) -> Iterator[Any]:
        yield from (self, *self.layers)

    def __call__(self, x: Tensor, *, training: bool) -> Any:
        self.modes.add(training)
        return _map(lambda function: x.map(function), self.function)


Model.__module__ = "keras.src.models.model"  # the package by which its converter is found


def model(function: Any, **options: Any) -> Model:
    """A model that answers what the function does, or a dict or list of functions do."""
    return Model(function, **options)


def program(operator: str, number: float, dtype: int = TensorProto.FLOAT, output: str = "output") -> Any:
    """`x`, then an operator with a number."""
    weight = helper.make_tensor("number", dtype, [], [number])
    nodes = [helper.make_node(operator, ["x", "number"], [output])]
    values = [helper.make_tensor_value_info(name, dtype, ["N", 3]) for name in ("x", output)]
    graph = helper.make_graph(nodes, "toy", values[:1], values[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


class Child:
    """Stands for the child process: keeps what it was told, and leaves a program there."""

    def __init__(self, made: Any, dtypes: Mapping[str, str] | None = None) -> None:
        self.made, self.dtypes = made, dict(dtypes or {"output": "float32"})
        self.told: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, target: str, arguments: Mapping[str, Any], folder: Path, **_: Any) -> Any:
        assert (folder / arguments["file"]).is_file()
        self.told.append((target, json.loads(json.dumps(arguments))))
        onnx.save(self.made, folder / "program.onnx")
        return {"file": "program.onnx", "dtypes": self.dtypes, "levels": {}}


@contextmanager
def installed(backend: str = "jax") -> Iterator[Any]:
    """`keras` is the toy while it lasts. Yields `setsail.convert.tensorflow.keras_live`, imported on it."""
    package = importlib.import_module("setsail.convert.tensorflow")
    names = ["keras", *(f"{package.__name__}.{name}" for name in _ANEW)]
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules["keras"] = _keras(backend)
    try:
        yield [importlib.import_module(name) for name in names[1:]][-1]
    finally:
        for name in _ANEW:  # `from package import name` looks here first
            vars(package).pop(name, None)
        for name, held in before.items():
            sys.modules.pop(name, None)
            if held is not None:
                sys.modules[name] = held


def _keras(backend: str) -> types.ModuleType:
    keras = types.ModuleType("keras")
    keras.Model = Model  # type: ignore[attr-defined]
    parts: dict[str, dict[str, Any]] = {
        "backend": {"backend": lambda: backend},
        "tree": {"map_structure": _map, "flatten": _flat, "pack_sequence_as": lambda struct, flat: flat[0]},
        "ops": {
            "is_tensor": lambda value: isinstance(value, Tensor), "convert_to_numpy": lambda value: value._held,
            "convert_to_tensor": lambda value, dtype: Tensor(np.asarray(value, dtype)),
        },
        "saving": {"save_model": _save},
    }  # fmt: skip
    for name, held in parts.items():
        setattr(keras, name, types.SimpleNamespace(**held))
    return keras


def _map(change: Callable[[Any], Any], structure: Any) -> Any:
    if isinstance(structure, dict):
        return {name: _map(change, structure[name]) for name in sorted(structure)}
    return [_map(change, part) for part in structure] if isinstance(structure, list) else change(structure)


def _flat(structure: Any) -> list[Any]:
    found: list[Any] = []
    _map(found.append, structure)
    return found


def _save(model: Model, path: Path) -> None:
    if model.fault is not None:
        raise model.fault
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model.config))
