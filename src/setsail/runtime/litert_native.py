"""TensorFlow Lite's interpreter (`ai_edge_litert`) as a runner: for files whose whole numbers no ONNX program repeats.

The variant's settings (written by `convert/tensorflow/lite.py`): `inputs` and `outputs`, the signature's names in the
order in which the file has its own; `signature`, where the file has several: the one that is run.

The interpreter is the one that packing ran as the source: with the delegate that it takes by itself (XNNPACK), because
that rounds otherwise than its kernels alone. It belongs to one run at a time, and its tensors to it: arrays are copied
in and out. A second run at the same moment makes a second interpreter, up to four; they share the file's bytes, not
what the delegate makes of them. Memory is allocated anew only when a size changes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from setsail.errors import SetsailError
from setsail.runtime.native import run_fault
from setsail.runtime.runner import Options, Weights
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["LiteRTRunner", "load"]

_MOST: Final = 4  # interpreters of one model: each has its own tensors, and packs its weights
_SIDES: Final = ("inputs", "outputs")
_SET_UP: Final = (ValueError, RuntimeError, TypeError, KeyError, MemoryError)  # what the binding raises


def load(
    variant: Variant, files: Mapping[str, bytes | memoryview], signature: Signature, options: Options
) -> LiteRTRunner:
    """Open the file and hold its tensors against the signature. Raises `model.failed`."""
    content = bytes(files[variant.entry])
    try:
        first = _Prepared(content, variant, signature, options.threads)
    except _SET_UP as fault:
        raise SetsailError(
            "model.failed", f"LiteRT cannot load variant {variant.id!r}",
            value=(str(fault).strip().splitlines() or [type(fault).__name__])[0],
            expected="a TensorFlow Lite file that this LiteRT runs",
        ) from fault  # fmt: skip
    return LiteRTRunner(variant, signature, content, first, options.threads)


class LiteRTRunner:
    """A `.tflite` file. Runs at the same time wait for each other from the fifth on."""

    def __init__(self, variant: Variant, signature: Signature, content: bytes, first: _Prepared, threads: int) -> None:
        self.signature = signature
        self.max_batch = variant.max_batch
        self.weights = Weights()
        self._made = (content, variant, signature, threads)
        self._idle = [first]  # the one used last comes last
        self._count = 1
        self._open = True
        self._free = threading.Condition()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        shapes = tuple(inputs[spec.name].shape for spec in self.signature.inputs)
        with self._interpreter(shapes) as prepared:
            return prepared.run(inputs)

    def rest(self, inputs: Mapping[str, Array]) -> None:
        """Run once more, on the only interpreter that stays: its memory is then as large as these rows need."""
        with self._free:
            spare, self._idle = self._idle[:-1], self._idle[-1:]
            self._count -= len(spare)
        self.run(inputs)

    def close(self) -> None:
        with self._free:
            self._open = False
            self._idle.clear()
            self._free.notify_all()

    @contextmanager
    def _interpreter(self, shapes: tuple[tuple[int, ...], ...]) -> Iterator[_Prepared]:
        """An interpreter for one run: one of these shapes if there is one. One that failed is not used again."""
        prepared = self._take(shapes)
        failed = True
        try:
            prepared = prepared or _Prepared(*self._made)
            yield prepared
            failed = False
        except _SET_UP as fault:
            raise run_fault(fault) from fault
        finally:
            with self._free:
                if failed or prepared is None:
                    self._count -= 1
                elif self._open:
                    self._idle.append(prepared)
                self._free.notify()

    def _take(self, shapes: tuple[tuple[int, ...], ...]) -> _Prepared | None:
        """One that is idle, None for a place to make another. Raises `model.not_ready`."""
        with self._free:
            while self._open and not self._idle and self._count >= _MOST:
                self._free.wait()
            if not self._open:
                raise SetsailError("model.not_ready", "the model was unloaded")
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].shapes == shapes:
                    return self._idle.pop(index)
            if self._idle:
                return self._idle.pop(0)
            self._count += 1
            return None


class _Prepared:
    """One interpreter, with memory for one size of every input.

    Attributes:
        shapes: of the inputs, in the signature's order; empty until the first run.
    """

    def __init__(self, content: bytes, variant: Variant, signature: Signature, threads: int) -> None:
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._batched = signature.batched
        self.shapes: tuple[tuple[int, ...], ...] = ()
        name = variant.settings.get("signature")
        self._one = None if name is None else self._interpreter.get_signature_runner(name)
        if self._one is not None:
            found = self._one.get_input_details(), self._one.get_output_details()
            takes, gives = ([side[n] for n in variant.settings[key]] for side, key in zip(found, _SIDES, strict=True))
        else:
            takes, gives = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._inputs = _by_name(variant, signature.inputs, takes, variant.settings["inputs"])
        self._outputs = _by_name(variant, signature.outputs, gives, variant.settings["outputs"])

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Raises what the binding raises."""
        interpreter = self._interpreter
        shapes = tuple(inputs[spec.name].shape for spec, _ in self._inputs)
        if self._one is not None:  # it asks for memory by itself, and copies its answers
            self.shapes = shapes
            found = self._one(**{spec.name: np.ascontiguousarray(inputs[spec.name]) for spec, _ in self._inputs})
            return {spec.name: self._answer(spec, found[spec.name]) for spec, _ in self._outputs}
        if shapes != self.shapes:
            self.shapes = ()
            for (_, place), shape in zip(self._inputs, shapes, strict=True):
                interpreter.resize_tensor_input(place, shape)
            interpreter.allocate_tensors()
            self.shapes = shapes
        interpreter.reset_all_variables()  # a recurrent layer's state would go on; here every request is the first
        for spec, place in self._inputs:
            interpreter.set_tensor(place, np.ascontiguousarray(inputs[spec.name]))
        interpreter.invoke()
        return {spec.name: self._answer(spec, interpreter.get_tensor(place)) for spec, place in self._outputs}

    def _answer(self, spec: TensorSpec, array: Array) -> Array:
        """`get_tensor` copies. A file may drop the batch where it is 1; the signature has it."""
        if self._batched and array.ndim == len(spec.shape) - 1:
            return array[np.newaxis]
        return array


def _by_name(
    variant: Variant, specs: tuple[TensorSpec, ...], details: list[Any], names: list[str]
) -> list[tuple[TensorSpec, int]]:
    """Every spec with the number of its tensor. Raises `model.failed` where the file has no such tensor."""
    if sorted(names) != sorted(spec.name for spec in specs) or len(names) != len(details):
        raise _disagrees(variant, "the file has other inputs or outputs", [d["name"] for d in details], names)
    found = dict(zip(names, details, strict=True))
    for spec in specs:
        detail = found[spec.name]
        if np.dtype(detail["dtype"]) != spec.dtype.numpy:
            raise _disagrees(variant, f"{spec.name!r} is not as the signature says", detail["dtype"].__name__, spec)
    return [(spec, int(found[spec.name]["index"])) for spec in specs]


def _disagrees(variant: Variant, what: str, value: object, expected: object) -> SetsailError:
    return SetsailError("model.failed", f"variant {variant.id!r}: {what}", value=value, expected=str(expected))
