"""Pre- and post-processing as data.

A step is what happens to a request before the program sees it, or to the program's answer before the client does:
decoding an image, splitting a text into tokens, turning scores into labels. It travels in the manifest as a kind and
options, files it needs travel in the artifact's folder `steps/`, and every destination implements it; in Python that is
`runtime/steps/`. None of it is code.

A step reads tensors by name and gives others, in the manner of a graph's node: what it gives replaces what had the
name before. `before` steps begin with the signature's inputs and must end with all the program takes; `after` steps
begin with the program's outputs and must end with the signature's. Between steps a tensor may be what no wire could
carry, e.g. a `[N]` array of images of different sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from msgspec import Struct
from msgspec import field as option

from setsail.errors import SetsailError
from setsail.signature import Signature

__all__ = ["NONE", "SCHEMAS", "Processing", "Schema", "Step"]

Check = Callable[[Any], bool]
"""Whether a value is allowed. Its docstring says which are, for docs/steps.md and for the fault."""


def _one_of(*allowed: Any) -> Check:
    def check(value: Any) -> bool:
        return any(value is a or (type(value) is type(a) and value == a) for a in allowed)

    check.__doc__ = " or ".join("null" if a is None else f'"{a}"' for a in allowed)
    return check


def _truth(value: Any) -> bool:
    """true or false"""
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    """a positive integer"""
    return type(value) is int and 0 < value < 1 << 31


def _place(value: Any) -> bool:
    """an integer, 0 or more"""
    return type(value) is int and 0 <= value < 1 << 31


def _whole(value: Any) -> bool:
    """an integer"""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _number(value: Any) -> bool:
    """a number"""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _numbers(value: Any) -> bool:
    """a list of numbers"""
    return isinstance(value, list | tuple) and bool(value) and all(map(_number, value))


def _some(value: Any) -> bool:
    """a number, or a list of numbers"""
    return _number(value) or _numbers(value)


def _filling(value: Any) -> bool:
    """a number, a text, or a list of numbers"""
    return _text(value) or _some(value)


def _text(value: Any) -> bool:
    """a text"""
    return isinstance(value, str)


def _parts(value: Any) -> bool:
    """a list of "ids", "mask" and "types", one for each output"""
    return isinstance(value, list | tuple) and bool(value) and all(v in ("ids", "mask", "types") for v in value)


def _cells(value: Any) -> bool:
    """a list of texts or integers"""
    return isinstance(value, list | tuple) and bool(value) and all(_text(v) or _whole(v) for v in value)


def _two(value: Any) -> bool:
    """a list of two texts or integers"""
    return _cells(value) and len(value) == 2


class Schema(NamedTuple):
    """What a kind of step may say.

    Attributes:
        after: whether it is done to the program's answer; otherwise to the request.
        required, optional: option -> whether its value is allowed.
        files: those options that name a file of the artifact.
        extra: of setsail, which installs what the Python implementation needs; "" where nothing is.
    """

    required: Mapping[str, Check] = {}
    optional: Mapping[str, Check] = {}
    after: bool = False
    files: tuple[str, ...] = ()
    extra: str = ""


# An unknown kind or option is refused when an artifact is read. docs/steps.md says what each does, exactly.
SCHEMAS: Final[Mapping[str, Schema]] = {
    # texts [N] -> texts [N], as scikit-learn's vectorisers prepare them, without the white space around them
    "text.normalize": Schema(
        {}, {"strip": _truth, "lowercase": _truth, "strip_accents": _one_of(None, "ascii", "unicode")},
    ),
    # texts [N] (and their partners [N]) -> for each of the outputs, int64 [N, T]; `makes` says what each output is
    "text.tokenize": Schema(
        {"file": _text, "makes": _parts},
        {"max_length": _count, "pad_to": _count, "pad_id": _whole, "pad_type": _whole, "max_characters": _count,
         "pad_side": _one_of("right", "left"), "truncate_side": _one_of("right", "left")},
        files=("file",), extra="text",
    ),
    # bytes [N] -> images [N], each [height, width, channels] of uint8
    "image.decode": Schema(
        {"mode": _one_of("RGB", "L")},
        {"max_pixels": _count, "rotate": _truth, "alpha": _one_of("drop", "white")}, extra="image",
    ),
    # images [N] -> images [N]
    "image.resize": Schema(
        {"resample": _one_of("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")},
        {"height": _count, "width": _count, "shortest": _count, "longest": _count}, extra="image",
    ),
    "image.crop": Schema({"height": _count, "width": _count}, {"middle": _one_of("down", "even")}),
    # images [N] -> images [N] of float32: (value * factor - mean) / std, a mean and a std for each channel
    "image.scale": Schema({}, {"factor": _number, "mean": _numbers, "std": _numbers}),
    # images [N] of one size -> a tensor
    "image.stack": Schema({"layout": _one_of("NCHW", "NHWC", "NHW")}, {"dtype": _one_of("uint8", "float32")}),
    # columns [N] -> one matrix [N, columns]
    "table.stack": Schema({"dtype": _one_of("float32", "float64")}),
    # a column [N] of text or integers -> its level's number; `unknown` and `missing` are given for what is none
    "table.levels": Schema(
        {"levels": _cells, "dtype": _one_of("int32", "int64", "float32", "float64")},
        {"unknown": _number, "missing": _number, "unknown_nan": _truth, "missing_nan": _truth},
    ),
    # a column or matrix: NaN or null becomes `value`, one or one a column
    "table.impute": Schema({"value": _filling}),
    # scores [N, classes] -> the same, summing to 1; or each between 0 and 1
    "scores.softmax": Schema(after=True),
    "scores.sigmoid": Schema(after=True),
    # scores [N] or [N, 1] of the second class -> [N, 2]
    "scores.pair": Schema(after=True),
    # scores [N, classes] -> those of one class [N]
    "scores.one": Schema({"position": _place}, after=True),
    # scores [N, classes] -> the label of the greatest [N]
    "scores.label": Schema({"labels": _cells}, after=True),
    # scores [N, classes] -> the k greatest [N, k] and their labels [N, k]
    "scores.top": Schema({"k": _count, "labels": _cells}, after=True),
    # scores [N] or [N, classes] -> whether above, a label for each: labels[0] below, labels[1] above
    "scores.threshold": Schema({"at": _number, "labels": _two}, after=True),
    # values -> values * factor + offset, one or one a column: what undoes the scaling of a target
    "values.scale": Schema({}, {"factor": _some, "offset": _some}, after=True),
    "values.map": Schema({"function": _one_of("exp", "expm1", "log", "log1p", "square", "sqrt")}, after=True),
}  # fmt: skip


class Step(Struct, frozen=True):
    """One step: its kind (a key of SCHEMAS), what it reads, what it gives, and its options.

    Without `outputs` it gives what it reads, changed.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    options: Mapping[str, Any] = option(default_factory=dict)

    def __post_init__(self) -> None:
        schema = SCHEMAS.get(self.kind)
        if schema is None:
            raise SetsailError("artifact.requires", "the model needs a step we do not have", field="steps",
                               value=self.kind, expected=", ".join(SCHEMAS))  # fmt: skip
        known = {**schema.required, **schema.optional}
        for name, value in self.options.items():
            if name not in known or not known[name](value):
                told = str(known[name].__doc__) if name in known else ", ".join(known)
                raise SetsailError("artifact.field", f"step {self.kind!r} has a bad option {name!r}", field="steps",
                                   value=value, expected=told)  # fmt: skip
        for name in schema.required:
            if name not in self.options:
                raise SetsailError("artifact.field", f"step {self.kind!r} lacks its option {name!r}", field="steps",
                                   value=sorted(self.options), expected=name)  # fmt: skip

    @property
    def gives(self) -> tuple[str, ...]:
        return self.outputs or self.inputs

    @property
    def after(self) -> bool:
        return SCHEMAS[self.kind].after

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the artifact that it needs, below `steps/`."""
        return tuple(str(self.options[name]) for name in SCHEMAS[self.kind].files if name in self.options)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "inputs": list(self.inputs), "outputs": list(self.outputs),
                "options": dict(self.options)}  # fmt: skip

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Step:
        """The inverse of `to_json`. The caller has checked the form. Raises `artifact.requires` or `artifact.field`."""
        return cls(body["kind"], tuple(body["inputs"]), tuple(body["outputs"]), body["options"])


@dataclass(frozen=True, slots=True)
class Processing:
    """What is done around a program.

    Attributes:
        program: what the program itself takes and gives; None where that is the signature.
        files: content of the files that steps name, by name.
    """

    steps: tuple[Step, ...] = ()
    program: Signature | None = None
    files: Mapping[str, bytes | memoryview] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def unbounded(self) -> bool:
        """Whether what a client sends decides how long a row takes: pixels to decode, a text to split."""
        return any(step.kind in ("image.decode", "text.tokenize") for step in self.steps)

    @property
    def before(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not step.after)

    @property
    def after(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.after)

    def inner(self, signature: Signature) -> Signature:
        """The program's own contract. A model's signature says what is done around it as well."""
        return self.program or signature

    def check(self, signature: Signature) -> None:
        """Follow the names from the signature's inputs to its outputs.

        Raises:
            SetsailError: `artifact.field` for a step that reads what is not there yet, a program or a signature that
                lacks something in the end, a step out of its place, or a file that is not there or not used.
        """
        inner = self.inner(signature)
        if self.steps != self.before + self.after:
            _refuse("a step on the answer stands before one on the request", [s.kind for s in self.steps], None)
        have = _followed(self.before, {spec.name for spec in signature.inputs})
        _covers("the program's input", [spec.name for spec in inner.inputs], have)
        have = _followed(self.after, {spec.name for spec in inner.outputs})
        _covers("the output", [spec.name for spec in signature.outputs], have)
        named = {name for step in self.steps for name in step.files}
        if named != set(self.files):
            _refuse("the steps' files are not those there are", sorted(self.files), ", ".join(sorted(named)) or "none")

    def to_json(self) -> dict[str, Any]:
        """Without the files' content."""
        program = None if self.program is None else self.program.to_json() | {"defaults": list(self.program.defaults)}
        return {"steps": [step.to_json() for step in self.steps], "program": program}

    @classmethod
    def from_json(cls, body: Mapping[str, Any], files: Mapping[str, bytes | memoryview]) -> Processing:
        """The inverse of `to_json`, with the files. The caller has checked the form."""
        program = body["program"]
        return cls(
            tuple(map(Step.from_json, body["steps"])),
            None if program is None else Signature.from_json(program, tuple(program["defaults"])), files,
        )  # fmt: skip


NONE: Final = Processing()


def _followed(steps: Sequence[Step], have: set[str]) -> set[str]:
    have = set(have)
    for step in steps:
        for name in step.inputs:
            if name not in have:
                _refuse(f"step {step.kind!r} reads {name!r}, which is not there", name, ", ".join(sorted(have)))
        have.update(step.gives)
    return have


def _covers(what: str, names: Sequence[str], have: set[str]) -> None:
    for name in names:
        if name not in have:
            _refuse(f"no step gives {what} {name!r}", name, ", ".join(sorted(have)))


def _refuse(what: str, value: object, expected: str | None) -> None:
    raise SetsailError("artifact.field", what, field="steps", value=value, expected=expected)
