"""Triton's own clients against live servers: the data port, and one that imitates Triton on ports of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fakehouse import echo, image, iris, people, review
from furnished import furnish

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import BY_NAME, DTYPES, Array

http = pytest.importorskip("tritonclient.http")
grpc = pytest.importorskip("tritonclient.grpc")
http_aio = pytest.importorskip("tritonclient.http.aio")
grpc_aio = pytest.importorskip("tritonclient.grpc.aio")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException

ROW = np.array([[9.0, 2.0, 3.0, 4.0]])
CLASSES = [b"0.996621:0:setosa", b"0.002470:2:virginica"]


class Ports:
    """Where a server answers HTTP and gRPC."""

    def __init__(self, flavour: str) -> None:
        self.flavour = flavour
        self.server = Server(Settings(port=0, admin_port=-1, as_=flavour, model_control="explicit"))
        sleepy = echo(BY_NAME["float32"], "sleepy")
        sleepy.state = "loading"
        furnish(self.server.house, *map(echo, DTYPES), iris(), people(), review(), image(), sleepy)
        self.server.start()
        roles = {door["role"]: door["port"] for door in self.server.describe()["doors"]}
        self.http = f"127.0.0.1:{roles['data']}"
        self.grpc = f"127.0.0.1:{roles.get('grpc', roles['data'])}"


@pytest.fixture(scope="module", params=["", "triton"])
def ports(request: pytest.FixtureRequest) -> Iterator[Ports]:
    made = Ports(request.param)
    yield made
    made.server.close()


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, ports: Ports) -> Iterator[Any]:
    module = http if request.param == "http" else grpc
    made = module.InferenceServerClient(getattr(ports, request.param))
    made.module = module
    yield made
    made.close()


def tensor(module: Any, name: str, datatype: str, array: Array) -> Any:
    made = module.InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array)


def asked(client: Any, model: str, *inputs: tuple[str, str, Array], **options: Any) -> Any:
    return client.infer(model, [tensor(client.module, *one) for one in inputs], **options)


def test_classes(client: Any) -> None:
    wanted = client.module.InferRequestedOutput("probabilities", class_count=2)
    told = asked(client, "iris", ("input", "FP64", ROW), outputs=[wanted], request_id="7")
    assert told.as_numpy("probabilities").tolist() == [CLASSES]
    response = told.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "7"


def test_classes_and_values_together(client: Any) -> None:
    wanted = [client.module.InferRequestedOutput("label"),
              client.module.InferRequestedOutput("probabilities", class_count=1)]  # fmt: skip
    told = asked(client, "iris", ("input", "FP64", np.repeat(ROW, 3, 0)), outputs=wanted)
    assert told.as_numpy("label").tolist() == [b"setosa"] * 3
    assert told.as_numpy("probabilities").tolist() == [CLASSES[:1]] * 3


def test_bf16(client: Any) -> None:
    array = np.array([[0.5, -3.0]], pytest.importorskip("ml_dtypes").bfloat16)
    told = asked(client, "echo-float32", ("x", "BF16", array))
    assert told.as_numpy("y").tolist() == [[0.5, -3.0]]


def test_what_is_told_of_a_model(client: Any) -> None:
    metadata = client.get_model_metadata("iris")
    config = client.get_model_config("iris")
    stats = client.get_inference_statistics("iris", "1")
    if client.module is http:
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 4]}]
        assert config["input"][0]["dims"] == [4]
        assert stats["model_stats"][0]["name"] == "iris"
    else:
        assert metadata.inputs[0].shape == [-1, 4]
        assert config.config.input[0].dims == [4]
        assert stats.model_stats[0].name == "iris"


def test_health(client: Any) -> None:
    assert client.is_server_live()
    assert not client.is_server_ready()
    assert client.is_model_ready("iris", "1")
    assert not client.is_model_ready("sleepy")
    assert not client.is_model_ready("nobody")


def test_loading_and_unloading(ports: Ports, client: Any) -> None:
    client.unload_model("review", unload_dependents=True)
    assert not client.is_model_ready("review")
    with pytest.raises(InferenceServerException, match=r"\[request.unsupported\]"):
        client.load_model("review", config="{}")
    with pytest.raises(InferenceServerException, match=r"\[request.unsupported\]"):
        client.load_model("review", config="{}", files={"file:1/model.onnx": b"x"})
    states = client.get_model_repository_index()
    rows = states if isinstance(states, list) else [{"name": m.name, "state": m.state} for m in states.models]
    assert {row["name"]: row["state"] for row in rows}["review"] == "UNAVAILABLE"
    furnish(ports.server.house, review())  # for the next client


REFUSED: list[tuple[str, Callable[[Any], Any]]] = [
    ("system shared memory", lambda c: c.get_system_shared_memory_status()),
    ("system shared memory", lambda c: c.register_system_shared_memory("r", "/k", 8)),
    ("system shared memory", lambda c: c.unregister_system_shared_memory()),
    ("CUDA shared memory", lambda c: c.get_cuda_shared_memory_status("r")),
    ("CUDA shared memory", lambda c: c.register_cuda_shared_memory("r", b"aGFuZGxl", 0, 8)),
    ("CUDA shared memory", lambda c: c.unregister_cuda_shared_memory("r")),
    ("tracing", lambda c: c.get_trace_settings()),
    ("tracing", lambda c: c.update_trace_settings("iris", {"trace_level": "OFF"})),
    ("logging", lambda c: c.get_log_settings()),
    ("logging", lambda c: c.update_log_settings({"log_info": True})),
]


@pytest.mark.parametrize(("name", "call"), REFUSED, ids=[f"{i}-{row[0]}" for i, row in enumerate(REFUSED)])
def test_what_setsail_has_not_is_refused_by_name(client: Any, name: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(InferenceServerException, match=rf"\[request.unsupported\].*{name}") as caught:
        call(client)
    assert caught.value.status() in ("501", "StatusCode.UNIMPLEMENTED")


def test_sequences_and_shared_memory_of_a_request_are_refused(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="sequence"):
        asked(client, "iris", ("input", "FP64", ROW), sequence_id=5, sequence_start=True)
    shared = client.module.InferInput("input", [1, 4], "FP64")
    shared.set_shared_memory("region", 32)
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer("iris", [shared])


def test_priority_timeout_and_own_parameters(client: Any) -> None:
    told = asked(
        client, "iris", ("input", "FP64", ROW), priority=1, timeout=20_000_000, parameters={"mine": "x", "n": 3}
    )
    assert told.as_numpy("label").tolist() == [b"setosa"]
    with pytest.raises(InferenceServerException, match="triton_"):
        asked(client, "iris", ("input", "FP64", ROW), parameters={"triton_enable_empty_final_response": True, "a": 1}
              if client.module is http else {"triton_other": 1})  # fmt: skip


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_both_ways(ports: Ports, coding: str) -> None:
    rows = np.zeros((9000, 2), np.float32)
    with http.InferenceServerClient(ports.http) as client:
        told = client.infer(
            "echo-float32", [tensor(http, "x", "FP32", rows)],
            request_compression_algorithm=coding, response_compression_algorithm=coding,
        )  # fmt: skip
        assert told.as_numpy("y").tolist() == rows.tolist()
        sent = client._post(
            "v2/models/echo-float32/infer", request_body="{}", headers={"Accept-Encoding": coding}, query_params=None
        )
        assert sent.status_code == 400


def test_a_raw_request(ports: Ports) -> None:
    with http.InferenceServerClient(ports.http) as client:
        reply = client._post(
            "v2/models/iris/infer", ROW.tobytes(), {"Inference-Header-Content-Length": "0"}, query_params=None
        )
        told = http.InferResult.from_response_body(
            reply.read(), header_length=int(reply.get("inference-header-content-length"))
        )
        assert told.as_numpy("label").tolist() == [b"setosa"]


def test_the_asynchronous_clients(ports: Ports) -> None:
    async def run(module: Any, aio: Any, target: str) -> None:
        async with aio.InferenceServerClient(target) as client:
            assert await client.is_model_ready("iris")
            inputs = [tensor(module, "input", "FP64", ROW)]
            wanted = [module.InferRequestedOutput("probabilities", class_count=2)]
            results = await asyncio.gather(*(client.infer("iris", inputs, outputs=wanted) for _ in range(8)))
            assert [r.as_numpy("probabilities").tolist() for r in results] == [[CLASSES]] * 8
            with pytest.raises(InferenceServerException, match=r"\[model.unknown\]"):
                await client.infer("nobody", inputs)

    asyncio.run(run(http, http_aio, ports.http))
    asyncio.run(run(grpc, grpc_aio, ports.grpc))


def test_the_clients_own_asynchronous_calls(ports: Ports) -> None:
    with http.InferenceServerClient(ports.http, concurrency=4) as client:
        waiting = [client.async_infer("iris", [tensor(http, "input", "FP64", ROW)]) for _ in range(8)]
        assert [w.get_result().as_numpy("label").tolist() for w in waiting] == [[b"setosa"]] * 8


def test_a_stream_of_classes(ports: Ports) -> None:
    """Classes change what the answer holds, so a head with them is not remembered for values."""

    async def run() -> list[Any]:
        async def requests() -> Any:
            for count in (0, 2, 0, 1):
                output = grpc.InferRequestedOutput("probabilities", class_count=count)
                yield {
                    "model_name": "iris", "inputs": [tensor(grpc, "input", "FP64", ROW)], "outputs": [output],
                    "enable_empty_final_response": True,
                }  # fmt: skip

        async with grpc_aio.InferenceServerClient(ports.grpc) as client:
            results = [result async for result, error in client.stream_infer(requests())]
        assert all(r.get_response().parameters["triton_final_response"].bool_param for r in results)
        return [r.as_numpy("probabilities") for r in results]

    values, two, again, one = asyncio.run(run())
    assert values.dtype == again.dtype == np.float32
    assert (two.tolist(), one.tolist()) == ([CLASSES], [CLASSES[:1]])
