"""The `transformers` flavour: a pipeline, of which the model lies in one folder and the tokenizer in another.

It is packed where it is of a task that our converter has, with whole weights beside it. Any other (text generation, an
adapter, weights that are only named) is its `python_function`, which is served and not packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from setsail.convert.conversion import Conversion, Probe
from setsail.convert.mlflow.document import Document, inside
from setsail.signature import BATCH, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME

__all__ = ["FLAVOUR", "answering", "apart", "is_packed"]

FLAVOUR: Final = "transformers"
_TEXT: Final = BY_NAME["string"]
_CLASSES: Final = ("text-classification", "sentiment-analysis")
# Task -> what the name of its architecture ends with: a task that treats another kind of model its own way is none.
_TASKS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_CLASSES, "ForSequenceClassification"),
    "token-classification": "ForTokenClassification", "ner": "ForTokenClassification",
    "image-classification": "ForImageClassification", "feature-extraction": "Model",
}  # fmt: skip
# A component of the pipeline -> what it is to the converter.
_PARTS: Final[Mapping[str, str]] = {
    "tokenizer": "tokenizer", "image_processor": "processor", "feature_extractor": "processor",
}  # fmt: skip
_HARMLESS: Final = ("batch_size", "device")  # of `model_config`: they change no answer


def is_packed(document: Document) -> bool:
    """Whether a pipeline can be a program; what it says of itself decides, no file is opened."""
    options = document.flavours[FLAVOUR]
    end = _TASKS.get(str(options.get("task")))
    config = (document.pyfunc or {}).get("model_config") or options.get("model_config") or {}
    return bool(
        end
        and str(options.get("pipeline_model_type", "")).endswith(end)
        and isinstance(options.get("model_binary"), str)
        and not options.get("peft_adaptor")
        and not (set(config) - set(_HARMLESS))
    )


def apart(document: Document) -> dict[str, Path]:
    """The folders of the pipeline's other parts. Raises `source.damaged`."""
    named = document.flavours[FLAVOUR].get("components") or []
    found = {
        part: inside(document.folder, f"components/{name}") for name, part in _PARTS.items()
        if isinstance(named, list) and name in named
    }  # fmt: skip
    if (document.folder / "components" / "processor").is_dir():
        found.setdefault("processor", inside(document.folder, "components/processor"))
    return found


def answering(document: Document, made: Conversion) -> tuple[Conversion, str]:
    """With what MLflow answers to be the default output where it is a label and its score; elsewhere a note."""
    task, signature = document.flavours[FLAVOUR].get("task"), made.signature
    labels = next((spec.labels for spec in signature.outputs if spec.name == "probabilities"), ())
    if task not in _CLASSES or not labels:
        answers = ", ".join(signature.defaults)
        return made, f"MLflow answers {task} in the words of the pipeline; here the answer is {answers}"
    scores, given = signature.output("probabilities"), [spec.name for spec in signature.outputs]
    more: list[TensorSpec] = [TensorSpec("score", scores.dtype, (BATCH,))]
    steps = [
        Step("scores.top", ("probabilities",), ("score", "best"), {"labels": list(labels), "k": 1}),
        Step("scores.one", ("score",), (), {"position": 0}),
    ]
    if "label" not in given:
        more.insert(0, TensorSpec("label", _TEXT, (BATCH,), labels=labels))
        steps.append(Step("scores.label", ("probabilities",), ("label",), {"labels": list(labels)}))
    processing = made.processing
    return replace(
        made,
        signature=replace(signature, outputs=(*signature.outputs, *more), defaults=("label", "score")),
        processing=Processing((*processing.steps, *steps), processing.inner(signature), processing.files),
        probes=tuple(_with_best(probe, labels) for probe in made.probes),
    ), ""


def _with_best(probe: Probe, labels: tuple[str, ...]) -> Probe:
    """The source's scores as its pipeline tells them: the greatest, and whose it is."""
    scores = probe.outputs["probabilities"]
    label = np.array(labels, dtype=object)[scores.argmax(axis=-1)]
    return replace(probe, outputs={"label": label, **probe.outputs, "score": scores.max(axis=-1)})
