"""Open Inference Protocol v2: recorded bytes in, recorded bytes out; any tensor survives the trip."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, echo, gallery
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from setsail.catalog import IsLive, Load, Unload
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Tensors
from setsail.protocols.binary import pack, unpack
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import DATA
from setsail.tensors import BY_NAME, DTYPES, DType


def post(path: str, body: bytes, **headers: str) -> HttpRequest:
    return HttpRequest("POST", path, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=body)


def ask(house: FakeHouse, request: HttpRequest, control: bool = False) -> HttpReply:
    exchange = DATA.route(request)
    return exchange.encode(house.answer(exchange.ask, control=control))


def infer(model: str, header: dict[str, Any], *blobs: bytes) -> HttpRequest:
    text = json.dumps(header).encode()
    extra = {"inference_header_content_length": str(len(text))} if blobs else {}
    return post(f"/v2/models/{model}/infer", b"".join((text, *blobs)), **extra)


def code_of(request: HttpRequest) -> str:
    with pytest.raises(SetsailError) as caught:
        ask(gallery(), request)
    return caught.value.code


# -- recorded exchanges ------------------------------------------------------------------------------------------------


def test_json_infer_byte_for_byte() -> None:
    body = (
        b'{"id":"7","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.1,2.5]}],"outputs":[{"name":"y"}]}'
    )
    reply = ask(gallery(), post("/v2/models/echo-float32/infer", body))
    assert reply.status == 200
    assert reply.headers == (("content-type", "application/json"),)
    assert reply.body == (
        b'{"model_name":"echo-float32","model_version":"1","id":"7",'
        b'"outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.1,2.5]}]}'
    )


def test_tritonclient_bytes_as_recorded() -> None:
    """What tritonclient 2.73 sends for one FP32 input and no outputs: a JSON header, raw bytes, no Content-Type."""
    header = (
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],'
        b'"parameters":{"binary_data_output":true}}'
    )
    raw = np.array([[0.1, 2.5]], "<f4").tobytes()
    request = post("/v2/models/echo-float32/infer", header + raw, inference_header_content_length=str(len(header)))
    reply = ask(gallery(), request)
    headers = dict(reply.headers)
    length = int(headers["Inference-Header-Content-Length"])
    assert headers["content-type"] == "application/octet-stream"
    assert json.loads(reply.body[:length]) == {
        "model_name": "echo-float32", "model_version": "1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}],
    }  # fmt: skip
    assert reply.body[length:] == raw


def test_decoding_keeps_id_outputs_and_parameters() -> None:
    request = infer(
        "iris",
        {
            "id": "a", "parameters": {"priority": 1},
            "inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [[1, 2, 3, 4]]}],
            "outputs": [{"name": "label"}],
        },
    )  # fmt: skip
    wanted = DATA.route(request).ask
    assert isinstance(wanted, Request)
    assert (wanted.id, wanted.outputs, wanted.parameters) == ("a", ("label",), {"priority": 1})
    assert isinstance(wanted.body, Tensors)
    assert wanted.body.tensors[0].data == [[1, 2, 3, 4]]


def test_version_in_the_path() -> None:
    wanted = DATA.route(HttpRequest("GET", "/v2/models/iris/versions/3/ready")).ask
    assert wanted.model == ModelRef("iris", 3)  # type: ignore[union-attr]
    assert code_of(HttpRequest("GET", "/v2/models/iris/versions/0")) == "model.version"
    assert code_of(HttpRequest("GET", "/v2/models/iris/versions/²")) == "model.version"


def test_outputs_in_the_order_asked_for_and_mixed_encodings() -> None:
    request = infer(
        "iris",
        {
            "inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [9, 2, 3, 4]}],
            "parameters": {"binary_data_output": True},
            "outputs": [{"name": "probabilities"}, {"name": "label", "parameters": {"binary_data": False}}],
        },
    )
    reply = ask(gallery(), request)
    length = int(dict(reply.headers)["Inference-Header-Content-Length"])
    first, second = json.loads(reply.body[:length])["outputs"]
    assert (first["name"], first["parameters"]) == ("probabilities", {"binary_data_size": 12})
    assert (second["name"], second["data"]) == ("label", ["setosa"])
    assert np.frombuffer(reply.body[length:], "<f4").argmax() == 0


def test_columns_of_a_table_may_be_sent_by_name() -> None:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    inputs = [{"name": n, "shape": [2], "datatype": "FP64", "data": [1.0, 2.0]} for n in names]
    assert json.loads(ask(gallery(), infer("iris", {"inputs": inputs})).body)["outputs"][0]["shape"] == [2]


def test_nan_is_read_and_written_as_a_bare_token() -> None:
    body = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[NaN,-Infinity]}]}'
    reply = ask(gallery(), post("/v2/models/echo-float32/infer", body))
    assert reply.body.endswith(b'"data":[NaN,-Infinity]}]}')


# -- any tensor --------------------------------------------------------------------------------------------------------


def arrays(dtype: DType) -> st.SearchStrategy[Any]:
    shape = st.tuples(st.integers(1, 4), st.just(2))
    if dtype.kind == "string":
        texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\ufdd0"), max_size=6)
        return hnp.arrays(object, shape, elements=texts)
    return hnp.arrays(dtype.numpy, shape, elements=hnp.from_dtype(dtype.numpy))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("encoding", ["json", "nested", "binary"])
def test_any_tensor_survives_the_trip(dtype: DType, encoding: str) -> None:
    house = FakeHouse(echo(dtype, "m"))

    @settings(max_examples=15, deadline=None)
    @given(arrays(dtype))
    def check(array: Any) -> None:
        item: dict[str, Any] = {"name": "x", "shape": list(array.shape), "datatype": dtype.oip}
        if encoding == "binary":
            blob = pack(array)
            item["parameters"] = {"binary_data_size": len(blob)}
            request = infer("m", {"inputs": [item], "parameters": {"binary_data_output": True}}, blob)
            reply = ask(house, request)
            length = int(dict(reply.headers)["Inference-Header-Content-Length"])
            back = unpack("y", dtype, array.shape, memoryview(reply.body)[length:])
            assert reply.body[length:] == blob
        else:
            item["data"] = (array.ravel() if encoding == "json" else array).tolist()
            entry = json.loads(ask(house, infer("m", {"inputs": [item]})).body)["outputs"][0]
            assert entry["shape"] == list(array.shape)
            back = np.array(entry["data"], dtype=dtype.numpy).reshape(array.shape)
        if dtype.kind == "string":
            back = np.array([v.decode() if isinstance(v, bytes) else v for v in back.ravel()], object)
            assert back.tolist() == array.ravel().tolist()
        else:
            np.testing.assert_array_equal(back, array)

    check()


def test_an_unaligned_blob_is_copied_to_an_aligned_array() -> None:
    data = memoryview(b"\0" + np.arange(4, dtype="<f8").tobytes())[1:]
    array = unpack("x", BY_NAME["float64"], (4,), data)
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


# -- health, metadata, repository --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/v2/health/live", 200, {"live": True}),
        ("/v2/health/ready", 503, {"ready": False}),
        ("/v2/models/iris/ready", 200, {"name": "iris", "ready": True}),
        ("/v2/models/sleepy/ready", 503, {"name": "sleepy", "ready": False}),
    ],
)
def test_health(path: str, status: int, body: dict[str, Any]) -> None:
    reply = ask(gallery(), HttpRequest("GET", path))
    assert (reply.status, json.loads(reply.body)) == (status, body)


def test_server_metadata() -> None:
    body = json.loads(ask(gallery(), HttpRequest("GET", "/v2")).body)
    assert body["name"] == "setsail"
    assert "binary_tensor_data" in body["extensions"]
    assert isinstance(DATA.route(HttpRequest("GET", "/v2/health/live")).ask, IsLive)


def test_model_metadata() -> None:
    assert json.loads(ask(gallery(), HttpRequest("GET", "/v2/models/iris")).body) == {
        "name": "iris",
        "versions": ["1"],
        "platform": "fake 1.0",
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    assert "iris" in json.loads(ask(gallery(), HttpRequest("GET", "/v2/models")).body)["models"]


def test_repository_index_with_and_without_a_body() -> None:
    everything = json.loads(ask(gallery(), post("/v2/repository/index", b"")).body)
    ready = json.loads(ask(gallery(), post("/v2/repository/index", b'{"ready":true}')).body)
    assert {"name": "sleepy", "version": "1", "state": "LOADING", "reason": ""} in everything
    assert len(ready) == len(everything) - 1


def test_load_and_unload_need_control() -> None:
    load = post("/v2/repository/models/sleepy/load", b"{}")
    unload = post("/v2/repository/models/iris/unload", b'{"parameters":{"unload_dependents":false}}')
    assert DATA.route(load).ask == Load("sleepy")
    assert DATA.route(unload).ask == Unload("iris")
    assert code_of(load) == "control.refused"
    assert ask(gallery(), load, control=True).status == 200
    assert ask(gallery(), unload, control=True).status == 200
    own_files = post("/v2/repository/models/iris/load", b'{"parameters":{"config":"{}"}}')
    assert code_of(own_files) == "request.unsupported"
    assert code_of(post("/v2/repository/other/index", b"")) == "request.unsupported"


# -- refusals ----------------------------------------------------------------------------------------------------------

X = {"name": "x", "shape": [1, 2], "datatype": "FP32"}


@pytest.mark.parametrize(
    ("header", "blobs", "code"),
    [
        ({"inputs": [X | {"parameters": {"binary_data_size": 4}}]}, [b"\0" * 4], "request.binary"),
        ({"inputs": [X | {"parameters": {"binary_data_size": 8}}]}, [b"\0" * 7], "request.binary"),
        ({"inputs": [X | {"parameters": {"binary_data_size": 8}}]}, [b"\0" * 9], "request.binary"),
        ({"inputs": [X | {"parameters": {"binary_data_size": -1}}]}, [b"\0" * 8], "request.binary"),
        ({"inputs": [X | {"parameters": {"binary_data_size": True}}]}, [b"\0"], "request.binary"),
        ({"inputs": [X | {"data": [1, 2], "parameters": {"binary_data_size": 8}}]}, [b"\0" * 8], "request.binary"),
        ({"inputs": [X | {"data": [1.0, 2.0]}]}, [b"\0"], "request.binary"),
        ({"inputs": [X]}, [], "request.form"),
        ({"inputs": [X | {"data": 3}]}, [], "request.form"),
        ({"inputs": [{"name": "x"}]}, [], "request.form"),
        ({"inputs": {}}, [], "request.form"),
        ({}, [], "request.form"),
        ({"inputs": []}, [], "input.missing"),
        ({"inputs": [X | {"datatype": "BF16", "data": [1, 2]}]}, [], "input.dtype"),
        ({"inputs": [X | {"datatype": "FP64", "data": [1, 2]}]}, [], "input.dtype"),
        ({"inputs": [X | {"shape": [-1, 2], "data": [1, 2]}]}, [], "input.shape"),
        ({"inputs": [X | {"shape": [0] + [2**31] * 3, "data": []}]}, [], "input.shape"),
        ({"inputs": [X | {"shape": [1] * 40, "data": [1, 2]}]}, [], "input.shape"),
        ({"inputs": [X | {"shape": [0, 2], "data": []}]}, [], "input.empty"),
        ({"inputs": [X | {"data": [1, 2]}], "outputs": [{"name": "z"}]}, [], "output.unknown"),
        ({"inputs": [X | {"parameters": {"shared_memory_region": "r"}}]}, [], "request.unsupported"),
    ],
)  # fmt: skip
def test_refusals(header: dict[str, Any], blobs: list[bytes], code: str) -> None:
    assert code_of(infer("echo-float32", header, *blobs)) == code


@pytest.mark.parametrize("length", ["-1", "9999", "x", "1_0", "²"])
def test_header_lengths_that_do_not_fit(length: str) -> None:
    request = post("/v2/models/echo-float32/infer", b"{}", inference_header_content_length=length)
    assert code_of(request) == "request.binary"


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"\xff", b"[" * 5000 + b"]" * 5000, b"[NaN", b"[NaN,1e999]"])
def test_what_is_not_json(body: bytes) -> None:
    assert code_of(post("/v2/models/iris/infer", body)) == "request.json"


@pytest.mark.parametrize("blob", [b"\x05\0\0\0abc", b"\x01\0", b"\xff\xff\xff\xff", b"\x01\0\0\0a"])
def test_damaged_texts(blob: bytes) -> None:
    item = {"name": "x", "shape": [1, 2], "datatype": "BYTES", "parameters": {"binary_data_size": len(blob)}}
    assert code_of(infer("echo-string", {"inputs": [item]}, blob)) == "request.binary"
