"""`ManagementAPIsService` with the messages of TorchServe's own files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from setsail.catalog import ALL, Describe, ModelDescription, Register, Registered, Scale, SetDefault, Terms, Unregister
from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import message

PACKAGE = "org.pytorch.serve.grpc.management"
SERVICE = f"/{PACKAGE}.ManagementAPIsService/"
NOOP = ModelDescription("noop", 1, "noop.setsail", "ready", default=True, room=1000)


def decoded(name: str, **fields: Any) -> Any:
    return METHODS[SERVICE + name].decode(message(f"{PACKAGE}.{name}Request")(**fields).SerializeToString())


def told(name: str, answer: Any, **fields: Any) -> str:
    text: str = message(f"{PACKAGE}.ManagementResponse").FromString(decoded(name, **fields).encode(answer)).msg
    return text


@pytest.mark.parametrize(
    ("name", "fields", "ask"),
    [
        ("RegisterModel", {"url": "noop.mar"}, Register("noop.mar", "", None, Terms(0, 0), True, False)),
        ("RegisterModel",
         {"url": "n.mar", "model_name": "n", "initial_workers": 2, "synchronous": True, "batch_size": 8,
          "max_batch_delay": 50, "response_timeout": 9, "startup_timeout": 8},
         Register("n.mar", "n", None, Terms(2, 2, 8, 50, 9, 8), True, True)),
        ("ScaleWorker", {"model_name": "m"}, Scale("m", None, 1, 1, False)),
        ("ScaleWorker", {"model_name": "m", "model_version": "2.0", "min_worker": 3, "max_worker": 4,
                         "synchronous": True}, Scale("m", 2, 3, 4, True)),
        ("SetDefault", {"model_name": "m", "model_version": "2.0"}, SetDefault("m", 2)),
        ("UnregisterModel", {"model_name": "m"}, Unregister("m", None, sole=True)),
        ("UnregisterModel", {"model_name": "m", "model_version": "2"}, Unregister("m", 2, sole=True)),
        ("DescribeModel", {"model_name": "m", "model_version": "all"}, Describe("m", ALL)),
        ("ListModels", {}, Describe()),
    ],
)  # fmt: skip
def test_what_is_asked(name: str, fields: dict[str, Any], ask: Any) -> None:
    assert decoded(name, **fields).ask == ask


def test_answers_are_those_of_the_rest_paths() -> None:
    registered = Registered("noop", 1, "/store/noop.setsail")
    assert told("RegisterModel", registered, url="noop.mar").startswith(
        'Model "noop" Version: 1.0 registered with 0 initial workers. Use scale'
    )
    assert told("RegisterModel", registered, url="noop.mar", initial_workers=1) == "Processing worker updates..."
    scaled = {"model_name": "noop", "min_worker": 2, "synchronous": True}
    assert told("ScaleWorker", NOOP, **scaled) == "Workers scaled to 2 for model: noop"
    default = 'Default version successfully updated for model "noop" to "1.0"'
    assert told("SetDefault", None, model_name="noop", model_version="1.0") == default
    assert told("UnregisterModel", False, model_name="noop") == 'Model "noop" unregistered'
    (described,) = json.loads(told("DescribeModel", (NOOP,), model_name="noop", customized=True))
    assert (described["modelName"], described["customizedMetadata"]["framework"]) == ("noop", "")
    assert told("ListModels", (NOOP,), limit=1) == (
        '{\n  "nextPageToken": "1",\n  "models": [\n    {\n      "modelName": "noop",\n'
        '      "modelUrl": "noop.setsail"\n    }\n  ]\n}'
    )


@pytest.mark.parametrize(
    ("name", "fields", "code", "status", "text"),
    [
        ("RegisterModel", {}, "request.form", 3,
         "Parameter url is required.\norg.pytorch.serve.http.BadRequestException"),
        ("RegisterModel", {"url": "a", "handler": "h.py"}, "request.unsupported", 12, "h.py"),
        ("DescribeModel", {"model_name": "m", "model_version": "x"}, "model.version", 5,
         "Model version: x does not exist for model: m\norg.pytorch.serve.archive.model.ModelVersionNotFoundException"),
        ("UnregisterModel", {}, "request.form", 3, "Parameter model_name is required."),
        ("ScaleWorker", {"model_name": "m", "min_worker": 3, "max_worker": 2}, "request.form", 3,
         "max_worker cannot be less than min_worker."),
    ],
)  # fmt: skip
def test_faults_have_the_originals_text_and_exception(
    name: str, fields: dict[str, Any], code: str, status: int, text: str
) -> None:
    with pytest.raises(SetsailError) as caught:
        decoded(name, **fields)
    assert caught.value.code == code
    number, said = METHODS[SERVICE + name].status(caught.value)
    assert number == status
    assert text in said


def test_a_message_that_is_none_is_refused() -> None:
    methods = [method for path, method in METHODS.items() if path.startswith(SERVICE)]
    assert len(methods) == 6
    for method in methods:
        with pytest.raises(SetsailError) as caught:
            method.decode(b"\xff\xff")
        assert caught.value.code == "request.malformed"
