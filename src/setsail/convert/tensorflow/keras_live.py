"""Live Keras models of any backend.

One of the TensorFlow backend is followed where it is (`keras.py`). One of PyTorch, JAX or numpy answers where it is,
in the process and on the device of whoever trained it, and these answers are what every comparison is made with. Its
program is made by TensorFlow, in a child process, of what the model saves (`keras_saved.py`): a layer that a backend
computes otherwise than TensorFlow shows as a difference, and nothing is written.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import onnx

from setsail.convert import examples, registry
from setsail.convert.chatter import silenced
from setsail.convert.conversion import Apart, Conversion, Intent
from setsail.convert.observed import Source, settle
from setsail.convert.onnx.shapes import batched
from setsail.convert.tensorflow import keras_config
from setsail.convert.tensorflow.assembly import Found, assemble, declared
from setsail.convert.tensorflow.keras_calls import Answer, Taken, own_functions, packed, refusal, taken, title
from setsail.convert.tensorflow.strings import texts
from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME, Array

__all__ = ["convert"]

_CHILD: Final = "setsail.convert.tensorflow.keras_saved:translate"
_FILE: Final = "model.keras"
_NEEDED: Final = ("tensorflow", "tf2onnx", "h5py")
_LOGGERS: Final = ("absl", "jax", "h5py")
# Without which a backend would keep every intermediate result, for a gradient nobody asks for.
_STILL: Final[Mapping[str, tuple[str, str]]] = {"torch": ("torch", "no_grad")}
_PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {"torch": ("torch",), "jax": ("jax", "jaxlib"), "numpy": ("numpy",)}


def convert(model: Any, intent: Intent, apart: Apart | None = None) -> Conversion:
    """Convert a live `keras.Model`.

    Args:
        apart: calls a function in a child process; needed for any backend but TensorFlow's.

    Raises:
        SetsailError: `convert.example` for a model that does not say what it takes, `convert.unsupported` for one that
            cannot be saved, loaded or translated, `convert.run`, `convert.input`, `dependency.missing`.
    """
    if not isinstance(model, keras.Model):
        raise SetsailError("convert.unsupported", f"a {type(model).__name__} is no Keras model",
                           expected="keras.Model, Sequential or functional",
                           todo="wrap it: keras.Sequential([keras.Input(shape), layer])")  # fmt: skip
    backend = keras.backend.backend()
    if backend == "tensorflow":
        made: Conversion = registry.entry("setsail.convert.tensorflow.keras:convert", "tensorflow")(model, intent)
        return made
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise registry.missing(ModuleNotFoundError(name=package), "tensorflow") or AssertionError(package)
    if apart is None:
        raise SetsailError("convert.unsupported", f"a live model of the {backend} backend takes a child process",
                           value=backend, todo="setsail.pack(model) starts one")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="setsail-keras-") as folder:
        return _converted(model, replace(intent, example=_plain(intent.example)), backend, apart, Path(folder))


def _converted(model: Any, intent: Intent, backend: str, apart: Apart, folder: Path) -> Conversion:
    call_with = taken(model, intent)
    specs = declared(call_with.rows, intent, framework="Keras")
    if words := [spec.name for spec in specs if spec.dtype.kind == "string"]:
        raise SetsailError("convert.unsupported", f"input {words[0]!r} is text, which Keras takes on TensorFlow alone",
                           field=words[0], value=backend, expected="numbers",
                           todo='call model.save("model.keras") and pack that file')  # fmt: skip
    live = _Live(model, call_with, specs, backend)
    shapes = live.settle(intent)
    saved = _Saved(*_save(model, folder), call_with, specs, shapes, apart, live.expect)
    note = f"the answers are those of the live model on the {backend} backend; TensorFlow translated what it saved"
    made = assemble(Found(live.run, specs, saved.trace, title(model), "keras", (note,)), intent)
    return replace(made, versions={**made.versions, **_versions(backend)})


def _versions(backend: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES.get(backend, (backend,)):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


# -- the model where it lives ------------------------------------------------------------------------------------------


class _Live:
    """The model as it is, on its own backend: arrays by input name -> arrays by output name."""

    def __init__(self, model: Any, call_with: Taken, specs: Sequence[TensorSpec], backend: str) -> None:
        self._answer, self._specs = Answer(model, call_with), tuple(specs)
        module, name = _STILL.get(backend, ("contextlib", "nullcontext"))
        self._still = getattr(importlib.import_module(module), name)
        self._dtypes: dict[str, str] = {}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with silenced(_LOGGERS), self._still():
            tensors = {s.name: keras.ops.convert_to_tensor(inputs[s.name], dtype=s.dtype.name) for s in self._specs}
            answer = self._answer(tensors)
            arrays = {name: texts(keras.ops.convert_to_numpy(value)) for name, value in answer.items()}
        return {name: _as(array, self._dtypes.get(name), name) for name, array in arrays.items()}

    def settle(self, intent: Intent) -> dict[str, list[int]]:
        """Run it once, as a model that was never called has nothing to save; on inputs of which shapes is returned.

        Raises:
            SetsailError: `convert.run` where it does not, `convert.input` for an example that does not fit.
        """
        specs, _ = batched(self._specs, shared=True)
        example, specs = examples.given(intent.example, specs)
        source = Source(self.run, specs, example, intent.seed)
        sizes, _ = settle(source)
        return {name: list(array.shape) for name, array in source.draw(1, sizes).items()}

    def expect(self, dtypes: Mapping[str, str]) -> None:
        """From now on outputs have the program's dtypes: JAX keeps whole numbers and floats in half their width."""
        self._dtypes = dict(dtypes)


def _as(array: Array, dtype: str | None, name: str) -> Array:
    """The same numbers in another width. Raises `convert.unsupported` where they would not be the same."""
    if dtype is None or array.dtype == BY_NAME[dtype].numpy:
        return array
    cast = array.astype(BY_NAME[dtype].numpy) if array.dtype.kind in "fiu" and BY_NAME[dtype].kind != "string" else None
    same = cast is not None and cast.dtype.kind == array.dtype.kind and (
        cast.dtype.kind == "f" or np.array_equal(cast, array))  # fmt: skip
    if cast is None or not same:
        raise SetsailError("convert.unsupported", f"output {name!r} is {array.dtype.name} here, {dtype} on TensorFlow",
                           field=name, expected="one dtype on every backend",
                           todo="cast it inside the model: keras.ops.cast(x, dtype)")  # fmt: skip
    return cast


def _plain(example: Any) -> Any:
    """An example whose tensors, on whatever device, are arrays."""
    if isinstance(example, Mapping):
        return {name: _plain(value) for name, value in example.items()}
    if isinstance(example, tuple):
        return tuple(_plain(value) for value in example)
    return keras.ops.convert_to_numpy(example) if keras.ops.is_tensor(example) else example


# -- what it saves, and what becomes of that ---------------------------------------------------------------------------


def _save(model: Any, folder: Path) -> tuple[Path, tuple[keras_config.Own, ...]]:
    """Save the model; returns where, and what of it is the person's own.

    Raises `convert.unsupported` where that, or loading it elsewhere, cannot be.
    """
    path = folder / _FILE
    try:
        with silenced(_LOGGERS):
            keras.saving.save_model(model, path)
    except Exception as fault:  # own layers may raise anything
        raise refusal(
            "Keras cannot save the model", fault, expected='a model that model.save("model.keras") saves',
            todo="give its own layers a get_config() that returns what __init__ takes, as numbers, texts and lists",
        ) from fault  # fmt: skip
    own = keras_config.own_objects(path, own_functions(model))
    if here := [one.name for one in own if one.module == keras_config.SCRIPT]:
        raise SetsailError(
            "convert.unsupported", f"{here[0]} is defined in the script or notebook itself, which no other process "
            "can import", field=here[0], value=here, expected="own classes and functions in a module",
            todo="move it into a file beside it, such as own_layers.py, and import it from there",
        )  # fmt: skip
    return path, own


@dataclass(frozen=True, slots=True)
class _Saved:
    """What the model saved; `trace` has it translated in a child process."""

    path: Path
    own: tuple[keras_config.Own, ...]
    call_with: Taken
    specs: tuple[TensorSpec, ...]
    shapes: Mapping[str, list[int]]
    apart: Apart
    expect: Any

    def trace(self, batch: int | None) -> _Translated:
        told = self.apart(_CHILD, {
            "file": self.path.name,
            "own": [[own.module, own.name, own.registered] for own in self.own],
            "inputs": [spec.to_json() for spec in self.specs],
            "arguments": [packed(argument) for argument in self.call_with.arguments],
            "shapes": dict(self.shapes),
            "batch": batch,
            # what a script or notebook could import: its path may have relative entries, a child's may not
            "search": [os.path.abspath(place) for place in sys.path],
        }, self.path.parent)  # fmt: skip
        self.expect(told["dtypes"])
        levels = {name: tuple(words) for name, words in told["levels"].items()}
        return _Translated(self.path.parent / told["file"], tuple(told["dtypes"]), levels)


@dataclass(frozen=True, slots=True)
class _Translated:
    """The program that a child process left. A `Translation`."""

    path: Path
    names: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]

    def model(self, outputs: Sequence[str]) -> Any:
        """Its outputs have their names already. Raises `convert.unsupported` where the live model has others."""
        if tuple(outputs) != self.names:
            raise SetsailError("convert.unsupported", "the model answers otherwise once it was saved and loaded",
                               value=list(outputs), expected=", ".join(self.names),
                               todo="return one dict, list or tensor whatever the model went through")  # fmt: skip
        return onnx.load(self.path)
