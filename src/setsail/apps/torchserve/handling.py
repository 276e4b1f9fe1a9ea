"""The child's side of a TorchServe handler: its module found and started, requests as it is called with them, its
answers as they go out (`protocols.md` §2.5 of the project's notes; docs/frameworks/torchserve.md).

A handler is given a list with a mapping a request, parameter -> value: the fields of a form, or `body`. JSON is parsed
and text decoded by their content types, everything else is a bytearray. It returns a list with an answer a request:
bytes and texts go out as they are, tensors as torch saves them, anything else as JSON with an indentation of two.
"""

from __future__ import annotations

import inspect
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from uuid import uuid4

import numpy as np

from setsail.apps.code import REQUESTS, WrongAnswerError
from setsail.errors import SetsailError
from setsail.letters import Field, Letter, Reply
from setsail.tensors import Array

__all__ = ["Handler", "load"]

_SHIMS: Final = str(Path(__file__).parent / "shims")
_CONTEXT: Final = "ts.context"
_BUILT_IN: Final = "ts.torch_handler."
_SERVER: Final = ("MMS", "0.12.0")  # what TorchServe says of itself to handlers


def load(options: Mapping[str, Any]) -> Handler:
    """Import the handler and have it load its model.

    Args:
        options: `folder`, `manifest`, `config` (model-config.yaml), `batch_size`.

    Raises:
        SetsailError: `app.load`; otherwise whatever the handler raises.
    """
    folder = options["folder"]
    sys.path[:0] = [folder, _SHIMS]
    context = import_module(_CONTEXT).Context(
        model_name=options["manifest"]["model"].get("modelName", ""), model_dir=folder, manifest=options["manifest"],
        batch_size=options["batch_size"], model_yaml_config=dict(options["config"]), server=_SERVER,
    )  # fmt: skip
    return Handler(_entry(str(options["manifest"]["model"]["handler"]), context), context)


class Handler:
    """A handler that has loaded its model. See `code.Code`."""

    signature = REQUESTS

    def __init__(self, handle: Callable[[Any, Any], Any], context: Any) -> None:
        self._handle, self._context = handle, context

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = [_read(value) for value in inputs["request"].tolist()]
        made = iter(self._answers([asked for asked in found if not isinstance(asked, Reply)]))
        replies = [asked if isinstance(asked, Reply) else next(made) for asked in found]
        output, headers = np.empty(len(replies), object), np.empty(len(replies), object)
        for index, reply in enumerate(replies):
            output[index], headers[index] = reply.texts()
        return {"output": output, "headers": headers}

    def _answers(self, asked: Sequence[_Asked]) -> list[Reply]:
        """The handler's answers to requests that can be read, as many as there are."""
        if not asked:
            return []
        self._context.begin([str(uuid4()) for _ in asked], [headers for _, headers in asked])
        try:
            return self._replies(self._handle([parameters for parameters, _ in asked], self._context), len(asked))
        except Exception as fault:
            return [_refusal(fault)] * len(asked)

    def _replies(self, answers: Any, count: int) -> list[Reply]:
        if isinstance(answers, str | bytes) or not isinstance(answers, Sequence):
            raise WrongAnswerError(
                f"the handler returned {type(answers).__name__}, and not a list with an answer a request"
            )
        if len(answers) != count:
            raise WrongAnswerError(f"the handler returned {len(answers)} answers to {count} requests")
        return [self._reply(index, answer) for index, answer in enumerate(answers)]

    def _reply(self, index: int, answer: Any) -> Reply:
        headers, status, phrase = self._context.told(index)
        return Reply(_bytes(answer), headers, status, phrase)


# -- requests and answers ----------------------------------------------------------------------------------------------


_Asked = tuple[dict[str, Any], dict[str, str]]  # parameters, and headers


def _read(value: bytes | str) -> _Asked | Reply:
    """A request as TorchServe's workers hand it to a handler; or the answer to one that cannot be read."""
    letter = Letter.opened(value)
    try:
        return {part.name: _value(part) for part in letter.fields}, {"explain": "False"} | dict(letter.headers)
    except (ValueError, RecursionError) as fault:
        return _told(400, "BadRequestException", f"the request is not of the type that it says: {fault}")


def _value(part: Field) -> Any:
    kind = part.kind.partition(";")[0].strip().lower()
    if kind == "application/json":
        return json.loads(part.data)
    return part.data.decode() if kind.startswith("text/") else bytearray(part.data)


def _bytes(answer: Any) -> bytes:
    if isinstance(answer, bytes | bytearray):
        return bytes(answer)
    if isinstance(answer, str):
        return answer.encode()
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(answer, torch.Tensor):
        buffer = io.BytesIO()
        torch.save(answer, buffer)
        return buffer.getvalue()
    try:
        return json.dumps(answer, indent=2, sort_keys=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as fault:
        raise WrongAnswerError(f"an answer is {type(answer).__name__}, which is no JSON: {fault}") from fault


def _refusal(fault: Exception) -> Reply:
    """What a handler says with PredictionException. Raises every other fault."""
    if type(fault).__name__ != "PredictionException" or not type(fault).__module__.startswith("ts."):
        raise fault
    code = getattr(fault, "error_code", 0)
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500
    return _told(status, "InternalServerException", str(getattr(fault, "message", fault)))


def _told(status: int, kind: str, message: str) -> Reply:
    body = json.dumps({"code": status, "type": kind, "message": message}, indent=2).encode() + b"\n"
    return Reply(body, {"content-type": "application/json"}, status)


# -- the handler -------------------------------------------------------------------------------------------------------


def _entry(named: str, context: Any) -> Callable[[Any, Any], Any]:
    """`module[.py][:function]` as what is called with (data, context); the model is loaded then."""
    path, _, function = named.partition(":")
    module = _module(path)
    entry = getattr(module, function or "handle", None)
    if callable(entry) and not inspect.isclass(entry):
        entry(None, context)
        return partial(_called, entry)
    if function:
        raise _refused(named, f"it has no function {function!r}")
    classes = [
        found for _, found in inspect.getmembers(module, inspect.isclass)
        if found.__module__ == module.__name__ and callable(getattr(found, "handle", None))
    ]  # fmt: skip
    if len(classes) != 1:
        found = ", ".join(one.__name__ for one in classes) or "none"
        raise _refused(named, f"it has neither a function handle nor one class with a method handle ({found})")
    service: Any = classes[0]()
    service.context = context
    service.initialize(context)
    return partial(_called, service.handle)


def _called(entry: Any, data: Any, context: Any) -> Any:
    return entry(data, context)


def _module(path: str) -> ModuleType:
    name = path.removesuffix(".py").rpartition("/")[2]
    if (Path.cwd() / f"{name}.py").is_file() or (Path.cwd() / name / "__init__.py").is_file():
        return import_module(name)
    if (nested := Path.cwd() / f"{path.removesuffix('.py')}.py").is_file():
        sys.path.insert(0, str(nested.parent))
        return import_module(name)
    try:
        return import_module(_BUILT_IN + name)
    except ModuleNotFoundError as fault:
        if not (fault.name or "").startswith("ts."):
            raise
        raise _refused(path, "there is no such file, and no built-in handler of this name") from fault


def _refused(named: str, why: str) -> SetsailError:
    return SetsailError("app.load", f"the handler {named!r} cannot be started: {why}", field="handler", value=named,
                        expected="handle(data, context), or one class with initialize and handle")  # fmt: skip
