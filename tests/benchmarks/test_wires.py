import json

import numpy as np
import pytest
from benchmarks.models import Case
from benchmarks.wires import WIRES, Reply, framed, http_request

ANSWER = np.array([[0.25, 0.5, 0.25]], np.float32)
CASE = Case({"input": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)}, ANSWER)
TEXT = Case({"ids": np.array([[7, 9]]), "mask": np.array([[1, 1]])}, ANSWER)


def test_numbers_are_written_as_people_write_them() -> None:
    _, body = WIRES["named"].encode(CASE, "iris")
    assert body == b'{"input": [[5.1, 3.5, 1.4, 0.2]]}'


def test_an_image_is_written_as_tolist_gives_it() -> None:
    pixels = np.full((1, 3, 20, 20), 0.1, np.float32)
    _, body = WIRES["named"].encode(Case({"image": pixels}, ANSWER), "resnet18")
    assert json.loads(body)["image"][0][0][0][0] == 0.10000000149011612


@pytest.mark.parametrize(
    "document",
    [
        {"outputs": [[0.25, 0.5, 0.25]]},
        {"model": "iris", "version": 1, "outputs": {"probabilities": [[0.25, 0.5, 0.25]]}},
        {"outputs": [{"name": "probabilities", "shape": [1, 3], "datatype": "FP32", "data": [0.25, 0.5, 0.25]}]},
        {"predictions": {"probabilities": [[0.25, 0.5, 0.25]]}},
        {"predictions": [{"0": 0.25, "1": 0.5, "2": 0.25}]},
    ],
)
def test_answers_are_found_in_every_servers_json(document: dict) -> None:
    assert WIRES["named"].decode(Reply(200, {}, json.dumps(document).encode())).tolist() == [0.25, 0.5, 0.25]


def test_our_grpc_message_is_what_the_official_one_reads() -> None:
    messages = pytest.importorskip("tritonclient.grpc.service_pb2")
    headers, body = WIRES["grpc"].encode(TEXT, "encoder")
    request = messages.ModelInferRequest.FromString(body)
    assert request.model_name == "encoder"
    assert [(given.name, given.datatype, list(given.shape)) for given in request.inputs] == [
        ("ids", "INT64", [1, 2]),
        ("mask", "INT64", [1, 2]),
    ]
    assert np.frombuffer(request.raw_input_contents[0], np.int64).tolist() == [7, 9]
    assert headers["content-type"] == "application/grpc"
    assert framed(b"abc") == b"\0\0\0\0\3abc"


def test_our_grpc_reader_reads_what_the_official_one_writes() -> None:
    messages = pytest.importorskip("tritonclient.grpc.service_pb2")
    reply = messages.ModelInferResponse(model_name="iris" * 50, model_version="1", id="x")
    reply.parameters["a"].int64_param = 300
    reply.outputs.add(name="probabilities", datatype="FP32", shape=[1, 3])
    reply.raw_output_contents.append(ANSWER.tobytes())
    assert WIRES["grpc"].decode(Reply(200, {}, reply.SerializeToString())).tolist() == [0.25, 0.5, 0.25]


def test_binary_tensors_follow_their_head() -> None:
    headers, body = WIRES["v2-binary"].encode(CASE, "iris")
    size = int(headers["inference-header-content-length"])
    assert json.loads(body[:size])["inputs"][0]["parameters"] == {"binary_data_size": 16}
    assert body[size:] == CASE.inputs["input"].tobytes()


def test_a_request_is_whole() -> None:
    request = http_request(WIRES["raw"], CASE, "iris", "/raw", 8080)
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /raw HTTP/1.1"
    assert b"content-length: 16" in head
    assert body == CASE.inputs["input"].tobytes()
