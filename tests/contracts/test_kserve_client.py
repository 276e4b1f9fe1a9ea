"""KServe's own client, in its own environment, against a server that imitates KServe, and CloudEvents' own library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_envs import ask_client, client_python
from fakehouse import echo, image, iris, people, review
from furnished import furnish

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import BY_NAME, DTYPES

pytestmark = pytest.mark.slow

SCRIPT = """
import asyncio, json, sys
import httpx
import numpy as np
from cloudevents.http import CloudEvent, from_http, to_binary, to_structured
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

rest, grpc = "http://" + sys.argv[1], sys.argv[2]
ROW = [[9.0, 2.0, 3.0, 4.0]]
told = {}


def inputs(binary):
    made = InferInput("input", [1, 4], "FP64")
    made.set_data_from_numpy(np.array(ROW), binary_data=binary)
    return [made]


async def v1():
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        told["v1 live"] = await client.is_server_live(rest)
        told["v1 ready"] = [await client.is_model_ready(rest, name) for name in ("iris", "sleepy")]
        told["v1 predict"] = (await client.infer(rest, {"instances": ROW}, model_name="iris"))["predictions"]
        told["v1 inputs"] = (await client.infer(rest, {"inputs": ROW}, model_name="iris"))["predictions"]
        for name, call in (
            ("v1 explain", client.explain(rest, "iris", {"instances": ROW})),
            ("v1 unknown", client.infer(rest, {"instances": ROW}, model_name="nobody")),
            ("v1 invalid", client.infer(rest, {"instances": [[1.0]]}, model_name="iris")),
        ):
            try:
                await call
            except httpx.HTTPStatusError as fault:
                told[name] = [fault.response.status_code, str(fault)[:40]]


async def v2():
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        told["v2 live"] = await client.is_server_live(rest)
        told["v2 ready"] = [await client.is_model_ready(rest, name) for name in ("iris", "sleepy")]
        try:
            await client.is_server_ready(rest)
        except httpx.HTTPStatusError as fault:
            told["v2 server"] = fault.response.status_code
        for binary in (False, True):
            own = {"binary_data": True} if binary else None
            outputs = [RequestedOutput(name, own) for name in ("label", "probabilities")]
            request = InferRequest("iris", inputs(binary), request_id="7", request_outputs=outputs)
            answer = await client.infer(rest, request, model_name="iris")
            label, probabilities = answer.outputs
            told[f"v2 {binary}"] = [
                answer.id, [str(v, "utf-8") if isinstance(v, bytes) else v for v in label.as_numpy().tolist()],
                probabilities.as_numpy().tolist(),
            ]


async def over_grpc():
    async with InferenceGRPCClient(grpc) as client:
        told["grpc live"] = await client.is_server_live()
        told["grpc ready"] = [await client.is_model_ready(name) for name in ("iris", "sleepy")]
        answer = await client.infer(InferRequest("iris", inputs(True)))
        told["grpc"] = {o.name: o.as_numpy().tolist() for o in answer.outputs if o.name == "probabilities"}


def events():
    event = CloudEvent({"type": "asked", "source": "me"}, {"instances": ROW})
    for name, way in (("binary", to_binary), ("structured", to_structured)):
        headers, body = way(event)
        reply = httpx.post(rest + "/v1/models/iris:predict", headers=headers, content=body)
        answer = from_http(dict(reply.headers), reply.content)
        told["event " + name] = [answer["type"], answer["source"], answer.data["predictions"]]


asyncio.run(v1())
asyncio.run(v2())
asyncio.run(over_grpc())
events()
told["versions"] = httpx.get(rest + "/v2/models/iris/versions/1/ready").status_code
told["models"] = [httpx.get(rest + path).json()["models"] for path in ("/v1/models", "/v2/models")]
print(json.dumps(told))
"""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(Settings(port=0, admin_port=-1, as_="kserve"))
    sleepy = echo(BY_NAME["float32"], "sleepy")
    sleepy.state = "loading"
    furnish(made.house, *map(echo, DTYPES), iris(), people(), review(), image(), sleepy)
    with made.start():
        yield made


@pytest.fixture(scope="module")
def python() -> Path:
    return client_python("kserve", "kserve==0.21.0")


def test_the_pages_example(python: Path, server: Server) -> None:
    page = (Path(__file__).parents[2] / "docs/wires/kserve.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python no-run\n(.*?)```", page, re.DOTALL)
    told = ask_client(python, code.replace("http://127.0.0.1:8080", server.url))
    assert told.rc == 0, told.err
    assert told.out.startswith("{'predictions': [[")


def test_all_it_can_ask(python: Path, server: Server) -> None:
    ports = {door["role"]: f"127.0.0.1:{door['port']}" for door in server.describe()["doors"]}
    told = ask_client(python, SCRIPT, ports["data"], ports["grpc"]).json()
    scores = told["v1 predict"]
    assert scores[0][0] == pytest.approx(0.996621, abs=1e-6)
    assert told["v1 live"] is told["v2 live"] is told["grpc live"] is True
    assert told["v1 ready"] == told["v2 ready"] == told["grpc ready"] == [True, False]
    assert told["v2 server"] == 503
    assert told["v1 inputs"] == scores
    assert told["v1 explain"] == [501, told["v1 explain"][1]]
    assert told["v1 explain"][1].startswith("[request.unsupported]")
    assert told["v1 unknown"][0] == 404
    assert told["v1 invalid"][0] == 400
    for way in ("False", "True"):
        identity, label, probabilities = told[f"v2 {way}"]
        assert (identity, label) == ("7", ["setosa"])
        assert probabilities[0] == pytest.approx(scores[0], abs=1e-7)
    assert told["grpc"]["probabilities"][0] == pytest.approx(scores[0], abs=1e-7)
    for way in ("binary", "structured"):
        assert told[f"event {way}"] == ["io.kserve.inference.response", "io.kserve.inference.iris", scores]
    assert told["versions"] == 501
    assert told["models"][0] == told["models"][1]
    assert {"iris", "sleepy"} <= set(told["models"][0])
