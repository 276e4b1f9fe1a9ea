"""Steps in Python: what happens around a program (`setsail/steps.py` has the schemas, `docs/steps.md` the meanings).

A kind is one function, named in a table by text and imported when a model has such a step::

    def kind(options, files) -> Callable[[Sequence[Array]], Sequence[Array]]

It is called once when a model is loaded, and reads there what it needs of the files; what it returns is called for
every run with the arrays of the step's inputs, and gives those of its outputs. It never changes an array it was given,
may be called by two threads at once, and does to a row the same whatever the other rows are.

A value it can do nothing with is raised as `UnfitError`, which says in which of the given rows; here it becomes a
fault that names the client's input, the client's row and the step.

Steps on images that stand together are run one row after the other. A picture of a few kilobytes may have a hundred
megabytes of pixels, and only one is held at a time so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from setsail.errors import SetsailError
from setsail.steps import SCHEMAS, Step
from setsail.tensors import Array

__all__ = ["KINDS", "Apply", "Files", "Kind", "UnfitError", "column", "each_input", "misused", "prepare"]

Files = Mapping[str, bytes | memoryview]
Apply = Callable[[Sequence[Array]], Sequence[Array]]
Kind = Callable[[Mapping[str, Any], Files], Apply]

_HERE: Final = "setsail.runtime.steps"
KINDS: Final[Mapping[str, str]] = {
    "text.normalize": f"{_HERE}.text:normalize",
    "text.tokenize": f"{_HERE}.tokens:tokenize",
    "image.decode": f"{_HERE}.pictures:decode",
    "image.resize": f"{_HERE}.pictures:resize",
    "image.crop": f"{_HERE}.image:crop",
    "image.scale": f"{_HERE}.image:scale",
    "image.stack": f"{_HERE}.image:stack",
    "table.stack": f"{_HERE}.table:stack",
    "table.levels": f"{_HERE}.table:levels",
    "table.impute": f"{_HERE}.table:impute",
    "scores.softmax": f"{_HERE}.scores:softmax",
    "scores.sigmoid": f"{_HERE}.scores:sigmoid",
    "scores.pair": f"{_HERE}.scores:pair",
    "scores.one": f"{_HERE}.scores:one",
    "scores.label": f"{_HERE}.scores:label",
    "scores.top": f"{_HERE}.scores:top",
    "scores.threshold": f"{_HERE}.scores:threshold",
    "values.scale": f"{_HERE}.values:scale",
    "values.map": f"{_HERE}.values:mapped",
}
_BY_ROW: Final = frozenset(("image.decode", "image.resize", "image.crop", "image.scale"))
_KEPT: Final = 1 << 30  # bytes that the images of one run may have together, when their steps are done


class UnfitError(Exception):
    """A value that a step can do nothing with.

    `place` is which of the step's inputs had it, where there are several.

    Args:
        code: of the fault it becomes: `input.media`, `input.text` or `input.category`.
        row: of the arrays the step was given.
        what: follows "row 3 ": what is wrong with it.
        facts: `value`, `expected` and `todo` of the fault.
    """

    place = 0

    def __init__(self, code: str, row: int, what: str, **facts: Any) -> None:
        super().__init__(code, what)
        self.code, self.row, self.what, self.facts = code, row, what, facts


def misused(what: str, value: object, expected: str) -> SetsailError:
    """The fault of a step whose options, or whose place, make no sense: a converter's mistake, not a client's."""
    return SetsailError("model.run", what, field="steps", value=value, expected=expected)


def each_input(one: Callable[[Array], Array]) -> Apply:
    """The same done to every input of a step, each giving an output."""

    def apply(arrays: Sequence[Array]) -> Sequence[Array]:
        made = []
        for place, array in enumerate(arrays):
            try:
                made.append(one(array))
            except UnfitError as fault:
                fault.place = place
                raise
        return made

    return apply


def column(values: Sequence[Any]) -> Array:
    """Python objects as an array of one dimension, whatever they are."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):  # a slice would look into arrays of one shape
        array[index] = value
    return array


def prepare(
    steps: Sequence[Step], files: Files, wanted: Collection[str] | None = None
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """What does all of the steps, in order, to tensors by name.

    Args:
        wanted: names that are read when all is done; None for every name. Images nobody reads are let go.

    Raises:
        SetsailError: `dependency.missing` when a step's package is not installed, `model.failed` for a file or an
            option that a step cannot use. What is returned raises `input.media`, `input.text` or `input.category` for a
            value that a step can do nothing with, naming the input, the row and the step.
    """
    ready = [(step, _named(step)(step.options, files)) for step in steps]
    stages: list[Callable[[dict[str, Array], dict[str, str]], None]] = []
    place = 0
    while place < len(ready):
        end = place
        while end < len(ready) and ready[end][0].kind in _BY_ROW:
            end += 1
        if end > place:
            later = {name for step in steps[end:] for name in step.inputs}
            stages.append(_Rows(ready[place:end], None if wanted is None else later | set(wanted)))
        else:
            end = place + 1
            stages.append(_Whole(*ready[place]))
        place = end

    def apply(tensors: Mapping[str, Array]) -> dict[str, Array]:
        done = dict(tensors)
        origin = {name: name for name in done}
        for stage in stages:
            stage(done, origin)
        return done

    return apply


class _Whole:
    """A step that sees all rows at once. `origin` says of a name which of the client's inputs it was made of."""

    def __init__(self, step: Step, function: Apply) -> None:
        self.step, self.function = step, function

    def __call__(self, done: dict[str, Array], origin: dict[str, str], first: int = 0) -> None:
        step = self.step
        try:
            made = self.function([done[name] for name in step.inputs])
        except UnfitError as fault:
            name, row = origin[step.inputs[fault.place]], first + fault.row
            raise SetsailError(
                fault.code, f"step {step.kind}: input {name!r}, row {row}, {fault.what}", field=name, row=row,
                step=step.kind, **fault.facts,
            ) from fault  # fmt: skip
        done.update(zip(step.gives, made, strict=True))
        each = len(step.gives) == len(step.inputs)
        origin.update((name, origin[step.inputs[i if each else 0]]) for i, name in enumerate(step.gives))


class _Rows:
    """Several steps that are each done to a row by itself, one row after the other."""

    def __init__(self, ready: Sequence[tuple[Step, Apply]], kept: Collection[str] | None) -> None:
        self.parts = [_Whole(step, function) for step, function in ready]
        given: list[str] = []
        self.read: list[str] = []
        for step, _ in ready:
            self.read += [name for name in step.inputs if name not in given and name not in self.read]
            given += [name for name in step.gives if name not in given]
        self.gives = [name for name in given if kept is None or name in kept]

    def __call__(self, done: dict[str, Array], origin: dict[str, str]) -> None:
        made: dict[str, list[Array]] = {name: [] for name in self.gives}
        size = 0
        for row in range(len(done[self.read[0]])):
            one = {name: done[name][row : row + 1] for name in self.read}
            for part in self.parts:
                part(one, origin, row)
            for name, rows in made.items():
                rows.append(one[name][0])
                size += one[name][0].nbytes
            if size > _KEPT:
                raise SetsailError(
                    "input.media", f"the request's images take more than {_KEPT >> 20} MiB when they are decoded",
                    field=origin[self.read[0]], value=row + 1, expected="fewer rows", todo="send fewer rows a request",
                    step=self.parts[-1].step.kind,
                )  # fmt: skip
        done.update((name, column(rows)) for name, rows in made.items())


def _named(step: Step) -> Kind:
    module, _, name = KINDS[step.kind].partition(":")
    try:
        function: Kind = getattr(import_module(module), name)
    except ModuleNotFoundError as fault:
        extra = SCHEMAS[step.kind].extra
        line = f'pip install "setsail[{extra}]"'
        raise SetsailError(
            "dependency.missing", f"step {step.kind!r} needs the package {fault.name!r}", field=fault.name,
            todo=f"run: {line}", command=line,
        ) from fault  # fmt: skip
    return function
