"""Archives of TorchServe behind a server: trust, the handler's contract, death and recovery, the model store."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from archived import COUNTING, archive
from client_envs import client_python
from functions import until
from shell import process

from setsail.catalog import Register, Terms
from setsail.errors import SetsailError
from setsail.protocols.grpc.pool import message
from setsail.server.run import Server
from setsail.server.settings import Settings

pytest.importorskip("yaml", reason="model-config.yaml is YAML")
Serve = Callable[..., Server]
CONFIG = "batchSize: 4\nmaxBatchDelay: 20\nhandler:\n  word: yes indeed\n"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(path, …)` serves paths."""
    opened: list[Server] = []

    def make(*paths: Path, **settings: Any) -> Server:
        server = Server(Settings(port=0, admin_port=-1, **{"trust": "mar", **settings}))
        opened.append(server)
        for path in paths:
            server.open(path)
        return server.start()

    yield make
    for server in opened:
        server.close()


def ask(server: Server, content: bytes = b"abc", model: str = "counts", **given: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/predictions/{model}", timeout=30, **({"content": content} | given))


def test_without_trust_nothing_is_started(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        serve(archive(tmp_path / "counts.mar"), trust="app")
    assert (caught.value.code, caught.value.expected) == ("source.trust", "--trust mar")


def test_what_a_handler_is_given_and_what_goes_out(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(archive(tmp_path / "counts.mar"))
    told = ask(server).json()
    assert told == {"kind": "bytearray", "length": 3, "word": "none", "sizes": 1, "numbers": [1, 2]}
    assert ask(server, json=[1, 2, 3], content=None).json()["kind"] == "list"
    assert ask(server, json="text", content=None).json()["kind"] == "str"
    assert ask(server, json=None, content=b"x", headers={"content-type": "text/plain"}).json()["kind"] == "str"
    assert ask(server, content=None, files={"data": ("a.bin", b"12345", "application/x-any")}).json()["length"] == 5
    assert ask(server, content=None, data={"data": "12"}).json() | {"word": 0} == told | {"length": 2, "word": 0}
    assert ask(server).text == json.dumps(told, indent=2)  # laid out as TorchServe lays it out
    assert "content-type" not in ask(server).headers
    # -- what a handler says of its answer
    picture = ask(server, b"picture")
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG\xff\x00", "image/png")
    header = ask(server, b"header", headers={"X-Asked": "who"})
    assert (header.status_code, header.text, header.headers["x-said"]) == (201, "made", "who")
    refused = ask(server, b"refuse")
    assert (refused.status_code, refused.json()["message"]) == (422, "nothing of this kind")
    # -- faults: the trace is the operator's
    with caplog.at_level(logging.ERROR):
        fault = ask(server, b"raise")
    assert (fault.status_code, fault.json()) == (
        503, {"code": 503, "type": "InternalServerException", "message": "Prediction failed"},
    )  # fmt: skip
    assert "4711" not in fault.text
    assert "ValueError: the secret is 4711" in caplog.text
    assert ask(server, b"{", headers={"content-type": "application/json"}).status_code == 400
    assert ask(server).status_code == 200


def test_other_wires_carry_it_as_text(serve: Serve, tmp_path: Path) -> None:
    server = serve(archive(tmp_path / "counts.mar"))
    plain = httpx.post(f"{server.url}/predict/counts", json={"request": ["ab", "abc"]}, timeout=30).json()
    assert [json.loads(text)["length"] for text in plain["outputs"]["output"]] == [2, 3]
    tensor = {"name": "request", "shape": [1], "datatype": "BYTES", "data": ["picture"]}
    told = httpx.post(f"{server.url}/v2/models/counts/infer", json={"inputs": [tensor]}, timeout=30).json()
    output, headers = (one["data"][0] for one in told["outputs"])
    assert output == "iVBOR/8A"  # base64, and the headers say so
    assert json.loads(headers) == {"content-type": "image/png", "content-transfer-encoding": "base64"}


def test_requests_share_a_call_up_to_the_batch_of_the_configuration(serve: Serve, tmp_path: Path) -> None:
    files = {"handler.py": COUNTING, "numbers.json": "[]", "model-config.yaml": CONFIG}
    server = serve(archive(tmp_path / "counts.mar", files=files, configFile="model-config.yaml"))
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(server, b"slow").json())) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 9
    assert max(one["sizes"] for one in answers) == 4  # some shared, and none with more than it may
    assert answers[0]["word"] == "yes indeed"


def test_a_handler_that_dies_is_started_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(archive(tmp_path / "counts.mar"), archive(tmp_path / "other.mar"))
    ended = ask(server, b"die")
    assert (ended.status_code, ended.json()["code"]) == (503, 503)
    assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
    assert ask(server, model="other").status_code == 200
    until(lambda: ask(server).status_code == 200)
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200


def test_a_model_store_is_one_path(tmp_path: Path) -> None:
    store = tmp_path / "store"
    archive(store / "counts.mar", version="2.0")
    archive(store / "text.mar", "text_classifier", {})
    archive(store / "needy.mar", requirementsFile="numbers.json")
    (store / "broken.mar").write_bytes(b"PK")
    ports = "8080=0,8081=0,8082=0,7070=0,7071=0"
    with Server(Settings(port=0, admin_port=-1, trust="mar", as_="torchserve", ports=ports)) as server:
        notes = [opening.note for opening in server.open(store)]
        plan = dict(note.split(": ", 1) for note in notes if ".mar: " in note and not note.startswith("not loaded"))
        assert plan["counts.mar"] == "its own code, in a process of its own"
        assert "[convert.unsupported]" in plan["text.mar"]
        assert "setsail prepare" in plan["needy.mar"]
        assert "[source.damaged]" in plan["broken.mar"]
        server.start()
        assert ask(server).status_code == 200
        assert httpx.post(f"{server.url}/predictions/counts/2.0", content=b"abc").status_code == 200
        assert ask(server, model="text").status_code == 503


def test_an_archive_is_registered_with_its_batch(serve: Serve, tmp_path: Path) -> None:
    archive(tmp_path / "store" / "counts.mar")
    server = serve(model_store=str(tmp_path / "store"), model_control="explicit")
    told = server.house.answer(Register("counts.mar", "again", terms=Terms(batch_size=3)))
    assert (told.name, told.version) == ("again", 1)
    assert ask(server, model="again").json()["sizes"] == 1
    runner = server.house.table.get("again", 1).loaded.runner  # type: ignore[union-attr]
    assert runner.max_batch == 3


def test_it_is_answered_over_grpc(serve: Serve, tmp_path: Path) -> None:
    grpc = pytest.importorskip("grpc")
    server = serve(archive(tmp_path / "counts.mar"))
    package = "org.pytorch.serve.grpc.inference"
    with grpc.insecure_channel(server.grpc_target) as channel:
        call = channel.unary_unary(f"/{package}.InferenceAPIsService/Predictions")

        def predict(data: bytes) -> Any:
            asked = message(f"{package}.PredictionsRequest")(model_name="counts", input={"data": data})
            return message(f"{package}.PredictionResponse").FromString(call(asked.SerializeToString())).prediction

        assert json.loads(predict(b"12"))["length"] == 2
        assert predict(b"picture") == b"\x89PNG\xff\x00"
        with pytest.raises(grpc.RpcError) as caught:
            predict(b"refuse")
        assert "nothing of this kind" in caught.value.details()


def test_a_store_from_the_command_line_and_a_handler_killed_from_outside(tmp_path: Path) -> None:
    archive(tmp_path / "store" / "counts.mar")
    flags = ("--as", "torchserve", "--trust", "mar", "--workers", 1, "--admin-port", -1, "--json")
    ports = "8080=0,8081=0,8082=0,7070=0,7071=0"
    with process("serve", tmp_path / "store", *flags, "--ports", ports) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]

        def status() -> int:
            return httpx.post(f"{url}/predictions/counts", content=b"abc", timeout=30).status_code

        assert status() == 200
        (handler,) = children(server.pid)
        os.kill(handler, signal.SIGKILL)
        seen = {status()}
        until(lambda: seen.add(status()) or 200 in seen)
        assert httpx.get(f"{url}/ping").json() == {"status": "Healthy"}
        assert 503 in seen or handler not in children(server.pid)
        server.terminate()
        server.communicate(timeout=30)


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] or [
        int(text) for task in Path(f"/proc/{pid}/task").iterdir() for text in (task / "children").read_text().split()
    ]


@pytest.mark.slow
def test_what_torch_model_archiver_writes(serve: Serve, tmp_path: Path) -> None:
    """The real archiver, in an environment of its own, in each of its forms."""
    python = client_python("torch-model-archiver", "torch-model-archiver==0.12.0", "setuptools<81")
    (tmp_path / "handler.py").write_text(COUNTING)
    (tmp_path / "numbers.json").write_text("[1, 2]")
    forms = {"default": "counts.mar", "zip-store": "counts.mar", "tgz": "counts.tar.gz", "no-archive": "counts"}
    for form, name in forms.items():
        out = tmp_path / form
        out.mkdir()
        told = subprocess.run(
            [str(python.parent / "torch-model-archiver"), "--model-name", "counts", "--version", "1.0", "--handler",
             "handler.py", "--extra-files", "numbers.json", "--archive-format", form, "--export-path", str(out)],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        assert ask(serve(out / name)).json()["length"] == 3
