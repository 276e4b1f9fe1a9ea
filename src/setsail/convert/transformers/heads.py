"""What a model answers, by its task: the module that is exported, the steps on its answer, the outputs clients see.

A task is told by the end of the architecture's name (`BertForSequenceClassification`). What transformers' own
pipeline of that task does to the scores (softmax, sigmoid, nothing) is done here too.

Outputs with a row for each token have a fixed number of them, zeros behind a text's own: a longer text beside it in a
batch must not change the shape of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from setsail.convert.transformers.pooling import Pooling
from setsail.errors import SetsailError
from setsail.signature import BATCH, TensorSpec
from setsail.steps import Step
from setsail.tensors import BY_NAME, Array

__all__ = ["PAIR", "Head", "Task", "head", "task_of"]

_F32, _I64, _TEXT = (BY_NAME[n] for n in ("float32", "int64", "string"))
PAIR: Final = "text_pair"


@dataclass(frozen=True, slots=True)
class Task:
    """A task of transformers: the end of its architectures' names, and what it takes: `text` or `image`."""

    name: str
    takes: tuple[str, ...]


# The end of a class name -> the task. Longest first, for the bare model is the end of none but itself.
TASKS: Final[Mapping[str, Task]] = {
    "ForSequenceClassification": Task("text classification", ("text",)),
    "ForTokenClassification": Task("token classification", ("text",)),
    "ForImageClassification": Task("image classification", ("image",)),
    "ForImageClassificationWithTeacher": Task("image classification", ("image",)),
    "Model": Task("embeddings", ("text", "image")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """How a task's answers come about.

    Attributes:
        module: what is exported: takes the tensors, gives a tensor for each of `program`.
        kind: a row of `convert/outputs.py`.
        program: outputs of the program; `outputs`: those of the signature, after `steps`.
        finish: the same as `steps`, done to the source's answer by torch.
        labels: texts that an integer output of the program stands for, by output name: the program gives the texts.
    """

    module: torch.nn.Module
    kind: str
    program: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    defaults: tuple[str, ...]
    steps: tuple[Step, ...]
    finish: Callable[[Mapping[str, torch.Tensor]], dict[str, Array]]
    labels: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def task_of(architecture: str) -> Task:
    """Raises `source.llm` for generating language models, `convert.unsupported` for other tasks, by name."""
    if architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        raise SetsailError("source.llm", f"{architecture} is a generating language model", value=architecture,
                           expected="a model that answers in one pass")  # fmt: skip
    for end, task in TASKS.items():
        if architecture.endswith(end):
            return task
    raise SetsailError("convert.unsupported", f"{architecture} is of a task that is not converted",
                       field="architectures", value=architecture, expected="…" + ", …".join(TASKS),
                       todo="export it to ONNX, then pack the .onnx file")  # fmt: skip


def head(model: Any, task: Task, length: int, labels: Sequence[str], pooling: Pooling | None, seen: Any) -> Head:
    """The head of a loaded model.

    Args:
        length: to which outputs with a row for each token are filled up; 0 for a model of pictures.
        labels: `--labels`, instead of the model's own.
        pooling: of a directory of sentence-transformers.
        seen: the model's own answer to some rows, a mapping of tensors.
    """
    if task.name == "embeddings":
        return _pooled(model, pooling) if pooling else _embeddings(model, length, seen)
    if task.name == "token classification":
        return _tokens(model, length, names(model.config, labels))
    return _classes(model, names(model.config, labels))


def names(config: Any, labels: Sequence[str]) -> tuple[str, ...]:
    """Class labels in order. Raises `convert.input` where they are not one a class, each its own."""
    own = {int(k): str(v) for k, v in (config.id2label or {}).items()}
    found = tuple(labels) or tuple(own.get(i, f"LABEL_{i}") for i in range(config.num_labels))
    if len(found) != config.num_labels or len(set(found)) != len(found):
        raise SetsailError("convert.input", f"the model has {config.num_labels} classes, which need a label each",
                           field="--labels", value=list(found), expected=f"{config.num_labels} different labels",
                           todo="pass --labels a,b,c")  # fmt: skip
    return found


# -- classes of a whole text or picture --------------------------------------------------------------------------------


class _Call(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    """A model of which some fields are wanted: the program's name -> the field."""

    def __init__(self, model: Any, wanted: Mapping[str, str]) -> None:
        super().__init__()
        self.model, self.wanted = model, dict(wanted)

    def forward(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        answer = self.model(**tensors, return_dict=True)
        return {name: answer[field] for name, field in self.wanted.items()}


def _activation(config: Any) -> str:
    """What the pipeline of transformers does to the scores."""
    kept = getattr(config, "sentence_transformers", None)
    chosen = str(kept.get("activation_fn", "")) if isinstance(kept, dict) else ""
    if chosen.endswith(".Identity") or config.problem_type == "regression":
        return "none"
    if chosen and not chosen.endswith(".Sigmoid"):
        raise SetsailError("convert.unsupported", "the scores go through a function we do not have",
                           field="activation_fn", value=chosen, expected="Identity or Sigmoid")  # fmt: skip
    several = config.problem_type == "multi_label_classification" or config.num_labels == 1
    return "sigmoid" if several or chosen else "softmax"


def _classes(model: Any, labels: tuple[str, ...]) -> Head:
    how, count = _activation(model.config), len(labels)
    if how == "none":
        spec = TensorSpec("prediction", _F32, (BATCH, count), labels=labels if count > 1 else ())
        return replace(_plain(_Call(model, {"prediction": "logits"}), (spec,), ()), kind="regressor")
    call = _Call(model, {"logits": "logits"})
    logits = TensorSpec("logits", _F32, (BATCH, count))
    scores = TensorSpec("probabilities", _F32, (BATCH, count), labels=labels)
    first = Step(f"scores.{how}", ("logits",), ("probabilities",))
    if how == "sigmoid":  # any number of labels may hold at once, so that none is the answer

        def apart(seen: Mapping[str, torch.Tensor]) -> dict[str, Array]:
            return {"probabilities": torch.sigmoid(seen["logits"]).numpy()}

        return Head(call, "tensors", (logits,), (scores,), ("probabilities",), (first,), apart, {})

    def best(seen: Mapping[str, torch.Tensor]) -> dict[str, Array]:
        scores = torch.softmax(seen["logits"], -1)
        return {"label": texts([labels[i] for i in scores.argmax(-1).tolist()]), "probabilities": scores.numpy()}

    second = Step("scores.label", ("probabilities",), ("label",), {"labels": list(labels)})
    label = TensorSpec("label", _TEXT, (BATCH,), labels=labels)
    return Head(call, "classifier", (logits,), (label, scores), ("label",), (first, second), best, {})


def texts(values: Sequence[str]) -> Array:
    made: Array = np.empty(len(values), dtype=object)
    made[:] = values
    return made


# -- something for each token ------------------------------------------------------------------------------------------


def _filled(tensor: torch.Tensor, length: int) -> torch.Tensor:
    """[N, T, …] -> [N, length, …], zeros behind."""
    rest = tensor.new_zeros((tensor.shape[0], length - tensor.shape[1], *tensor.shape[2:]))
    return torch.cat([tensor, rest], 1)


class _Tokens(torch.nn.Module):  # type: ignore[misc]
    """Scores of each token; the number of its label, and one past the last for what is no token."""

    def __init__(self, model: Any, length: int) -> None:
        super().__init__()
        self.model, self.length = model, length

    def forward(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = torch.softmax(self.model(**tensors, return_dict=True)["logits"], -1)
        mask = tensors["attention_mask"].unsqueeze(-1)
        label = torch.where(mask[..., 0] != 0, scores.argmax(-1), scores.shape[-1])
        full = torch.cat([label, label.new_full((label.shape[0], self.length - label.shape[1]), scores.shape[-1])], 1)
        return {"label": full, "probabilities": _filled(scores * mask, self.length)}


def _tokens(model: Any, length: int, labels: tuple[str, ...]) -> Head:
    label = TensorSpec("label", _TEXT, (BATCH, length), labels=labels)
    scores = TensorSpec("probabilities", _F32, (BATCH, length, len(labels)), labels=labels)
    every = (*labels, "")

    def finish(seen: Mapping[str, torch.Tensor]) -> dict[str, Array]:
        numbers = seen["label"]
        named = texts([every[i] for i in numbers.ravel().tolist()]).reshape(tuple(numbers.shape))
        return {"label": named, "probabilities": seen["probabilities"].numpy()}

    note = f'a label for each of {length} tokens of a text, special ones among them; "" behind a text\'s own'
    return Head(_Tokens(model, length), "tensors", (label, scores), (label, scores), ("label", "probabilities"), (),
                finish, {"label": every}, (note,))  # fmt: skip


class _States(torch.nn.Module):  # type: ignore[misc]
    """The last hidden states, zeros where there is no token, and which those are."""

    def __init__(self, model: Any, length: int, pooled: bool) -> None:
        super().__init__()
        self.model, self.length, self.pooled = model, length, pooled

    def forward(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        answer, mask = self.model(**tensors, return_dict=True), tensors["attention_mask"]
        made = {
            "last_hidden_state": _filled(answer["last_hidden_state"] * mask.unsqueeze(-1), self.length),
            "mask": _filled(mask, self.length),
        }
        return made | ({"pooler_output": answer["pooler_output"]} if self.pooled else {})


def _embeddings(model: Any, length: int, seen: Any) -> Head:
    """The hidden states of a bare model, and its pooled output where its weights have one."""
    wanted = [n for n in ("last_hidden_state", "pooler_output") if seen.get(n) is not None]
    sizes = {n: tuple(int(d) for d in seen[n].shape[1:]) for n in wanted}
    if length == 0:
        specs = tuple(TensorSpec(n, _F32, (BATCH, *sizes[n])) for n in wanted)
        return _plain(_Call(model, {n: n for n in wanted}), specs, ())
    width = sizes["last_hidden_state"][-1]
    specs = (TensorSpec("last_hidden_state", _F32, (BATCH, length, width)),
             TensorSpec("mask", _I64, (BATCH, length)))  # fmt: skip
    if "pooler_output" in wanted:
        specs += (TensorSpec("pooler_output", _F32, (BATCH, *sizes["pooler_output"])),)
    note = f"hidden states of {length} tokens of a text; zeros behind a text's own, which mask tells"
    return _plain(_States(model, length, "pooler_output" in wanted), specs, (note,))


def _pooled(model: Any, pooling: Pooling) -> Head:
    spec = TensorSpec("sentence_embedding", _F32, (BATCH, pooling.width))
    return _plain(pooling.around(model), (spec,), (pooling.note,))


def _plain(module: torch.nn.Module, specs: tuple[TensorSpec, ...], notes: tuple[str, ...]) -> Head:
    """A program that gives what clients see."""

    def finish(seen: Mapping[str, torch.Tensor]) -> dict[str, Array]:
        return {spec.name: seen[spec.name].numpy() for spec in specs}

    return Head(module, "tensors", specs, specs, tuple(s.name for s in specs), (), finish, {}, notes)
