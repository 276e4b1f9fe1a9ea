"""Keras 3: live models, `.keras` archives and `.h5` files.

A file is read by Keras itself with `safe_mode` on, in a child process, and only when its configuration names nothing
but classes of Keras (`keras_config.py`). Anything more needs `--trust pickle`; own classes also need `--factory
module:name`, whose import registers them.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import keras
import numpy as np
import tensorflow as tf

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.tensorflow import keras_config
from setsail.convert.tensorflow.assembly import Found, assemble, declared, given
from setsail.convert.tensorflow.tracing import Traceable
from setsail.convert.tensorflow.translation import quiet
from setsail.errors import SetsailError

__all__ = ["convert", "convert_file", "convert_trusted"]

_WEIGHTS: Final = "model.weights.h5"


def convert(model: Any, intent: Intent) -> Conversion:
    """Convert a live `keras.Model` of the TensorFlow backend.

    Raises:
        SetsailError: `convert.example` for a model that was never built, `convert.unsupported`, `convert.run`,
            `convert.input`.
    """
    if not isinstance(model, keras.Model):
        raise SetsailError("convert.unsupported", f"a {type(model).__name__} is no Keras model",
                           expected="keras.Model, Sequential or functional",
                           todo="wrap it: keras.Sequential([keras.Input(shape), layer])")  # fmt: skip
    if keras.backend.backend() != "tensorflow":
        raise SetsailError("convert.unsupported", "a live Keras model is converted on the TensorFlow backend only",
                           value=keras.backend.backend(), expected="KERAS_BACKEND=tensorflow",
                           todo='call model.save("model.keras") and pack that file')  # fmt: skip
    taken = _taken(model, intent)
    specs = declared(taken.rows, intent, framework="Keras")
    call = Traceable(_Answer(model, taken), specs)
    return assemble(Found(call.run, specs, call.trace, _title(model), "keras"), intent)


def convert_file(path: Path, intent: Intent) -> Conversion:
    """Convert a `.keras` or `.h5` file that holds nothing but Keras' own classes.

    The configuration is read once more here, by the library that reads the file: what sniffing saw of an HDF5 file
    were its bytes.

    Raises:
        SetsailError: `source.trust` for a file that holds more, `source.load`, and what `convert` raises.
    """
    findings = _findings(path)
    if findings:
        raise SetsailError("source.trust", f"loading {path.name} can run code: it names {findings[0]}",
                           field="--trust", value=findings[:4], expected="--trust pickle",
                           todo="if you trust where the file comes from, add --trust pickle")  # fmt: skip
    return convert(_load(path, {}, safe=True), intent)


def convert_trusted(path: Path, intent: Intent) -> Conversion:
    """Convert a file with Lambda layers or own classes: for a child process, after the person said so."""
    return convert(_load(path, _own_classes(intent.factory), safe=False), intent)


# -- reading files -----------------------------------------------------------------------------------------------------


def _load(path: Path, classes: Mapping[str, Any], *, safe: bool) -> Any:
    """Load a file with Keras; its ending is what Keras goes by, so it gets the right one."""
    archive = path.open("rb").read(2) == b"PK"
    ending = ".keras" if archive else ".h5"
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            named = path
            if not path.name.endswith(ending):
                named = Path(folder) / f"model{ending}"
                shutil.copyfile(path, named)
            return keras.saving.load_model(named, custom_objects=dict(classes), compile=False, safe_mode=safe)
    except Exception as fault:  # a damaged file raises anything
        lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
        raise SetsailError(
            "source.load", f"Keras cannot load {path.name}: {type(fault).__name__}", value=lines[0] if lines else None,
            expected="a model that Keras 3 saved, with its architecture",
            todo="own classes need --trust pickle --factory module:name, where module registers them",
        ) from fault  # fmt: skip


def _findings(path: Path) -> tuple[str, ...]:
    """What the configuration names beyond Keras' own data, and what the weights lie in beyond the file."""
    if zipfile.is_zipfile(path):
        found = keras_config.archive_findings(path)
        with zipfile.ZipFile(path) as archive:
            if _WEIGHTS not in archive.namelist():
                return found
            with archive.open(_WEIGHTS) as weights, _hdf5(weights, path.name) as file:
                return found + tuple(_outside(file))
    with _hdf5(path, path.name) as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise SetsailError("source.load", f"{path.name} holds no Keras model", value=sorted(file)[:4],
                               expected="a file of model.save, with the architecture",
                               todo='weights alone are no model: save it with model.save("model.keras")')  # fmt: skip
        return keras_config.config_findings(config, path.name) + tuple(_outside(file))


def _hdf5(file: Any, name: str) -> Any:
    try:
        return h5py.File(file, "r")
    except Exception as fault:
        raise SetsailError("source.damaged", f"{name} is no readable HDF5 file", value=str(fault)) from fault


def _outside(group: Any) -> Iterator[str]:
    """Links to other files, and arrays whose numbers lie in others: HDF5 would open them."""
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            yield "a link to another file"
            continue
        held = group[name]
        if isinstance(held, h5py.Dataset):
            if held.external or held.is_virtual:
                yield "weights that lie in another file"
        else:
            yield from _outside(held)


def _own_classes(factory: str | None) -> dict[str, Any]:
    """Import the module of `--factory module:name`. `name` may be a class, or a function that gives classes by name."""
    if factory is None:
        return {}
    module, _, name = factory.partition(":")
    try:
        held = getattr(importlib.import_module(module), name) if name else {}
    except Exception as fault:  # a person's own code may raise anything
        raise SetsailError("source.load", f"--factory {factory} cannot be imported: {type(fault).__name__}",
                           field="--factory", value=str(fault), expected="module:name") from fault  # fmt: skip
    if isinstance(held, type):
        return {held.__name__: held}
    return dict(held() if callable(held) else held)


# -- inputs and outputs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a model is called with.

    Attributes:
        rows: name, dtype and shape of each input, in order; the batch is free.
        arguments: the positional arguments: structures whose leaves are the names.
    """

    rows: tuple[tuple[str, str, tuple[int | None, ...]], ...]
    arguments: tuple[Any, ...]


def _taken(model: Any, intent: Intent) -> _Taken:
    """What a model is called with: its `Input`s, else what it was last called with, else what the person says."""
    tensors = getattr(model, "inputs", None)
    if tensors:
        names = given([t.name for t in tensors])
        rows = tuple((n, t.dtype, (None, *t.shape[1:])) for n, t in zip(names, tensors, strict=True))
        struct = getattr(model, "_inputs_struct", None)
        argument = keras.tree.pack_sequence_as(struct, names) if struct is not None else names[0]
        return _Taken(rows, (argument,))
    if intent.inputs:
        rows = tuple((s.name, s.dtype.name, (None, *(d if isinstance(d, int) else None for d in s.shape[1:])))
                     for s in intent.inputs)  # fmt: skip
        return _Taken(rows, _arranged(model, [s.name for s in intent.inputs]))
    if intent.example is not None:
        return _from_example(model, intent.example)
    return _as_built(model)


def _arranged(model: Any, names: Sequence[str]) -> tuple[Any, ...]:
    """Inputs as arguments of `call`: several arguments by name, or one that is a dict."""
    taken = inspect.signature(model.call).parameters.values()
    places = [p.name for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [name for name in places if name not in ("training", "mask")]
    if len(names) == 1:
        return (names[0],)
    return tuple(names) if list(names) == required[: len(names)] else ({n: n for n in names},)


def _from_example(model: Any, example: Any) -> _Taken:
    if isinstance(example, Mapping):
        values = {str(k): np.asarray(v) for k, v in example.items()}
        arguments = _arranged(model, list(values))
    else:
        parts = example if isinstance(example, tuple) else (example,)
        names = ["input"] if len(parts) == 1 else [f"input_{i}" for i in range(len(parts))]
        values = {n: np.asarray(p) for n, p in zip(names, parts, strict=True)}
        arguments = tuple(names)
    narrow = {"float64": "float32"}  # numpy's floats are float64 whatever the model takes
    rows = tuple((n, "string" if a.dtype.kind in "OUS" else narrow.get(a.dtype.name, a.dtype.name),
                  (None, *a.shape[1:])) for n, a in values.items())  # fmt: skip
    return _Taken(rows, arguments)


def _as_built(model: Any) -> _Taken:
    """A subclassed model's one argument, by the shapes it was built with, in the dtype Keras gives such inputs."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if len(shapes) != 1 or not model.built:
        raise SetsailError("convert.example", f"{type(model).__name__} does not say what its inputs look like",
                           expected='an example, or --input "input:float32[*,…]"',
                           todo="pass example= (Python) or --example/--input (command line)")  # fmt: skip
    held = next(iter(shapes.values()))
    named = held if isinstance(held, dict) else {"input": held}
    if not all(isinstance(s, tuple | list) and all(d is None or isinstance(d, int) for d in s) for s in named.values()):
        raise SetsailError("convert.example", f"{type(model).__name__} takes a structure of tensors", value=str(held),
                           expected="an example that is a mapping of arrays")  # fmt: skip
    rows = tuple((str(n), str(model.input_dtype), (None, *s[1:])) for n, s in named.items())
    return _Taken(rows, ({n: n for n in named} if isinstance(held, dict) else "input",))


def _output_names(model: Any) -> list[str] | None:
    """Names of a functional model's outputs: layers that the person named; None where it has no such graph."""
    tensors = getattr(model, "outputs", None)
    if not tensors:
        return None
    struct = getattr(model, "_outputs_struct", None)
    if isinstance(struct, dict) and len(struct) == len(tensors):
        return [str(name) for name in sorted(struct)]
    operations = [t._keras_history.operation for t in tensors]
    counted = [re.fullmatch(rf"{_snake(type(o).__name__)}(_\d+)?", o.name) is not None for o in operations]
    if len(tensors) == 1:
        return ["output" if counted[0] else operations[0].name]
    names = [f"output_{i}" if c else o.name for i, (o, c) in enumerate(zip(operations, counted, strict=True))]
    return names if len(set(names)) == len(names) else [f"output_{i}" for i in range(len(names))]


def _snake(name: str) -> str:
    """A class's name as Keras writes it in the names it counts up."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


# -- answering ---------------------------------------------------------------------------------------------------------


class _Answer:
    """A model's call, its outputs by name."""

    def __init__(self, model: Any, taken: _Taken) -> None:
        self._model, self._arguments, self._names = model, taken.arguments, _output_names(model)

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        arguments = [keras.tree.map_structure(lambda name: tensors[name], a) for a in self._arguments]
        answer = self._model(*arguments, training=False)
        flat = keras.tree.flatten(answer)
        wrong = [type(v).__name__ for v in flat if not isinstance(v, tf.Tensor)]
        if wrong:
            raise SetsailError("convert.unsupported", f"the model answers a {wrong[0]}", value=wrong,
                               expected="dense tensors", todo="make its output dense inside the model")  # fmt: skip
        return dict(zip(self._names or _structured(answer, len(flat)), flat, strict=True))


def _structured(answer: Any, count: int) -> list[str]:
    """Names for what a subclassed model answers: a dict's keys, in the order Keras flattens them."""
    if isinstance(answer, Mapping) and len(answer) == count:
        return [str(name) for name in sorted(answer)]
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def _title(model: Any) -> str:
    kind = type(model).__name__
    parts = [type(layer).__name__ for layer in getattr(model, "layers", ()) if type(layer).__name__ != "InputLayer"]
    return f"{kind}({', '.join(parts)})" if len(parts) <= 8 else f"{kind} of {len(parts)} layers"
