"""Clients people already have, against a real socket: tritonclient, requests, curl."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
from fakehouse import FakeHouse, gallery

from setsail.protocols.curl import curl_lines
from setsail.server.asgi import application
from setsail.tensors import DTYPES, DType

triton = pytest.importorskip("tritonclient.http")
np_to_triton_dtype = pytest.importorskip("tritonclient.utils").np_to_triton_dtype


@pytest.fixture(scope="module")
def house() -> FakeHouse:
    return gallery()


@pytest.fixture(scope="module")
def url(house: FakeHouse) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = application(house, control=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    made = triton.InferenceServerClient(url.removeprefix("http://"))
    yield made
    made.close()


def values(dtype: DType) -> Any:
    texts = {"string": np.array([["a", "é"], ["", "b"]], dtype=object), "bool": np.array([[True, False]])}
    return texts.get(dtype.kind, np.array([[1, 2], [3, 4]], dtype=dtype.numpy if dtype.size else None))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_infer(client: Any, dtype: DType, binary_in: bool, binary_out: bool | None) -> None:
    array = values(dtype)
    tensor = triton.InferInput("x", list(array.shape), dtype.oip)
    if dtype.name == "float16" and not binary_in:
        pytest.skip("the client refuses to send FP16 as JSON")
    tensor.set_data_from_numpy(array, binary_data=binary_in)
    wanted = None if binary_out is None else [triton.InferRequestedOutput("y", binary_data=binary_out)]
    answer = client.infer(f"echo-{dtype.name}", [tensor], outputs=wanted, request_id="r1")
    back = answer.as_numpy("y")
    if dtype.kind == "string":
        back = np.array([v.decode() if isinstance(v, bytes) else v for v in back.ravel()], object).reshape(back.shape)
    np.testing.assert_array_equal(back, array)
    assert answer.get_response()["id"] == "r1"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_both_ways(client: Any, coding: str) -> None:
    tensor = triton.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.float32([[1, 2]]))
    answer = client.infer("echo-float32", [tensor], request_compression_algorithm=coding,
                          response_compression_algorithm=coding)  # fmt: skip
    assert answer.as_numpy("y").tolist() == [[1, 2]]


def test_health_metadata_and_repository(client: Any, house: FakeHouse) -> None:
    assert client.is_server_live()
    assert not client.is_server_ready()  # one model of the gallery is still loading
    assert client.is_model_ready("iris", "1")
    assert client.get_server_metadata()["name"] == "setsail"
    assert client.get_model_metadata("iris")["inputs"][0]["name"] == "input"
    assert {"name": "sleepy", "version": "1", "state": "LOADING", "reason": ""} in client.get_model_repository_index()
    client.unload_model("image")
    assert not client.is_model_ready("image")
    client.load_model("image")
    assert client.is_model_ready("image")


def test_an_error_reaches_the_client_whole(client: Any) -> None:
    tensor = triton.InferInput("x", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.float32([[1, 2, 3]]))
    with pytest.raises(triton.InferenceServerException, match=r"\[input.shape\] input .x. has") as caught:
        client.infer("echo-float32", [tensor])
    assert caught.value.status() == "400"


def test_requests(url: str) -> None:
    answer = requests.post(f"{url}/v1/models/review:predict", json={"instances": ["some review text"]}, timeout=10)
    assert answer.json() == {"predictions": [{"scores": [0.9, 0.1], "classes": ["neg", "pos"]}]}
    streamed = requests.post(f"{url}/predict/iris", data=iter([b"[[1,2,", b"3,4]]"]), timeout=10)
    assert streamed.json()["version"] == 1


def test_a_connection_goes_on_after_an_error(url: str) -> None:
    with requests.Session() as session:
        assert session.post(f"{url}/predict/iris", data=b"{", timeout=10).status_code == 400
        assert session.get(f"{url}/v2/health/live", timeout=10).status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("model", ["iris", "people", "review", "image"])
def test_curl_lines_answer_when_pasted(url: str, house: FakeHouse, model: str) -> None:
    for line in curl_lines(house.models[model].metadata(), url).values():
        done = subprocess.run([*shlex.split(line), "-sS", "--fail-with-body"], capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
