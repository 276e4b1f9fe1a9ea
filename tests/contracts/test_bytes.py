"""A picture as bytes, over every wire that has a place for bytes: the same numbers, and one fault of a broken one."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import requests

from setsail.catalog import ModelMetadata
from setsail.protocols.curl import curl_lines
from setsail.protocols.grpc.pool import message
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.serving.loading import open_runner, warm

pytest.importorskip("PIL", reason="needs Pillow")
pytest.importorskip("onnx", reason="needs onnx")
grpc = pytest.importorskip("grpc")

import pictured  # noqa: E402

PICTURES = [pictured.picture(200, 40, 60), pictured.picture(10, 90, 250)]
GOOD = [pictured.png(p) for p in PICTURES]
MEANS = pictured.means(*PICTURES)
EXAMPLE = MEANS[0]  # what the docs show is the artifact's first synthetic row
BROKEN = GOOD[0][:50]
FAULT = "step image.decode: input 'picture', row {}, is a damaged PNG file (OSError: image file is truncated)"


class Told(NamedTuple):
    """An answer: `means` by row, or a fault's text and code."""

    means: Any = None
    fault: str = ""
    code: str = ""
    status: int = 200


class House:
    """A server of the one model, and connections to it."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(Settings(port=0, admin_port=0)).start()
        path = folder / "colours.setsail"
        pictured.artifact(path).close()
        self.server.open(path)
        self.channel = grpc.insecure_channel(self.server.url.removeprefix("http://"))

    def close(self) -> None:
        self.channel.close()
        self.server.close()

    def http(self, path: str, body: Any, find: Callable[[Any], Any], kind: str = "", verb: str = "POST") -> Told:
        """One request whose only headers are those a client needs."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = HTTPConnection(self.server.url.removeprefix("http://"), timeout=30)
        connection.request(verb, path, raw, {"content-type": kind} if kind else {})
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        if reply.status == 200:
            return Told(find(json.loads(text)))
        return Told(None, text.decode(), reply.getheader("x-setsail-error", ""), reply.status)

    def rpc(self, path: str, asked: Any, answer: str, find: Callable[[Any], Any]) -> Told:
        call = self.channel.unary_unary(path)
        try:
            return Told(find(message(answer).FromString(call(asked.SerializeToString(), timeout=30))))
        except grpc.RpcError as fault:
            code = dict(fault.trailing_metadata()).get("x-setsail-error", "")
            return Told(None, fault.details(), code, fault.code().value[0])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("bytes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(folder / "cache"))
        made = House(folder)
        yield made
        made.close()


def text(raw: bytes) -> str:
    return b64encode(raw).decode()


def outputs(answer: Any) -> Any:
    return answer["outputs"]["means"]


def itself(answer: Any) -> Any:
    return answer


def predictions(answer: Any) -> Any:
    return answer["predictions"]


def oip(answer: Any) -> Any:
    (found,) = (o for o in answer["outputs"] if o["name"] == "means")
    return np.reshape(found["data"], found["shape"])


# -- ways of sending one picture ---------------------------------------------------------------------------------------


def put(path: str, find: Callable[[Any], Any], kind: str = "", verb: str = "POST") -> Callable[[House, bytes], Told]:
    return lambda house, raw: house.http(path, raw, find, kind, verb)


def formed(path: str, find: Callable[[Any], Any], kind: str) -> Callable[[House, bytes], Told]:
    def send(house: House, raw: bytes) -> Told:
        made = requests.Request("POST", house.server.url, files={"file": ("cat.png", raw, kind)}).prepare()
        return house.http(path, made.body, find, str(made.headers["content-type"]))

    return send


ONE: Mapping[str, Callable[[House, bytes], Told]] = {
    "TorchServe: curl -T": put("/predictions/colours", itself, "", "PUT"),
    "TorchServe: curl --data-binary": put("/predictions/colours", itself, "application/x-www-form-urlencoded"),
    "TorchServe: image/png": put("/predictions/colours", itself, "image/png"),
    "TorchServe: octet-stream": put("/predictions/colours", itself, "application/octet-stream"),
    "TorchServe: a form's file": formed("/predictions/colours", itself, "image/png"),
    "plain: no type": put("/predict/colours", outputs),
    "plain: curl --data-binary": put("/predict/colours", outputs, "application/x-www-form-urlencoded"),
    "plain: image/png": put("/predict/colours", outputs, "image/png"),
    "plain: octet-stream": put("/predict/colours", outputs, "application/octet-stream"),
    "plain: a form's file": formed("/predict/colours", outputs, "image/png"),
    "plain: a form's file without a type": formed("/predict/colours", outputs, "application/octet-stream"),
    "plain: the only model": put("/predict", outputs, "image/png"),
    "SageMaker: application/x-image": put("/invocations", itself, "application/x-image"),
    "SageMaker: image/png": put("/invocations", itself, "image/png"),
}


@pytest.mark.parametrize("way", ONE)
def test_one_picture(house: House, way: str) -> None:
    for raw, mean in zip(GOOD, MEANS, strict=True):
        told = ONE[way](house, raw)
        assert told.fault == ""
        np.testing.assert_allclose(np.squeeze(told.means), mean, atol=1e-6)


@pytest.mark.parametrize("way", ONE)
def test_one_broken_picture(house: House, way: str) -> None:
    told = ONE[way](house, BROKEN)
    assert (told.code, told.status) == ("input.media", 400)
    assert FAULT.format(0) in told.fault


# -- ways of sending several -------------------------------------------------------------------------------------------


def oip_json(house: House, files: Sequence[bytes]) -> Told:
    tensor = {"name": "picture", "datatype": "BYTES", "shape": [len(files)], "data": [text(f) for f in files]}
    return house.http("/v2/models/colours/infer", {"inputs": [tensor]}, oip)


def oip_binary(house: House, files: Sequence[bytes]) -> Told:
    blob = b"".join(struct.pack("<I", len(f)) + f for f in files)
    tensor = {"name": "picture", "datatype": "BYTES", "shape": [len(files)],
              "parameters": {"binary_data_size": len(blob)}}  # fmt: skip
    head = json.dumps({"inputs": [tensor]}).encode()
    reply = requests.post(
        f"{house.server.url}/v2/models/colours/infer", head + blob,
        headers={"inference-header-content-length": str(len(head))}, timeout=30,
    )  # fmt: skip
    if reply.status_code == 200:
        return Told(oip(reply.json()))
    return Told(None, reply.text, reply.headers["x-setsail-error"], reply.status_code)


def oip_grpc(house: House, files: Sequence[bytes], *, raw: bool) -> Told:
    asked = message("inference.ModelInferRequest")(model_name="colours")
    tensor = asked.inputs.add(name="picture", datatype="BYTES", shape=[len(files)])
    if raw:
        asked.raw_input_contents.append(b"".join(struct.pack("<I", len(f)) + f for f in files))
    else:
        tensor.contents.bytes_contents.extend(files)

    def find(answer: Any) -> Any:
        names = [o.name for o in answer.outputs]
        return np.frombuffer(answer.raw_output_contents[names.index("means")], np.float32).reshape(-1, 3)

    return house.rpc("/inference.GRPCInferenceService/ModelInfer", asked, "inference.ModelInferResponse", find)


def tf_grpc(house: House, files: Sequence[bytes]) -> Told:
    asked = message("tensorflow.serving.PredictRequest")()
    asked.model_spec.name = "colours"
    tensor = asked.inputs["picture"]
    tensor.dtype = 7
    tensor.tensor_shape.dim.add(size=len(files))
    tensor.string_val.extend(files)

    def find(answer: Any) -> Any:
        held = answer.outputs["means"]
        values = np.frombuffer(held.tensor_content, np.float32) if held.tensor_content else np.array(held.float_val)
        return values.reshape(-1, 3)

    path = "/tensorflow.serving.PredictionService/Predict"
    return house.rpc(path, asked, "tensorflow.serving.PredictResponse", find)


def posted(path: str, body: Callable[[list[str]], Any], find: Callable[[Any], Any], kind: str = "application/json"
           ) -> Callable[[House, Sequence[bytes]], Told]:  # fmt: skip
    return lambda house, files: house.http(path, body([text(f) for f in files]), find, kind)


SEVERAL: Mapping[str, Callable[[House, Sequence[bytes]], Told]] = {
    "OIP JSON": oip_json,
    "OIP binary": oip_binary,
    "OIP gRPC, raw": lambda house, files: oip_grpc(house, files, raw=True),
    "OIP gRPC, typed": lambda house, files: oip_grpc(house, files, raw=False),
    "TF Serving gRPC": tf_grpc,
    "TF Serving: b64": posted(
        "/v1/models/colours:predict", lambda t: {"instances": [{"b64": one} for one in t]}, predictions
    ),
    "TF Serving: b64 by name": posted(
        "/v1/models/colours:predict", lambda t: {"instances": [{"picture": {"b64": one}} for one in t]}, predictions
    ),
    "TF Serving: columns": posted(
        "/v1/models/colours:predict", lambda t: {"inputs": [{"b64": one} for one in t]}, lambda a: a["outputs"]
    ),
    "plain: by name": posted("/predict/colours", lambda t: {"picture": t}, outputs),
    "plain: input": posted("/predict/colours", lambda t: {"input": t}, outputs),
    "plain: rows": posted("/predict/colours", lambda t: t, outputs),
    "plain: data URLs": posted(
        "/predict/colours", lambda t: {"picture": [f"data:image/png;base64,{one}" for one in t]}, outputs
    ),
    "plain: CSV": posted("/predict/colours", lambda t: "\n".join(["picture", *t]).encode(), outputs, "text/csv"),
    "TorchServe: JSON": posted("/predictions/colours", lambda t: t, itself),
    "MLflow: inputs": posted("/invocations", lambda t: {"inputs": {"picture": t}}, predictions),
    "MLflow: a frame": posted(
        "/invocations", lambda t: {"dataframe_split": {"columns": ["picture"], "data": [[one] for one in t]}},
        predictions,
    ),
    "SageMaker: instances": posted("/invocations", lambda t: {"instances": t}, predictions),
}  # fmt: skip


@pytest.mark.parametrize("way", SEVERAL)
def test_several_pictures(house: House, way: str) -> None:
    told = SEVERAL[way](house, GOOD)
    assert told.fault == ""
    np.testing.assert_allclose(told.means, MEANS, atol=1e-6)


@pytest.mark.parametrize("way", SEVERAL)
def test_a_broken_picture_among_good_ones(house: House, way: str) -> None:
    told = SEVERAL[way](house, [GOOD[0], BROKEN])
    assert (told.code, told.status) in (("input.media", 400), ("input.media", 3))
    assert FAULT.format(1) in told.fault


def test_a_bare_value_of_the_tutorials(house: House) -> None:
    told = house.http("/predict/colours", {"input": text(GOOD[0])}, outputs, "application/json")
    np.testing.assert_allclose(np.squeeze(told.means), MEANS[0], atol=1e-6)
    told = house.http("/predict/colours", {"input": "no base64!"}, outputs, "application/json")
    assert (told.code, told.status) == ("input.dtype", 400)


def test_a_picture_too_large_is_refused_by_its_header(house: House) -> None:
    large = pictured.png(np.zeros((101, 100, 3), np.uint8))
    told = ONE["TorchServe: curl -T"](house, large)
    assert (told.code, told.status) == ("input.media", 400)
    assert "100x101" in told.fault


def test_a_broken_picture_never_fails_its_neighbours(house: House) -> None:
    """Requests that arrive together are run together, and their rows are told apart when one of them is bad."""
    from concurrent.futures import ThreadPoolExecutor

    send = ONE["plain: image/png"]
    with ThreadPoolExecutor(16) as pool:
        sent = [GOOD[0], BROKEN, GOOD[1], GOOD[0]] * 8
        answers = list(pool.map(lambda raw: send(house, raw), sent))
    for raw, told in zip(sent, answers, strict=True):
        if raw is BROKEN:
            assert (told.code, FAULT.format(0) in told.fault) == ("input.media", True)
        else:
            np.testing.assert_allclose(np.squeeze(told.means), MEANS[GOOD.index(raw)], atol=1e-6)


# -- what is made from the signature -----------------------------------------------------------------------------------


def test_the_form_takes_a_file_and_without_one_the_example(house: House) -> None:
    page = f"{house.server.admin_url}/docs/colours"
    assert 'type="file" accept="image/*"' in requests.get(page, timeout=30).text
    for files, mean in (({"input-0": ("b.png", GOOD[1])}, MEANS[1]), ({"input-0": ("", b"")}, EXAMPLE)):
        told = requests.post(f"{page}/try", files=files, timeout=30)
        assert told.status_code == 200
        cells = re.findall(r"<td><code>means</code></td><td>\d</td><td>([\d.]+)</td>", told.text)
        np.testing.assert_allclose(np.array(cells, float), mean, atol=1e-6)
    told = requests.post(f"{page}/try", files={"input-0": ("b.png", BROKEN)}, timeout=30)
    assert (told.status_code, "step image.decode: input" in told.text) == (400, True)


def test_every_curl_line_answers_when_it_is_pasted(house: House) -> None:
    signature = pictured.SIGNATURE
    sample = {"picture": text(pictured.png(pictured.picture(200, 40, 60)))}
    meta = ModelMetadata("colours", 1, (1,), signature, "onnx", None, sample)
    lines = curl_lines(meta, house.server.url)
    assert lines["torchserve"].startswith("echo ")
    for line in lines.values():
        told = subprocess.run(["bash", "-c", line.replace("curl ", "curl -sSf ", 1)], capture_output=True, timeout=60)
        assert (told.returncode, told.stderr) == (0, b""), line
        assert b"0.68" in told.stdout, line  # the mean of red, which every wire's default output has


def test_openapi_says_that_a_picture_may_be_the_body(house: House) -> None:
    document = requests.get(f"{house.server.admin_url}/openapi.json", timeout=30).json()
    for path in ("/predict/{model}", "/predictions/{model}", "/invocations"):
        assert "image/*" in document["paths"][path]["post"]["requestBody"]["content"]
    assert document["components"]["schemas"]["colours.plain.request"]["anyOf"][0]["items"]["anyOf"][0][
        "contentEncoding"
    ] == "base64"  # fmt: skip


def test_a_model_of_pictures_never_runs_on_the_event_loop(tmp_path: Path) -> None:
    """What a client sends decides how long it takes, not what was measured when the model was loaded."""
    with pictured.artifact(tmp_path / "colours.setsail") as made:
        loaded = open_runner(made)
        warm(made, loaded)
        assert loaded.facts.apart
        assert loaded.facts.invariant
        loaded.runner.close()
