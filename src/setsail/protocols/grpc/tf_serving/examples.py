"""`Classify`, `Regress` and `MultiInference`: rows as tf.Examples, answered out of the outputs that say classes and
values (`protocols/tf_serving/results.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.messages import TOGETHER, Columns, Request, Response
from setsail.protocols.grpc.method import Exchange
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.grpc.tf_serving.spec import model_ref, signature
from setsail.protocols.tf_serving.examples import columns
from setsail.protocols.tf_serving.results import classes, regressed
from setsail.signature import DEFAULT

__all__ = ["classify", "multi_inference", "regress"]


def classify(data: bytes | memoryview) -> Exchange:
    asked = parse(message("tensorflow.serving.ClassificationRequest"), data)
    return _one(asked, "tensorflow.serving.ClassificationResponse", _classified)


def regress(data: bytes | memoryview) -> Exchange:
    asked = parse(message("tensorflow.serving.RegressionRequest"), data)
    return _one(asked, "tensorflow.serving.RegressionResponse", _regressed)


def _one(asked: Any, answer: str, result: Callable[[Response], Any]) -> Exchange:
    named = signature(asked.model_spec)

    def encode(response: Response) -> bytes:
        told: bytes = message(answer)(result=result(response), model_spec=_spec(response, named)).SerializeToString()
        return told

    return Exchange(Request(model_ref(asked.model_spec), _columns(asked.input), None, named), encode)


def multi_inference(data: bytes | memoryview) -> Exchange:
    """Several tasks over one input. The model runs once; every task takes its outputs of that."""
    asked = parse(message("tensorflow.serving.MultiInferenceRequest"), data)
    tasks = [(_task(index, task), signature(task.model_spec)) for index, task in enumerate(asked.tasks)]
    if not tasks:
        raise SetsailError("request.form", "the request has no tasks", field="tasks", expected="at least one")
    names = [named for _, named in tasks]
    if len(set(names)) < len(names):
        raise SetsailError("request.form", "two tasks are for one signature", field="tasks.model_spec.signature_name",
                           value=names, expected="each signature once")  # fmt: skip
    refs = {model_ref(task.model_spec) for task in asked.tasks}
    if len(refs) > 1:
        raise SetsailError("request.form", "the tasks are for different models", field="tasks.model_spec",
                           value=sorted(map(str, refs)), expected="one model, in one version")  # fmt: skip

    def encode(response: Response) -> bytes:
        results = []
        for (field, result), named in tasks:
            own = response if len(tasks) == 1 else _narrowed(response, named)
            results.append({"model_spec": _spec(response, named), field: result(own)})
        told: bytes = message("tensorflow.serving.MultiInferenceResponse")(results=results).SerializeToString()
        return told

    return Exchange(Request(refs.pop(), _columns(asked.input), None, TOGETHER.join(names)), encode)


def _task(index: int, task: Any) -> tuple[str, Callable[[Response], Any]]:
    """The field of the result that a task is answered in, and who fills it."""
    found = _METHODS.get(task.method_name)
    if found is None:
        raise SetsailError("request.form", f"task {index} has an unknown method", field="method_name",
                           value=task.method_name, expected=" or ".join(_METHODS))  # fmt: skip
    return found


def _narrowed(response: Response, named: str) -> Response:
    """One of several tasks' outputs of what they had the model answer."""
    if named == DEFAULT:
        return response
    if named not in response.outputs:
        raise SetsailError("model.signature", f"model {response.model!r} has no signature {named!r}",
                           field="signature_name", value=named,
                           expected=", ".join([DEFAULT, *response.outputs]))  # fmt: skip
    return replace(response, outputs={named: response.outputs[named]}, defaults=(named,))


# -- the request -------------------------------------------------------------------------------------------------------


def _columns(given: Any) -> Columns:
    """Raises `request.form` without an input, `input.empty` without examples."""
    kind = given.WhichOneof("kind")
    if kind is None:
        raise SetsailError("request.form", "the request has no input", field="input",
                           expected="example_list or example_list_with_context")  # fmt: skip
    found = getattr(given, kind)
    context = _features(found.context) if kind == "example_list_with_context" else {}
    return columns([{**context, **_features(example)} for example in found.examples])


def _features(example: Any) -> Mapping[str, list[Any]]:
    """A feature without a list of values is a missing value."""
    found = example.features.feature
    return {name: _values(found[name]) for name in found}


def _values(feature: Any) -> list[Any]:
    kind = feature.WhichOneof("kind")
    return [] if kind is None else list(getattr(feature, kind).value)


# -- the answer --------------------------------------------------------------------------------------------------------


def _spec(response: Response, named: str) -> dict[str, Any]:
    return {"name": response.model, "version": {"value": response.version}, "signature_name": named}


def _classified(response: Response) -> dict[str, Any]:
    labels, scores = classes(response)
    if scores is None:
        rows = [[{"label": label} for label in row] for row in labels]
    else:
        rows = [
            [{"label": label, "score": score} for label, score in zip(row, line, strict=True)]
            for row, line in zip(labels, scores.tolist(), strict=True)
        ]
    return {"classifications": [{"classes": row} for row in rows]}


def _regressed(response: Response) -> dict[str, Any]:
    return {"regressions": [{"value": value} for value in regressed(response).tolist()]}


_METHODS: Final[Mapping[str, tuple[str, Callable[[Response], Any]]]] = {
    "tensorflow/serving/classify": ("classification_result", _classified),
    "tensorflow/serving/regress": ("regression_result", _regressed),
}
