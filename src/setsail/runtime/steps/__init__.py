"""Steps in Python: what happens around a program (`setsail/steps.py` has the schemas, `docs/steps.md` the meanings).

A kind is one function, named in a table by text and imported when a model has such a step::

    def kind(options, files) -> Callable[[Sequence[Array]], Sequence[Array]]

It is called once when a model is loaded, and reads there what it needs of the files; what it returns is called for
every run with the arrays of the step's inputs, and gives those of its outputs. It never changes an array it was given,
may be called by two threads at once, and does to a row the same whatever the other rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.steps import SCHEMAS, Step
from setsail.tensors import Array

__all__ = ["KINDS", "Apply", "Files", "prepare"]

Files = Mapping[str, bytes | memoryview]
Apply = Callable[[Sequence[Array]], Sequence[Array]]

KINDS: Final[Mapping[str, str]] = {
    "text.normalize": "setsail.runtime.steps.text:normalize",
}


def prepare(steps: Sequence[Step], files: Files) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """What does all of the steps, in order, to tensors by name.

    Raises:
        SetsailError: `dependency.missing` when a step's package is not installed, `model.failed` for a file that a step
            cannot read. What is returned raises `input.media` or `input.text` for a value a step can do nothing with,
            naming the input and the row.
    """
    ready = [(step, _named(step)(step.options, files)) for step in steps]

    def apply(tensors: Mapping[str, Array]) -> dict[str, Array]:
        done = dict(tensors)
        for step, function in ready:
            made = function([done[name] for name in step.inputs])
            done.update(zip(step.gives, made, strict=True))
        return done

    return apply


def _named(step: Step) -> Callable[[Mapping[str, Any], Files], Apply]:
    module, _, name = KINDS[step.kind].partition(":")
    try:
        function: Callable[[Mapping[str, Any], Files], Apply] = getattr(import_module(module), name)
    except ModuleNotFoundError as fault:
        extra = SCHEMAS[step.kind].extra
        line = f'pip install "setsail[{extra}]"'
        raise SetsailError(
            "dependency.missing", f"step {step.kind!r} needs the package {fault.name!r}", field=fault.name,
            todo=f"run: {line}", command=line,
        ) from fault  # fmt: skip
    return function
