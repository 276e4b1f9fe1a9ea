"""What a live Keras model of another backend saved, loaded and translated on TensorFlow: the child process's side.

The classes and functions it needs are imported from the modules that the person's own process had them from; nothing
of that is more than that process ran itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import onnx

from setsail.convert.tensorflow import keras_weights
from setsail.convert.tensorflow.keras_calls import Answer, Taken, refusal, unpacked
from setsail.convert.tensorflow.tracing import Traceable
from setsail.convert.tensorflow.translation import Traced, quiet
from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.tensors import BY_ONNX

__all__ = ["translate"]

_PROGRAM: Final = "translated.onnx"
_OWN: Final = "own layers and functions that compute with keras.ops alone, in modules that can be imported"


def translate(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Load `arguments["file"]` of the folder and leave its ONNX model there.

    Returns:
        `file`; `dtypes`: output name -> dtype's name, in order; `levels` as `Translation` has them.

    Raises:
        SetsailError: `convert.unsupported` for own objects that cannot be imported, a model that cannot be loaded or
            followed, and operators without a translation.
    """
    sys.path.extend(place for place in arguments["search"] if place not in sys.path)
    specs = [TensorSpec.from_json(body) for body in arguments["inputs"]]
    call_with = Taken((), tuple(unpacked(argument) for argument in arguments["arguments"]))
    rows = {spec.name: np.zeros(arguments["shapes"][spec.name], spec.dtype.numpy) for spec in specs}
    model = _load(folder / arguments["file"], _own(arguments["own"]), lambda made: Answer(made, call_with)(rows))
    answer = _Named(Answer(model, call_with))
    traced = _followed(Traceable(answer, specs), arguments["batch"])
    program = traced.model(answer.names)
    dtypes = {o.name: BY_ONNX[o.type.tensor_type.elem_type].name for o in program.graph.output
              if o.type.tensor_type.elem_type in BY_ONNX}  # fmt: skip
    if list(dtypes) != answer.names:
        raise SetsailError("convert.unsupported", "an output has a dtype that no wire carries",
                           value=[n for n in answer.names if n not in dtypes],
                           todo="cast it inside the model")  # fmt: skip
    onnx.save_model(program, folder / _PROGRAM, save_as_external_data=True, location=f"{_PROGRAM}.data")
    return {"file": _PROGRAM, "dtypes": dtypes, "levels": {name: list(v) for name, v in traced.levels.items()}}


class _Named:
    """Remembers the names of what it answered last: a graph has none of them."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.names: list[str] = []

    def __call__(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        found = self._answer(tensors)
        self.names = list(found)
        return found


def _own(objects: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Own classes and functions by the names that Keras looks them up by; importing registers those that register."""
    found: dict[str, Any] = {}
    for module, name, registered in objects:
        try:
            held = importlib.import_module(module)
        except Exception as fault:  # a person's own module may raise anything
            raise refusal(
                f"the child process cannot import {module}, where {name} is", fault,
                expected="a module that a new Python can import",
                todo=f"see that `python -c 'import {module}'` works in this folder, without what your script set up",
            ) from fault  # fmt: skip
        if hasattr(held, name):
            found[registered] = getattr(held, name)
    return found


def _load(path: Path, own: Mapping[str, Any], call: Callable[[Any], Any]) -> Any:
    """Load the model with all of its weights. Raises `convert.unsupported`."""
    with quiet():
        try:
            model = keras.saving.load_model(path, custom_objects=dict(own), compile=False, safe_mode=False)
        except Exception as fault:  # own classes may raise anything
            model = _by_a_call(path, own, fault)
        try:
            keras_weights.complete(model, path, lambda: call(model))
        except Exception as fault:
            raise _failed("what the model saved cannot be loaded on TensorFlow", fault) from fault
    return model


def _by_a_call(path: Path, own: Mapping[str, Any], fault: Exception) -> Any:
    """A model that a call builds where Keras cannot."""
    try:
        return keras_weights.unbuilt(path, own)
    except Exception:
        raise _failed("what the model saved cannot be loaded on TensorFlow", fault) from fault


def _followed(call: Traceable, batch: int | None) -> Traced:
    try:
        return call.trace(batch)
    except SetsailError:
        raise
    except Exception as fault:  # so may their calls
        raise _failed("the model cannot be followed on TensorFlow", fault) from fault


def _failed(what: str, fault: Exception) -> SetsailError:
    return refusal(what, fault, expected=_OWN, todo="see what keras.saving.load_model says of the saved model with "
                   "KERAS_BACKEND=tensorflow")  # fmt: skip
