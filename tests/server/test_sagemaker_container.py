"""`setsail serve` as a SageMaker container: its variables, its health, its end, one model and many."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sagemaker_platform import Container, Endpoint, NotTakenError
from sklearn.linear_model import LinearRegression

import setsail

X = np.arange(40.0).reshape(20, 2) % 7
JSON = "application/json"


def pack(place: Path, name: str, constant: float) -> Path:
    model = LinearRegression().fit(X, X @ [2.0, -1.0] + constant)
    setsail.pack(model, X, name=name, version=3, output=place).close()
    return place


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two artifacts, by their keys in a bucket."""
    folder = tmp_path_factory.mktemp("bucket")
    return {f"{name}.tar.gz": pack(folder / f"{name}.setsail", name, constant)
            for name, constant in (("line", 3.0), ("slope", 0.0))}  # fmt: skip


@pytest.fixture(scope="module")
def container(artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    base = tmp_path_factory.mktemp("opt-ml")
    (base / "model").mkdir()
    shutil.copy(artifacts["line.tar.gz"], base / "model" / "model.setsail")
    variables = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv",
                 "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1", "SAGEMAKER_PROGRAM": "inference.py"}  # fmt: skip
    with Container(base, variables) as started:
        yield started
        assert started.stop() < 10
        assert started.process is not None
        assert started.process.returncode == 0
        assert "SAGEMAKER_PROGRAM is left alone" in started.output()


def test_health_is_an_empty_200_in_time(container: Container) -> None:
    reply = container.ask("GET", "/ping", seconds=2.0)
    assert (reply.status, reply.body) == (200, b"")


def test_an_invocation(container: Container) -> None:
    reply = container.ask("POST", "/invocations", b"1,2\n3,4\n", Content_Type="text/csv", Accept=JSON)
    assert reply.json() == pytest.approx([3.0, 5.0])


def test_the_variables_hold(container: Container) -> None:
    reply = container.ask("POST", "/invocations", b"[[1, 2]]", Content_Type=JSON)
    assert (reply.headers["content-type"], float(reply.body)) == ("text/csv", pytest.approx(3.0))
    assert container.ask("POST", "/invocations", b" " * (1 << 20) + b"[[1, 2]]", Content_Type=JSON).status == 413
    told = container.ask("GET", "/execution-parameters").json()
    assert (told["MaxPayloadInMB"], told["BatchStrategy"]) == (1, "MULTI_RECORD")


def test_only_the_contracts_paths_are_there(container: Container) -> None:
    for path in ("/v2", "/models", "/predict/line", "/metrics"):
        assert container.ask("GET", path).status == 404
    reply = container.ask("POST", "/invocations", b"[[1]]", Content_Type=JSON)
    assert (reply.status, reply.json()["code"]) == (400, "input.shape")


def test_sigterm_lets_nobody_wait_for_an_answer_in_vain(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """Requests that come while the container is told to end are answered, or never taken."""
    (tmp_path / "model").mkdir()
    shutil.copy(artifacts["line.tar.gz"], tmp_path / "model")
    statuses: list[int] = []
    with Container(tmp_path, {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}) as container:
        ended = threading.Event()

        def ask() -> None:
            while not ended.is_set():
                try:
                    statuses.append(container.ask("POST", "/invocations", b"[[1, 2]]", Content_Type=JSON).status)
                except NotTakenError:
                    return

        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        while len(statuses) < 20:
            pass
        assert container.stop() < 30
        ended.set()
        for thread in asking:
            thread.join()
    assert set(statuses) == {200}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_models_come_and_go(artifacts: dict[str, Path], tmp_path: Path, workers: str) -> None:
    variables = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": workers}
    (tmp_path / "models").mkdir()
    with Container(tmp_path, variables) as container, Endpoint(container, artifacts) as endpoint:
        line, slope = endpoint.path("line.tar.gz"), endpoint.path("slope.tar.gz")
        for _ in range(8):  # whichever process answers has them
            assert container.ask("POST", line, b"1,2\n", Content_Type="text/csv").json() == pytest.approx([3.0])
            assert container.ask("POST", slope, b"1,2\n", Content_Type="text/csv").json() == pytest.approx([0.0])
        name, other = endpoint.loaded["line.tar.gz"], endpoint.loaded["slope.tar.gz"]
        place = str(tmp_path / "models" / name / "model")
        assert container.ask("GET", f"/models/{name}").json() == {"modelName": name, "modelUrl": place}
        listed = container.ask("GET", "/models").json()["models"]
        assert [model["modelName"] for model in listed] == sorted([name, other])

        again = container.ask("POST", "/models", json.dumps({"model_name": name, "url": place}).encode())
        assert again.status == 409
        elsewhere = json.dumps({"model_name": "x", "url": str(tmp_path / "other")}).encode()
        assert container.ask("POST", "/models", elsewhere).status == 403
        assert container.ask("DELETE", f"/models/{name}").status == 200
        for method, path in (("GET", f"/models/{name}"), ("DELETE", f"/models/{name}"), ("POST", line)):
            assert container.ask(method, path, b"[[1, 2]]").status == 404
        assert container.ask("POST", slope, b"1,2\n", Content_Type="text/csv").status == 200
        assert container.ask("GET", "/ping").status == 200
