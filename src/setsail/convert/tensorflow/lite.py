"""TensorFlow Lite files, float and quantised.

The source is the file run by the interpreter of `ai_edge_litert`, or TensorFlow's own. The program is what `tf2onnx`
makes of it, and where that answers otherwise, the file itself, for the same interpreter: a quantised file computes with
whole numbers, its translation in floats between `QuantizeLinear` and `DequantizeLinear`, which round once less. Where
TensorFlow is not installed there is no translation; the file needs no more than the interpreter.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from setsail.convert.chatter import silenced
from setsail.convert.conversion import Conversion, Intent, Program
from setsail.convert.registry import missing
from setsail.convert.tensorflow.assembly import Found, assemble, declared, given
from setsail.convert.tensorflow.signatures import carried
from setsail.convert.tensorflow.strings import texts
from setsail.errors import SetsailError
from setsail.signature import Signature
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["convert"]

_INTERPRETERS: Final = ("ai_edge_litert.interpreter", "tensorflow.lite")
_TRANSLATION: Final = "setsail.convert.tensorflow.translation"
_ENTRY: Final = "model.tflite"
_ROWS: Final = 4096  # of 20,000, a dense network's translation has been seen to round one the other way


def convert(path: Path, intent: Intent) -> Conversion:
    """Convert a `.tflite` file, every signature of it.

    Raises:
        SetsailError: `source.load`, `convert.unsupported`, `convert.run`, `convert.input`.
    """
    takes = {name: sides["inputs"] for name, sides in _opened(path).get_signature_list().items()}
    if len(takes) < 2:
        return _one(path, None, intent)
    return carried(takes, partial(_one, path), intent)


def _one(path: Path, name: str | None, intent: Intent) -> Conversion:
    """One signature, or (None) the file's first graph."""
    interpreter = _Interpreter(path, name)
    rows = [(interpreter.public[d["name"]], np.dtype(d["dtype"]).name, _shape(d)) for d in interpreter.inputs]
    specs = declared(rows, intent, framework="TensorFlow Lite")

    quantised = any(d["dtype"] in (np.int8, np.uint8, np.int16) for d in interpreter.tensors)
    notes = ("quantised: an ONNX program of it computes in floats between QuantizeLinear and DequantizeLinear",)
    return assemble(
        Found(
            interpreter.run, specs, lambda _: _Translation(path, interpreter), "TensorFlow Lite model", "tflite",
            notes if quantised else (), interpreter.programs, _ROWS if quantised else 0,
        ),
        intent,
    )  # fmt: skip


class _Translation:
    """A `translation.Lite` that is made, and TensorFlow with it imported, when its model is asked for."""

    levels: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def __init__(self, path: Path, interpreter: _Interpreter) -> None:
        self._path, self._interpreter = path, interpreter

    def model(self, outputs: Sequence[str]) -> Any:
        if not self._interpreter.first:
            raise SetsailError("convert.unsupported", "tf2onnx translates the first graph of a file")
        try:
            translation = importlib.import_module(_TRANSLATION)
        except ModuleNotFoundError as fault:
            raise missing(fault, "tensorflow") or fault from fault
        return translation.Lite(self._path, self._interpreter.public).model(outputs)


def _shape(detail: Mapping[str, Any]) -> tuple[int | None, ...]:
    """The declared shape; -1 is free. Converters from TensorFlow write a free batch so, others fix it to 1."""
    return tuple(int(d) if d > 0 else None for d in detail["shape_signature"])


class _Interpreter:
    """A signature of a file, or its first graph, as a function from arrays to arrays.

    Attributes:
        inputs, outputs, tensors: the interpreter's own descriptions, in its order.
        public: its names of inputs and outputs -> ours.
        first: whether the graph is the file's first.
    """

    def __init__(self, path: Path, name: str | None) -> None:
        self._path, self._name = path, name
        self._interpreter = _opened(path)
        self.inputs = list(self._interpreter.get_input_details())
        self.outputs = list(self._interpreter.get_output_details())
        self.tensors = list(self._interpreter.get_tensor_details())
        self.first = True
        if name is None:
            self.public = _public([d["name"] for d in self.inputs], "input", self._signature("inputs"))
            self.public |= _public([d["name"] for d in self.outputs], "output", self._signature("outputs"))
            return
        self._runner = self._interpreter.get_signature_runner(name)
        takes, gives = self._runner.get_input_details(), self._runner.get_output_details()
        main, self.inputs, self.outputs = self.inputs, list(takes.values()), list(gives.values())
        self.public = {detail["name"]: public for public, detail in (*takes.items(), *gives.items())}
        if len(self.public) < len(takes) + len(gives):
            raise SetsailError("convert.unsupported", f"signature {name!r} names a tensor twice", field=name,
                               expected="an input or output each")  # fmt: skip
        self.first = {(d["name"], d["index"]) for d in main} == {(d["name"], d["index"]) for d in self.inputs}

    def _signature(self, side: str) -> list[str]:
        """Names of the file's only signature: what its author called its tensors."""
        found = list(self._interpreter.get_signature_list().values())
        return list(found[0][side]) if len(found) == 1 else []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with silenced(()):
            if self._name is not None:
                # Nobody can reset this graph's variables: a state that goes on shows when rows are run again
                found = self._runner(**{name: np.ascontiguousarray(array) for name, array in inputs.items()})
                return {name: texts(array) for name, array in found.items()}
            for detail in self._interpreter.get_input_details():
                shape = inputs[self.public[detail["name"]]].shape
                if tuple(detail["shape"]) != shape:
                    self._interpreter.resize_tensor_input(detail["index"], shape)
            self._interpreter.allocate_tensors()
            self._interpreter.reset_all_variables()  # a recurrent layer's state goes on from run to run
            for detail in self.inputs:
                array = inputs[self.public[detail["name"]]]
                self._interpreter.set_tensor(detail["index"], np.ascontiguousarray(array))
            self._interpreter.invoke()
            return {self.public[d["name"]]: texts(self._interpreter.get_tensor(d["index"]).copy())
                    for d in self.outputs}  # fmt: skip

    def programs(self, signature: Signature, batch: int | None) -> tuple[Program, ...]:
        """The file itself, for any batch or one row at a time; none where it reads or writes texts."""
        if any(s.dtype.kind == "string" for s in (*signature.inputs, *signature.outputs)):
            return ()
        sides = {"inputs": self.inputs, "outputs": self.outputs}
        settings: dict[str, Any] = {side: [self.public[d["name"]] for d in some] for side, some in sides.items()}
        if self._name is not None:
            settings["signature"] = self._name
        content = {_ENTRY: self._path.read_bytes()}
        batches = (None, 1) if batch is None and signature.batched else (batch,)
        return tuple(
            Program(Variant("litert", "litert-tflite", "float32", _ENTRY, settings, max_batch), content)
            for max_batch in batches
        )


def _public(names: Sequence[str], word: str, signature: Sequence[str]) -> dict[str, str]:
    """Names for the wires. A file's own are paths of a graph ("serving_default_x:0", "StatefulPartitionedCall:0")."""
    if len(names) == 1:
        return {names[0]: given(signature if len(signature) == 1 else (word,), word)[0]}
    return {name: f"{word}_{i}" for i, name in enumerate(names)}


def _opened(path: Path) -> Any:
    try:
        interpreter = _interpreter(str(path))
        interpreter.allocate_tensors()
        return interpreter
    except SetsailError:
        raise
    except Exception as fault:
        raise SetsailError("source.load", f"the interpreter cannot open {path.name}: {type(fault).__name__}",
                           value=str(fault).strip().partition("\n")[0],
                           expected="a TensorFlow Lite model of built-in operators") from fault  # fmt: skip


def _interpreter(path: str) -> Any:
    for module in _INTERPRETERS:
        try:
            return importlib.import_module(module).Interpreter(model_path=path, num_threads=1)
        except ModuleNotFoundError:
            continue
    line = 'pip install "setsail[litert]"'
    raise SetsailError(
        "dependency.missing",
        "ai_edge_litert is not installed",
        field="ai_edge_litert",
        todo=f"run: {line}",
        command=line,
    )
