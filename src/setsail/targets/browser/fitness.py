"""What the browser can run of an artifact, and what it cannot, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from setsail.artifact import Artifact, gate
from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.steps import Step
from setsail.targets.browser.tokenizers import unlike
from setsail.variants import Variant

__all__ = ["NEWEST", "STEPS", "accelerated", "program"]

# Kinds of steps that web/src/steps implements; a slow test holds them against the contract's cases in a browser.
STEPS: Final = frozenset(
    """
    text.normalize text.tokenize image.decode image.resize image.crop image.scale image.stack table.stack table.levels
    table.impute scores.softmax scores.sigmoid scores.pair scores.one scores.label scores.top scores.threshold
    values.scale values.map
    """.split()  # noqa: SIM905, a list people review reads better so
)

# Domain -> the newest version of its operators that the pinned onnxruntime-web knows. It has every one of those that
# was tried (docs/targets/browser.md); what it cannot run after all is told when the site is tried.
NEWEST: Final[Mapping[str, int]] = {"": 26, "ai.onnx.ml": 5, "com.microsoft": 1}

_SOME: Final = 1_000_000  # bytes of weights
# A program with one of these gains by a graphics processor; with one of ONNX-ML it stays on the processor anyway.
_HEAVY: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "com.microsoft.FusedMatMul"})


def program(opened: Artifact) -> tuple[Variant, gate.ProgramFacts]:
    """The variant that a browser runs, and what is in it.

    Raises:
        SetsailError: `ship.unsupported` with what the browser lacks.
    """
    variant = next((v for v in opened.variants if v.format == "onnx"), None)
    if variant is None:
        have = ", ".join(f"{v.id} ({v.format})" for v in opened.variants)
        raise _unsupported(f"{opened.name} has no ONNX program", have, "an ONNX variant",
                           "serve it, or ship it --to container: native libraries do not run in browsers")  # fmt: skip
    facts = gate.inspect(opened.files(variant.id), variant.entry)
    for domain, version in sorted(facts.opsets.items()):
        if version > NEWEST.get(domain, version):
            raise _unsupported(f"the program uses operators of {domain or 'ai.onnx'} {version}, which onnxruntime-web "
                               "does not know yet", version, f"at most {NEWEST[domain]}",
                               "serve it, or ship it --to container")  # fmt: skip
    inner = opened.processing.inner(opened.signature)
    _values((*opened.signature.inputs, *opened.signature.outputs, *inner.inputs, *inner.outputs))
    _steps(opened.processing.steps, opened.processing.files)
    return variant, facts


def _values(specs: Iterable[TensorSpec]) -> None:
    for spec in specs:
        if spec.content == "request":
            raise _unsupported(f"input {spec.name!r} is a whole request, for code that runs on a server", spec.content,
                               "tensors", "serve it")  # fmt: skip
        if spec.dtype.name == "float16":
            raise _unsupported(f"{spec.name!r} is of float16, which not all browsers have", spec.dtype.name,
                               "float32", "convert the model with float32 inputs and outputs")  # fmt: skip


def _steps(steps: Iterable[Step], files: Mapping[str, Any]) -> None:
    for step in steps:
        if step.kind not in STEPS:
            raise _unsupported(f"the step {step.kind} is not implemented in the browser", step.kind, ", ".join(STEPS),
                               "serve it, or ship it --to container")  # fmt: skip
        if step.kind == "text.tokenize":
            found = unlike(bytes(files[step.options["file"]]), len(step.inputs))
            if found:
                raise _unsupported(f"the tokenizer has {found}, which splits otherwise in the browser than here", found,
                                   None, "serve it, or ship it --to container")  # fmt: skip


def accelerated(facts: gate.ProgramFacts) -> bool:
    """Whether WebGPU is worth its larger download: for networks of some size, not for trees and tables."""
    heavy = facts.tensor_bytes >= _SOME and facts.operators.keys() & _HEAVY
    return bool(heavy) and not any(
        name.startswith(("ai.onnx.ml.", "String", "RegexFullMatch")) for name in facts.operators
    )


def _unsupported(what: str, value: object, expected: str | None, todo: str) -> SetsailError:
    return SetsailError("ship.unsupported", what, field="--to", value=value, expected=expected, todo=todo)
