"""What a Keras model takes and answers, on any of Keras' backends: names, shapes, and how it is called.

Needs Keras alone, whose backend is whatever the process chose. `keras.py` calls models on TensorFlow's tensors,
`keras_live.py` on those of PyTorch, JAX or numpy.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np

from setsail.convert.conversion import Intent
from setsail.convert.tensorflow.assembly import given
from setsail.errors import SetsailError

__all__ = ["Answer", "Taken", "own_functions", "packed", "refusal", "taken", "title", "unpacked"]

_SAID: Final = 240
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal, in the words of Keras


@dataclass(frozen=True, slots=True)
class Taken:
    """What a model is called with.

    Attributes:
        rows: name, dtype and shape of each input, in order; the batch is free.
        arguments: the positional arguments: structures whose leaves are the names.
    """

    rows: tuple[tuple[str, str, tuple[int | None, ...]], ...]
    arguments: tuple[Any, ...]


def taken(model: Any, intent: Intent) -> Taken:
    """What a model is called with: its `Input`s, else what it was last called with, else what the person says.

    Raises:
        SetsailError: `convert.example` where nothing says it.
    """
    tensors = getattr(model, "inputs", None)
    if tensors:
        names = given([t.name for t in tensors])
        rows = tuple((n, t.dtype, (None, *t.shape[1:])) for n, t in zip(names, tensors, strict=True))
        struct = getattr(model, "_inputs_struct", None)
        argument = keras.tree.pack_sequence_as(struct, names) if struct is not None else names[0]
        return Taken(rows, (argument,))
    if intent.inputs:
        rows = tuple((s.name, s.dtype.name, (None, *(d if isinstance(d, int) else None for d in s.shape[1:])))
                     for s in intent.inputs)  # fmt: skip
        return Taken(rows, _arranged(model, [s.name for s in intent.inputs]))
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


def _from_example(model: Any, example: Any) -> Taken:
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
    return Taken(rows, arguments)


def _as_built(model: Any) -> Taken:
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
    return Taken(rows, ({n: n for n in named} if isinstance(held, dict) else "input",))


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


def packed(structure: Any) -> Any:
    """One argument as JSON: a name, or `[kind, …]` for what holds others."""
    if isinstance(structure, Mapping):
        return ["dict", *([name, packed(inner)] for name, inner in structure.items())]
    if isinstance(structure, list | tuple):
        return ["list" if isinstance(structure, list) else "tuple", *map(packed, structure)]
    return structure


def unpacked(body: Any) -> Any:
    """The inverse of `packed`."""
    if isinstance(body, str):
        return body
    kind, *parts = body
    if kind == "dict":
        return {name: unpacked(inner) for name, inner in parts}
    return [*map(unpacked, parts)] if kind == "list" else tuple(map(unpacked, parts))


# -- answering ---------------------------------------------------------------------------------------------------------


class Answer:
    """A model's call with `training=False`: tensors of its backend by input name -> tensors by output name.

    Raises `convert.unsupported` for what is no dense tensor.
    """

    def __init__(self, model: Any, taken: Taken) -> None:
        self._model, self._arguments, self._names = model, taken.arguments, _output_names(model)

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        arguments = [keras.tree.map_structure(lambda name: tensors[name], a) for a in self._arguments]
        answer = self._model(*arguments, training=False)
        flat = keras.tree.flatten(answer)
        wrong = [type(v).__name__ for v in flat if not _dense(v)]
        if wrong:
            raise SetsailError("convert.unsupported", f"the model answers a {wrong[0]}", value=wrong,
                               expected="dense tensors", todo="make its output dense inside the model")  # fmt: skip
        return dict(zip(self._names or _structured(answer, len(flat)), flat, strict=True))


def _dense(value: Any) -> bool:
    """A tensor of the backend, and none of its ragged or sparse ones: these are classes of their own, or say so."""
    other = re.search(r"ragged|sparse|bcoo|bcsr", type(value).__name__, re.IGNORECASE)
    return bool(keras.ops.is_tensor(value)) and other is None and not getattr(value, "is_sparse", False)


def _structured(answer: Any, count: int) -> list[str]:
    """Names for what a subclassed model answers: a dict's keys, in the order Keras flattens them."""
    if isinstance(answer, Mapping) and len(answer) == count:
        return [str(name) for name in sorted(answer)]
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def title(model: Any) -> str:
    """The model's class and layers, for people."""
    kind = type(model).__name__
    parts = [type(layer).__name__ for layer in getattr(model, "layers", ()) if type(layer).__name__ != "InputLayer"]
    return f"{kind}({', '.join(parts)})" if len(parts) <= 8 else f"{kind} of {len(parts)} layers"


def own_functions(model: Any) -> dict[str, str]:
    """Functions that are no part of Keras and that its layers hold, as an activation is: name -> module."""
    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else ()
    held = (value for layer in layers for value in vars(layer).values() if isinstance(value, types.FunctionType))
    return {f.__name__: f.__module__ for f in held if f.__module__.partition(".")[0] != "keras"}


def refusal(what: str, fault: Exception, *, expected: str, todo: str) -> SetsailError:
    """What Keras, or own code that it called, says of a model, with its first words: the cause is often in no class."""
    said = " ".join(_COLOURS.sub("", str(fault)).split())[:_SAID]
    return SetsailError("convert.unsupported", f"{what}: {type(fault).__name__}: {said}", expected=expected, todo=todo)
