"""An MLflow model directory to a Conversion: the converter of the file inside, with what the directory knows.

Carried over: the input example as the rows that parity is checked on, the names of columns, and which output is the
answer. Left behind: identifiers of runs and models, paths, times. What the file was saved with is compared with what is
installed here.
"""

from __future__ import annotations

from dataclasses import replace

from setsail.convert import registry, sniff
from setsail.convert.conversion import Conversion, Intent, Probe
from setsail.convert.formats import FORMATS, Source
from setsail.convert.mlflow import example, pipelines, versions
from setsail.convert.mlflow.flavours import SECOND, Inner, answer, find
from setsail.convert.mlflow.schema import Schema, merge, note_of, read
from setsail.errors import SetsailError
from setsail.signature import BATCH, TensorSpec
from setsail.steps import Processing, Step

__all__ = ["convert"]


def convert(source: Source, intent: Intent) -> Conversion:
    """Convert a recognised directory.

    Raises:
        SetsailError: `source.trust` where the directory changed since it was recognised; `source.damaged`;
            `convert.input` where signature or example contradict the model; what the file's own converter raises.
    """
    now = sniff.recognise(source.path)
    _, inner = find(source.path)
    if inner is None or now.inner is None or now.trust != source.trust:
        raise SetsailError("source.trust", f"{source.path.name} is not what it was when it was recognised",
                           field="trust", value=now.trust, expected=source.trust)  # fmt: skip
    document, takes, gives = inner.document, read(inner.document.inputs), read(inner.document.outputs)
    _check_parameters(inner)
    rows, note = (None, "") if intent.example is not None else example.read(document, takes)
    made = _converted(now.inner, inner, _told(inner, intent, takes, rows), intent, given=rows is not None)
    signature, notes = merge(takes, made.signature)
    made = _answering(replace(made, signature=signature), answer(inner, made))
    if inner.flavour == pipelines.FLAVOUR:
        made, more = pipelines.answering(inner.document, made)
        notes = (*notes, more)
    told = (
        f"from an MLflow directory, flavour {inner.flavour}" + (f", MLflow {document.mlflow}" * bool(document.mlflow)),
        note, *notes, note_of(gives, made.signature), _parameters_note(inner), *versions.notes(document, made.versions),
    )  # fmt: skip
    return replace(made, notes=(*made.notes, *(text for text in told if text)))


def _converted(source: Source, inner: Inner, told: Intent, intent: Intent, *, given: bool) -> Conversion:
    """Convert the file. What only the schema says of inputs is left out again where the model knows better."""
    try:
        if inner.flavour == pipelines.FLAVOUR:  # its tokenizer lies elsewhere
            converter = registry.entry(FORMATS[source.format].converter, "transformers")
            made: Conversion = converter(source.path, told, pipelines.apart(inner.document))
            return made
        return registry.from_file(source, told)
    except SetsailError as fault:
        if given and fault.field == "example":
            raise example.explain(fault) from fault
        if fault.field != "--input" or intent.inputs or not told.inputs:
            raise
    return registry.from_file(source, replace(told, inputs=()))


def _told(inner: Inner, intent: Intent, takes: Schema, rows: object) -> Intent:
    """What the person said, and where they did not, what the directory says."""
    given = intent.example if intent.example is not None else rows
    inputs, told = intent.inputs, inner.row.told
    stated = told == "always" and bool(takes.tensors)
    if not inputs and (stated or (given is None and told != "never")):
        inputs = takes.table() if told == "dtype" else takes.specs()
    return replace(intent, example=given, inputs=inputs, framework=None)


def _check_parameters(inner: Inner) -> None:
    if inner.document.params and inner.row.params:
        names = [str(spec.get("name")) for spec in inner.document.params]
        raise SetsailError(
            "convert.unsupported", "what MLflow answers depends on parameters of the request, which a packed model has "
            "none of", field="params", value=names, expected="a signature without params",
            todo="save the model without params, or serve the directory as it is with --trust pyfunc",
        )  # fmt: skip


def _parameters_note(inner: Inner) -> str:
    names = ", ".join(str(spec.get("name")) for spec in inner.document.params)
    return f"parameters of the signature, which MLflow does not hand to this flavour: {names}" if names else ""


def _answering(made: Conversion, output: str) -> Conversion:
    """The default output is MLflow's answer."""
    signature = made.signature
    if output and output != SECOND:
        return replace(made, signature=replace(signature, defaults=(output,)))
    if not output:
        return made
    both = signature.output("probabilities")
    one = TensorSpec("prediction", both.dtype, (BATCH,))
    steps = (*made.processing.steps, Step("scores.one", ("probabilities",), ("prediction",), {"position": 1}))
    inner = made.processing.inner(signature)
    return replace(
        made,
        signature=replace(signature, outputs=(*signature.outputs, one), defaults=("prediction",)),
        processing=Processing(steps, inner, made.processing.files),
        probes=tuple(_with_second(probe) for probe in made.probes),
    )


def _with_second(probe: Probe) -> Probe:
    return replace(probe, outputs={**probe.outputs, "prediction": probe.outputs["probabilities"][:, 1]})
