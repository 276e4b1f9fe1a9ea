"""From a source that runs to a Conversion: what every TensorFlow entry point ends in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import onnxruntime

from setsail.convert import examples
from setsail.convert.conversion import Conversion, Intent, Probe, Program
from setsail.convert.observed import Observation, Run, Source, observe, one_by_one
from setsail.convert.onnx.program import PROGRAM, seal, unsqueeze
from setsail.convert.onnx.shapes import batched
from setsail.errors import SetsailError
from setsail.signature import BATCH, Dim, Signature, TensorSpec
from setsail.tensors import BY_NAME
from setsail.variants import Variant

if TYPE_CHECKING:  # it imports TensorFlow, which a live model of another backend does without
    from setsail.convert.tensorflow.translation import Translation

__all__ = ["Found", "assemble", "declared", "given"]

_PACKAGES: Final = ("tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "ai-edge-litert")

_UNTRANSLATED: Final = ("convert.unsupported", "dependency.missing")
_CELLS: Final = 1 << 20  # of one input, in the further rows
_COUNTED: Final = re.compile(r"(keras_tensor|input_layer|input|output)(_\d+)?")


@dataclass(frozen=True, slots=True)
class Found:
    """A model of TensorFlow, as its entry point found it.

    Attributes:
        run: arrays by input name -> outputs by name; strings are arrays of `str`.
        inputs: as declared, free dimensions None; the first dimension is the batch where it is free, or 1.
        trace: the translation, for a free batch (None), or a batch of 1.
        estimator: class or architecture, for people.
        framework: "keras", "tensorflow" or "tflite".
        notes: what a reader of the artifact should know.
        native: signature, and a fixed batch -> programs beside the translation, to be tried after it and without it.
        rows: how many more probe rows are worth drawing, where a translation that differs may seldom differ.
    """

    run: Run
    inputs: tuple[TensorSpec, ...]
    trace: Callable[[int | None], Translation]
    estimator: str
    framework: str
    notes: tuple[str, ...] = ()
    native: Callable[[Signature, int | None], tuple[Program, ...]] | None = None
    rows: int = 0


def assemble(found: Found, intent: Intent) -> Conversion:
    """Observe the source, translate it, seal the program.

    Raises:
        SetsailError: `convert.run`, `convert.input`, `convert.unsupported`.
    """
    specs, single = batched(found.inputs, shared=True)
    translation = found.trace(None)
    specs = tuple(replace(s, categories=translation.levels.get(s.name, s.categories)) for s in specs)
    example, specs = examples.given(intent.example, specs)
    source = Source(found.run, specs, example, intent.seed)
    seen, batch = _observe(source, intent, single=single)
    signature = seen.signature
    programs: tuple[Program, ...] = ()
    try:
        translated, notes = _translated(found, translation, seen, batch)
        programs = (translated,)
    except SetsailError as fault:
        if found.native is None or fault.code not in _UNTRANSLATED:
            raise
        notes = (f"no ONNX program: {fault.what}",)
    if found.native is not None:
        programs += found.native(signature, batch)
    return Conversion(
        framework=found.framework, versions=_versions(), estimator=found.estimator, kind="tensors",
        signature=signature, programs=programs, probes=(*_more(source, seen, found, single=single), *seen.probes),
        notes=(*found.notes, *notes),
    )  # fmt: skip


def _translated(
    found: Found, translation: Translation, seen: Observation, batch: int | None
) -> tuple[Program, tuple[str, ...]]:
    """The ONNX program, and what is to be said about it."""
    signature, notes = seen.signature, tuple[str, ...]()
    files = _sealed(translation, seen, batch)
    if batch is None and signature.batched and (fault := _fails(files, seen)):
        # what is right at one row may still be had: loops over a batch are what tf2onnx gets wrong most
        files, batch = _sealed(found.trace(1), seen, 1), 1
        notes = (f"fixed batch of 1: {fault}",)
    doubles = any(s.dtype.name == "float64" for s in (*signature.inputs, *signature.outputs))
    return Program(Variant("onnx", "onnx", "float64" if doubles else "float32", PROGRAM, max_batch=batch), files), notes


def _more(source: Source, seen: Observation, found: Found, *, single: bool) -> Iterator[Probe]:
    """More rows than `observe` draws, as far as they are worth their memory."""
    if found.rows and seen.signature.batched:
        widest = max(int(a[0].size) for a in source.draw(1, seen.sizes).values())
        drawn = source.draw(min(found.rows, _CELLS // max(1, widest)), seen.sizes, seed=4)
        run = one_by_one(source.run) if single else source.run
        if len(next(iter(drawn.values()))):
            yield Probe("synthetic", drawn, run(drawn))


def _sealed(translation: Translation, seen: Observation, batch: int | None) -> dict[str, bytes]:
    signature = seen.signature
    proto = translation.model([s.name for s in signature.outputs])
    unsqueeze(proto, seen.squeezed)
    return seal(proto, signature.inputs, signature.outputs, batch=batch)


def _fails(files: Mapping[str, bytes], seen: Observation) -> str | None:
    """Why a program does not run on the probes' rows, alone and together; None where it does."""
    if len(files) > 1:
        return None  # its weights lie beside it: the trial of whoever packs it will tell
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(files[PROGRAM], options, providers=["CPUExecutionProvider"])
        for probe in seen.probes:
            session.run(None, {name: array[:1] for name, array in probe.inputs.items()})
            session.run(None, dict(probe.inputs))
    except Exception as fault:
        return str(fault).strip().partition("\n")[0][:200]
    return None


def _observe(source: Source, intent: Intent, *, single: bool) -> tuple[Observation, int | None]:
    """A batch of 1 in the declaration is run row by row, and the program's batch stays 1: the server splits."""
    if single:
        return observe(replace(source, run=one_by_one(source.run)), intent.labels), 1
    return observe(source, intent.labels), None


def declared(
    rows: Sequence[tuple[str, str, Sequence[int | None] | None]], intent: Intent, *, framework: str
) -> tuple[TensorSpec, ...]:
    """The specs of inputs that a model declares, `--input` saying what it leaves open.

    Args:
        rows: name, dtype's name, and shape with None for a free dimension; None where not even the rank is known.

    Raises:
        SetsailError: `convert.unsupported` for a dtype we have none for, `convert.example` for an input without a
            rank, `convert.input` where `--input` contradicts the model.
    """
    asked = {s.name: s for s in intent.inputs}
    if len(asked) == len(rows) == 1 and rows[0][0] not in asked:  # one input each: the model's name holds
        asked = {rows[0][0]: replace(next(iter(asked.values())), name=rows[0][0])}
    for name in asked.keys() - {name for name, _, _ in rows}:
        raise SetsailError("convert.input", f"the model has no input {name!r}", field="--input",
                           value=str(asked[name]), expected=", ".join(name for name, _, _ in rows))  # fmt: skip
    return tuple(_spec(name, dtype, shape, asked.get(name), framework) for name, dtype, shape in rows)


def given(names: Sequence[str], word: str = "input") -> list[str]:
    """Names that a person gave. What Keras counts up in a session becomes `input`, or `input_0`, `input_1`, …"""
    if len(names) == 1:
        return [word if _COUNTED.fullmatch(names[0]) else names[0]]
    return [f"{word}_{i}" if _COUNTED.fullmatch(n) else n for i, n in enumerate(names)]


def _spec(
    name: str, dtype: str, shape: Sequence[int | None] | None, asked: TensorSpec | None, framework: str
) -> TensorSpec:
    if dtype not in BY_NAME:
        raise SetsailError("convert.unsupported", f"input {name!r} has dtype {dtype}", field=name,
                           expected=", ".join(BY_NAME), todo=f"cast inside the {framework} model")  # fmt: skip
    if shape is None:
        if asked is None:
            raise SetsailError("convert.example", f"input {name!r} has no shape", field=name,
                               expected=f'--input "{name}:{dtype}[*,…]"')  # fmt: skip
        shape = tuple(d if isinstance(d, int) else None for d in asked.shape)
    own: tuple[Dim, ...] = tuple(
        d if d is not None else BATCH if axis == 0 else f"{name}_{axis}" for axis, d in enumerate(shape)
    )
    if asked is None:
        return TensorSpec(name, BY_NAME[dtype], own)
    same = len(own) == len(asked.shape) and all(
        isinstance(have, str) or have == want for have, want in zip(own, asked.shape, strict=True)
    )
    if not same or asked.dtype.name != dtype:
        raise SetsailError("convert.input", "an --input text contradicts the model", field="--input", value=str(asked),
                           expected=str(TensorSpec(name, BY_NAME[dtype], own)))  # fmt: skip
    return replace(asked, name=name)


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
