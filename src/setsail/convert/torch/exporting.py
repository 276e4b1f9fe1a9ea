"""Callable + inputs -> ONNX model, by `torch.export` and torch's own translator.

`torch.export` follows the real module and fails loudly on what it cannot follow. The translator's other ways in
(tracing, draft export) are not used: they silently bake one branch of a data-dependent `if` into the program.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import torch

from setsail.convert.chatter import silenced
from setsail.convert.onnx.program import rename
from setsail.convert.torch.naming import flatten
from setsail.errors import SetsailError
from setsail.signature import TensorSpec

__all__ = ["OPSET", "FixedDimensionError", "export", "quiet", "script", "unsupported"]

OPSET: Final = 20
_SCRIPT_OPSET: Final = 17
_PACKAGES: Final = ("torch", "onnxscript", "onnx_ir")
_OPERATOR: Final = re.compile(r"OpOverload\(op='([\w.:]+)'|operator '([\w.:]+)'|\b(aten[.:]+\w+(?:\.\w+)?)")
_DATA: Final = ("data-dependent", "DataDependent", "GuardOnDataDependent", "control flow", "Eq(u", "unbacked")


class FixedDimensionError(Exception):
    """The module cannot be exported with free dimensions; perhaps with fixed ones."""


class _Flat(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    """A module that takes its inputs in order and answers a flat tuple."""

    def __init__(self, module: torch.nn.Module, names: Sequence[str], keywords: bool) -> None:
        super().__init__()
        self.module, self.names, self.keywords = module, tuple(names), keywords

    def forward(self, *args: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.keywords:
            return tuple(flatten(self.module(**dict(zip(self.names, args, strict=True)))).values())
        return tuple(flatten(self.module(*args)).values())


def export(
    module: torch.nn.Module,
    specs: Sequence[TensorSpec],
    rows: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    free: bool,
    *,
    keywords: bool = True,
    translations: Mapping[Any, Any] | None = None,
) -> Any:
    """Export a module.

    Args:
        module: in eval mode.
        specs: its inputs; symbols are free where `free` is set.
        rows: tensors to follow it with: a batch of 3 where the batch is free (torch fixes sizes 0 and 1).
        outputs: names of the flattened outputs.
        keywords: whether forward takes its inputs by name.
        translations: operators of our own -> how they are written in ONNX.

    Returns:
        An `onnx.ModelProto` with all weights in it and public names.

    Raises:
        FixedDimensionError: a dimension that should be free is fixed inside the module.
        SetsailError: `convert.unsupported`, naming the operator.
    """
    dims = tuple(
        {i: torch.export.Dim.DYNAMIC for i, d in enumerate(s.shape) if isinstance(d, str)} if free else {}
        for s in specs
    )
    # torch prints its graph to stderr when it meets a branch on data
    with quiet(), contextlib.redirect_stderr(io.StringIO()), torch.no_grad():
        try:
            program = torch.export.export(_Flat(module, [s.name for s in specs], keywords),
                                          tuple(rows[s.name] for s in specs), strict=False,
                                          dynamic_shapes={"args": dims} if any(dims) else None)  # fmt: skip
        except SetsailError:
            raise
        except Exception as fault:
            text = str(fault)
            if free and ("Constraints violated" in text or "specializ" in text or "constant" in text):
                raise FixedDimensionError(text) from fault
            raise unsupported(fault, capturing=True) from fault
        table = dict(translations) if translations else None
        try:
            answer = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET,
                                       custom_translation_table=table)  # fmt: skip
        except Exception as fault:
            raise unsupported(fault, capturing=False) from fault
        model = _proto(answer)
    renamed = dict(zip((i.name for i in model.graph.input), (s.name for s in specs), strict=True))
    rename(model, renamed)
    rename(model, dict(zip((o.name for o in model.graph.output), outputs, strict=True)))
    return model


def script(
    module: Any, specs: Sequence[TensorSpec], rows: Mapping[str, torch.Tensor], outputs: Sequence[str], free: bool
) -> Any:
    """Export a TorchScript module with the older translator, the only one that reads TorchScript.

    Raises:
        SetsailError: `convert.unsupported`, naming the operator.
    """
    buffer = io.BytesIO()
    axes = {s.name: {i: str(d) for i, d in enumerate(s.shape) if free and isinstance(d, str)} for s in specs}
    with quiet(), torch.no_grad():
        try:
            torch.onnx.export(module, tuple(rows[s.name] for s in specs), buffer, dynamo=False, verbose=False,
                              opset_version=_SCRIPT_OPSET, input_names=[s.name for s in specs],
                              output_names=list(outputs), dynamic_axes=axes)  # fmt: skip
        except Exception as fault:
            raise unsupported(fault, capturing=False) from fault
    return onnx.load_from_string(buffer.getvalue())


def _proto(answer: Any) -> Any:
    """The exported model with its weights, by way of files: a protobuf message ends at 2 GB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        answer.save(str(path), external_data=True)
        return onnx.load(str(path))


def unsupported(fault: BaseException, *, capturing: bool) -> SetsailError:
    """What the exporter said, in our words: the operator, why, and what to do."""
    chain: list[str] = []
    cause: BaseException | None = fault
    while cause is not None:
        chain.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    text = "\n".join(chain)
    found = _OPERATOR.search(text)
    operator = next((g for g in found.groups() if g), None) if found else None
    if capturing and any(word in text for word in _DATA):
        return SetsailError("convert.unsupported", "the module decides on its data in Python",
                            field=operator or "forward", value=_first(text),
                            expected="the same operators for every input",
                            todo="use torch.where or torch.cond instead of if on a tensor's value")  # fmt: skip
    if operator:
        said = next(line.strip() for line in text.splitlines() if operator in line)
        return SetsailError("convert.unsupported", f"operator {operator} has no ONNX translation", field=operator,
                            value=said, expected="operators the exporter of this torch knows",
                            todo="replace it in forward, or try a newer torch")  # fmt: skip
    return SetsailError(
        "convert.unsupported",
        "torch cannot export the module",
        value=_first(text),
        expected="a module that torch.export follows",
        todo="see docs/frameworks/pytorch.md",
    )


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def quiet() -> contextlib.AbstractContextManager[None]:
    """No chatter of the exporter: its notes on absent packages and its own deprecations are not the person's."""
    # torch gives many of its loggers a level of their own, so every one of them is asked to be quiet
    chatty = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _PACKAGES]
    return silenced((*_PACKAGES, *chatty))
