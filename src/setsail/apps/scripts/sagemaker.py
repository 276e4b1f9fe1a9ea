"""A SageMaker inference script: `model_fn(model_dir)` once, then for each request `input_fn(body, content_type)`,
`predict_fn(data, model)` and `output_fn(prediction, accept)`, or `transform_fn` in their place.

As SageMaker's own toolkit does it: bodies of JSON and CSV are texts, `*/*` is the type of the default answer, a hook
may take `context` as one argument more, an answer may be a pair of body and content type, and an error of the toolkit's
own classes chooses the status. Every other exception is the script's fault, whose trace is the operator's.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from setsail.apps.code import REQUESTS, WrongAnswerError
from setsail.apps.importing import imported
from setsail.apps.scripts import toolkit
from setsail.errors import SetsailError
from setsail.letters import Letter, Reply
from setsail.tensors import Array

__all__ = ["Hooks", "answers", "load"]

_HOOKS: Final = ("input_fn", "predict_fn", "output_fn")
_ANY: Final = ("", "*/*")


def load(options: Mapping[str, Any]) -> Hooks:
    """Import the script and have it load its model. Raises `app.load`, `app.hints`."""
    script, folder = Path(options["script"]), options["folder"]
    os.environ |= {
        "SM_MODEL_DIR": folder, "SAGEMAKER_PROGRAM": script.name, "SAGEMAKER_SUBMIT_DIRECTORY": str(script.parent),
    }  # fmt: skip
    toolkit.offer()
    return Hooks(vars(imported(script)), script.name, folder)


class Hooks:
    """See `apps.code.Code`."""

    signature = REQUESTS

    def __init__(self, names: Mapping[str, Any], script: str, folder: str) -> None:
        given = {name: names[name] for name in ("model_fn", "transform_fn", *_HOOKS) if callable(names.get(name))}
        both = sorted(set(given) & set(_HOOKS)) if "transform_fn" in given else []
        if not given or both:
            raise SetsailError(
                "app.hints", f"{script} has transform_fn and {both[0]}" if both else f"{script} has no hook",
                field=script, value=both or None, expected="model_fn and, where the defaults do not fit, "
                "input_fn, predict_fn, output_fn; or transform_fn alone",
            )  # fmt: skip
        self._context = SimpleNamespace(system_properties={"model_dir": folder, "gpu_id": None}, manifest={})
        self._accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or toolkit.JSON
        for name in ("pre_model_fn",):
            if callable(names.get(name)):
                self._call(names[name], folder)
        self._model = self._call(given.get("model_fn", _loaded), folder)
        if callable(names.get("model_warmup_fn")):
            self._call(names["model_warmup_fn"], folder, self._model)
        self._transform = given.get("transform_fn")
        self._input = given.get("input_fn", toolkit.decode)
        self._predict = given.get("predict_fn", _predicted)
        self._output = given.get("output_fn", _encoded)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return answers([self._answer(Letter.opened(value)) for value in inputs["request"].tolist()])

    def _answer(self, letter: Letter) -> Reply:
        field = letter.fields[0] if letter.fields else None
        kind = letter.headers.get("content-type") or (field.kind if field else "") or toolkit.JSON
        accept = letter.headers.get("accept", "")
        accept = self._accept if accept in _ANY else accept
        body: Any = b"".join(part.data for part in letter.fields)
        if toolkit.kind_of(kind) in toolkit.TEXTS:
            body = body.decode()
        try:
            return _reply(self._told(body, kind, accept), accept)
        except Exception as fault:
            status = getattr(fault, "status_code", None)
            if type(status) is not int or not 400 <= status <= 599 or not hasattr(fault, "phrase"):
                raise
            text = str(getattr(fault, "message", fault)).encode(errors="replace")
            return Reply(text, {"content-type": "text/plain"}, status)

    def _told(self, body: Any, kind: str, accept: str) -> Any:
        if self._transform is not None:
            return self._call(self._transform, self._model, body, kind, accept)
        data = self._call(self._input, body, kind)
        return self._call(self._output, self._call(self._predict, data, self._model), accept)

    def _call(self, hook: Callable[..., Any], *given: Any) -> Any:
        """A hook that takes one argument more gets the context."""
        try:
            takes = len(inspect.signature(hook).parameters)
        except (TypeError, ValueError):  # a builtin
            takes = len(given)
        return hook(*given, self._context) if takes == len(given) + 1 else hook(*given)


# -- defaults ----------------------------------------------------------------------------------------------------------


def _loaded(folder: str) -> Any:
    raise SetsailError("app.hints", "the script has no model_fn", field="model_fn",
                       expected="def model_fn(model_dir): which returns the model")  # fmt: skip


def _predicted(data: Any, model: Any) -> Any:
    """The model's `predict`; a module of PyTorch is called with a tensor of its parameters' dtype."""
    if any(cls.__module__.startswith("torch.nn") for cls in type(model).__mro__):
        torch = import_module("torch")
        first = next(iter(model.parameters()), None)
        with torch.no_grad():
            return model(torch.as_tensor(data, dtype=None if first is None else first.dtype))
    return model.predict(data) if hasattr(model, "predict") else model(data)


def _encoded(prediction: Any, accept: str) -> Any:
    if hasattr(prediction, "detach"):
        prediction = prediction.detach().cpu().numpy()
    return toolkit.encode(prediction, accept)


# -- answers -----------------------------------------------------------------------------------------------------------


def _reply(answer: Any, accept: str) -> Reply:
    """A body, a pair of body and content type, or a response of Flask's form."""
    kind, status = accept, 200
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], str):
        answer, kind = answer
    elif hasattr(answer, "get_data"):
        answer, kind, status = answer.get_data(), answer.mimetype or kind, answer.status_code
    if isinstance(answer, str):
        answer = answer.encode()
    if not isinstance(answer, bytes | bytearray | memoryview):
        raise WrongAnswerError(f"output_fn returned {type(answer).__name__}, and a body is bytes or text")
    return Reply(bytes(answer), {"content-type": kind}, status)


def answers(replies: list[Reply]) -> dict[str, Array]:
    """The two outputs of code that reads requests by itself."""
    texts = [reply.texts() for reply in replies]
    named = {"output": [text for text, _ in texts], "headers": [headers for _, headers in texts]}
    return {name: np.array(values, dtype=object) for name, values in named.items()}
