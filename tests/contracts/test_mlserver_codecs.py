"""Requests that MLServer's own codecs write, and answers that they read, in their own environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_envs import ask_client, client_python
from fakehouse import echo, image, iris, people, review
from furnished import furnish

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import BY_NAME

pytestmark = pytest.mark.slow

SCRIPT = """
import datetime, json, sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen
import numpy as np
import pandas as pd
from mlserver.codecs import (
    Base64Codec, DatetimeCodec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec, StringRequestCodec,
)
from mlserver.types import InferenceRequest, InferenceResponse

url, told = sys.argv[1], {}


def ask(model, request):
    body = request.model_dump_json(exclude_none=True).encode()
    try:
        with urlopen(Request(f"{url}/v2/models/{model}/infer", body), timeout=30) as reply:
            return InferenceResponse.model_validate_json(reply.read())
    except HTTPError as fault:
        return [fault.code, json.load(fault)["error"]]


def array(answer, name):
    return NumpyCodec.decode_output(next(o for o in answer.outputs if o.name == name)).tolist()


def texts(answer, name):
    return StringCodec.decode_output(next(o for o in answer.outputs if o.name == name))


frame = pd.DataFrame({"age": [1.0, np.nan], "city": ["Rome", "Oslo"], "children": [1, 2], "member": [True, False]})
told["frame"] = PandasCodec.decode_response(ask("people", PandasCodec.encode_request(frame)))["prediction"].tolist()
columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
table = pd.DataFrame([[9.0, 2, 3, 4]] * 2, columns=columns)
told["table"] = texts(ask("iris", PandasCodec.encode_request(table)), "label")
rows = NumpyRequestCodec.encode_request(np.array([[9.0, 2, 3, 4]]))
told["name"] = rows.inputs[0].name
answer = ask("iris", rows)
told["np"] = [texts(answer, "label"), array(answer, "probabilities")]
told["request"] = NumpyRequestCodec.decode_response(ask("image", NumpyRequestCodec.encode_request(
    np.ones((2, 2, 3), np.float32)))).tolist()
told["str"] = array(ask("review", StringRequestCodec.encode_request(["a good film", "a film"])), "scores")
told["base64"] = array(ask("review", InferenceRequest(inputs=[Base64Codec.encode_input("text", [b"good"])])), "scores")
when = InferenceRequest(inputs=[DatetimeCodec.encode_input("text", [datetime.datetime(2026, 1, 1)])])
told["datetime"] = ask("review", when)
told["json"] = ask("review", PandasCodec.encode_request(pd.DataFrame({"text": [{"a": 1}]})))
print(json.dumps(told))
"""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(Settings(port=0, admin_port=-1, as_="mlserver"))
    furnish(made.house, echo(BY_NAME["float32"]), iris(), people(), review(), image())
    with made.start():
        yield made


@pytest.fixture(scope="module")
def python() -> Path:
    return client_python("mlserver", "mlserver==1.7.1", "pandas==2.3.3")


def test_what_they_write_is_read_and_what_they_read_is_written(python: Path, server: Server) -> None:
    told = ask_client(python, SCRIPT, server.url).json()
    assert told["frame"] == [4.0, 3.0]
    assert told["table"] == ["setosa"] * 2
    assert told["name"] != "input"
    label, probabilities = told["np"]
    assert label == ["setosa"]
    assert probabilities[0] == pytest.approx([0.996621, 0.000909, 0.002470], abs=1e-6)
    assert told["request"] == [6.0, 6.0]
    assert told["str"][0] == pytest.approx([0.1, 0.9])
    assert told["str"][1] == pytest.approx([0.9, 0.1])
    assert told["base64"][0] == pytest.approx([0.1, 0.9])
    for kind in ("datetime", "json"):
        status, text = told[kind]
        assert status == 501
        assert text.startswith("[request.unsupported]")
