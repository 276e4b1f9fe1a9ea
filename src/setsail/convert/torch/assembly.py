"""From a module that runs to a Conversion: what every PyTorch entry point ends in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import onnx
import onnxscript
import torch

from setsail.convert.conversion import Conversion, Intent, Program
from setsail.convert.examples import fit
from setsail.convert.observed import Observation, Source, observe, one_by_one
from setsail.convert.onnx.program import PROGRAM, seal, unsqueeze
from setsail.convert.torch.exporting import FixedDimensionError, quiet
from setsail.convert.torch.labels import labelled
from setsail.convert.torch.naming import Arguments, flatten, to_array, to_tensor
from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["Exporter", "Model", "assemble", "device_of", "dtype_of_parameters", "evaluating", "refuse_llm"]

# (specs, tensors by name, output names, whether dimensions are free) -> onnx.ModelProto
Exporter = Callable[[Sequence[TensorSpec], Mapping[str, torch.Tensor], Sequence[str], bool], Any]
_LLM: Final = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


class Model:
    """A callable with its device, as a function from arrays to arrays."""

    def __init__(self, call: Callable[..., Any], device: torch.device, *, keywords: bool) -> None:
        self._call, self._device, self._keywords = call, device, keywords
        self.renamed: Mapping[str, str] = {}  # outputs that could not keep their name, which an input has

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with quiet(), torch.no_grad():
            tensors = self.tensors(inputs)
            answer = self._call(**tensors) if self._keywords else self._call(*tensors.values())
            flat = flatten(answer)
            outputs = {_apart(name, inputs, flat): to_array(t).copy() for name, t in flat.items()}
            self.renamed = {new: name for new, name in zip(outputs, flat, strict=True) if new != name}
        if not outputs:
            raise SetsailError("convert.unsupported", "the module answers no tensor", expected="at least one tensor")
        return outputs

    def tensors(self, inputs: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        return {name: to_tensor(array, self._device) for name, array in inputs.items()}


def assemble(
    model: Model, arguments: Arguments, export: Exporter, intent: Intent, estimator: str, *, alone: str = ""
) -> Conversion:
    """Observe the module, export it with a free batch, or with a batch of 1 where that is all it takes.

    Args:
        alone: why rows must be asked one at a time; "" where they need not.

    Raises:
        SetsailError: `convert.run`, `convert.input`, `convert.unsupported`.
    """
    example = fit(arguments.example, arguments.specs)
    source = Source(model.run, arguments.specs, example, intent.seed)
    notes: tuple[str, ...] = ()
    try:
        if alone:
            raise FixedDimensionError(alone)
        seen = _observe_free(source, intent)
        proto = _export(model, export, source, seen, rows=3, free=True)
        batch = None
    except FixedDimensionError as fixed:
        source = replace(source, run=one_by_one(model.run))
        seen = observe(source, intent.labels)
        proto = _export(model, export, source, seen, rows=1, free=False)
        batch, notes = 1, (alone or f"fixed batch of 1: {str(fixed).strip().splitlines()[0][:120]}",)
    signature = seen.signature
    unsqueeze(proto, seen.squeezed)
    files = seal(proto, signature.inputs, signature.outputs, batch=batch)
    precision = "float64" if any(s.dtype.name == "float64" for s in signature.outputs) else "float32"
    converted = Conversion(
        framework="pytorch",
        versions={"torch": torch.__version__, "onnx": onnx.__version__, "onnxscript": onnxscript.__version__},
        estimator=estimator,
        kind="tensors",
        signature=signature,
        programs=(Program(Variant("onnx", "onnx", precision, PROGRAM, max_batch=batch), files),),
        probes=seen.probes,
        notes=(*notes, *(f"output {new!r} is {old!r}, as an input is called" for new, old in model.renamed.items())),
    )
    return labelled(converted, intent.labels) if intent.labels else converted


def _observe_free(source: Source, intent: Intent) -> Observation:
    """Observe with a batch of several rows; a source that runs only on one row is `FixedDimensionError`."""
    try:
        return observe(source, intent.labels)
    except SetsailError as fault:
        if fault.code != "convert.run" or not source.batched or source.symbols():
            raise
        try:
            source.call(source.draw(1, {}))
        except SetsailError:
            raise fault from None
        raise FixedDimensionError(fault.what) from fault


def _export(model: Model, export: Exporter, source: Source, seen: Observation, *, rows: int, free: bool) -> Any:
    if not free and source.symbols():
        raise SetsailError("convert.unsupported", "the module fixes its batch and cannot have other free dimensions",
                           value=", ".join(source.symbols()), expected="sizes for them",
                           todo="give numbers for them in --input")  # fmt: skip
    tensors = model.tensors(source.draw(rows, seen.sizes))
    names = [s.name for s in seen.signature.outputs]
    return export(source.inputs, tensors, names, free)


def _apart(name: str, inputs: Mapping[str, object], outputs: Mapping[str, object]) -> str:
    """The name of an output: a graph has each name once, so that one which an input has gets `_out` behind it."""
    found = name
    while found in inputs or (found != name and found in outputs):
        found += "_out"
    return found


def device_of(module: torch.nn.Module) -> torch.device:
    """Where a module's first parameter or buffer lies."""
    first = next((t for group in (module.parameters(), module.buffers()) for t in group), None)
    return first.device if first is not None else torch.device("cpu")


def dtype_of_parameters(module: torch.nn.Module) -> torch.dtype:
    """The floating dtype of a module's parameters: what it takes floats as."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Eval mode while converting; every submodule's own mode afterwards."""
    modes = {inner: inner.training for inner in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for inner, mode in modes.items():
            inner.training = mode


def refuse_llm(name: str) -> None:
    """A generating language model is refused by the name transformers gives such classes."""
    if name.endswith(_LLM):
        raise SetsailError("source.llm", f"{name} is a generating language model", value=name,
                           expected="a model that answers in one pass")  # fmt: skip
