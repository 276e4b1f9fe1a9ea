"""A server in one process: ports, repositories, signals, keys and TLS, with real sockets."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import setsail
from setsail.errors import SetsailError
from setsail.runtime import onnx_runner
from setsail.server.run import Server
from setsail.server.settings import Settings

X = np.arange(40.0).reshape(20, 2) % 7
MODEL = LinearRegression().fit(X, X @ [2.0, -1.0] + 3)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a straight line."""
    path = tmp_path_factory.mktemp("line") / "line.setsail"
    setsail.pack(MODEL, X, name="line", output=path).close()
    return path


def free(**settings: Any) -> Settings:
    return Settings(port=0, admin_port=0, **settings)


def ask(url: str, rows: Any, headers: dict[str, str] | None = None, context: Any = None) -> Any:
    body = json.dumps({"instances": rows}).encode()
    request = urllib.request.Request(url + "/v1/models/line:predict", data=body, headers=headers or {})
    with urllib.request.urlopen(request, timeout=10, context=context) as reply:
        return json.load(reply)


def test_it_answers_as_the_source(line: Path) -> None:
    with Server(free()) as server:
        server.open(line)
        server.start()
        assert ask(server.url, X.tolist())["predictions"] == pytest.approx(MODEL.predict(X).tolist())
        assert server.predict(X) == pytest.approx(MODEL.predict(X))


def test_a_repository_is_given_no_name(line: Path, tmp_path: Path) -> None:
    """Its directories are the names: one for all would be left unsaid, and answered by nobody."""
    (tmp_path / "models").mkdir()
    shutil.copy(line, tmp_path / "models")
    with Server(free()) as server, pytest.raises(SetsailError, match="whose directories") as caught:
        server.open(tmp_path / "models", name="other")
    assert (caught.value.code, caught.value.field) == ("setting.value", "--name")
    with Server(free()) as server:
        server.open(line, name="other")  # of one model it is the name
        server.start()
        assert [model["name"] for model in server.describe()["models"]] == ["other"]


def test_what_it_describes_can_be_pasted(line: Path) -> None:
    with Server(free()) as server:
        server.open(line)
        described = server.start().describe()
        assert described["url"] == server.url
        assert [(m["name"], m["version"]) for m in described["models"]] == [("line", 1)]
        for command in described["models"][0]["curl"].values():
            done = subprocess.run(command + " -sf", shell=True, capture_output=True, text=True, timeout=20)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)


def test_a_taken_port_says_what_to_type_instead(line: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetsailError) as caught:
            Server(Settings(port=port, admin_port=-1)).start()
    assert caught.value.code == "port.in_use"
    assert "--port 0" in caught.value.message


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        Server(Settings(host="203.0.113.7", port=0)).start()
    assert caught.value.code == "setting.value"


def test_without_an_admin_port(line: Path) -> None:
    with Server(Settings(port=0, admin_port=-1)) as server:
        server.open(line)
        server.start()
        assert server.admin_url is None
        assert ask(server.url, [[1.0, 2.0]])["predictions"] == pytest.approx([3.0])


def test_keys_are_read_from_the_file(line: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first-key\n\nsecond-key\n")
    with Server(free(api_key_file=str(keys))) as server:
        server.open(line)
        server.start()
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(server.url, [[1.0, 2.0]])
        assert caught.value.code == 401
        caught.value.close()
        assert ask(server.url, [[1.0, 2.0]], {"authorization": "Bearer second-key"})
        for command in server.describe()["models"][0]["curl"].values():
            shell = {**os.environ, "SETSAIL_API_KEY": "first-key"}
            assert subprocess.run(command + " -sfo /dev/null", shell=True, env=shell, timeout=20).returncode == 0
        with urllib.request.urlopen(f"{server.admin_url}/docs/line", timeout=10) as page:
            assert b"$SETSAIL_API_KEY" in page.read()


def test_a_key_file_without_keys_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(SetsailError) as caught:
        Server(free(api_key_file=str(tmp_path / "keys"))).start()
    assert caught.value.code == "setting.value"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls(line: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    with Server(free(tls_cert=str(cert), tls_key=str(key))) as server:
        server.open(line)
        server.start()
        assert server.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(cert))
        assert ask(server.url, [[1.0, 2.0]], context=trusting)["predictions"] == pytest.approx([3.0])


def test_a_repository_serves_its_versions(line: Path, tmp_path: Path) -> None:
    (tmp_path / "models/line").mkdir(parents=True)
    for version in (1, 3):
        shutil.copy(line, tmp_path / f"models/line/{version}.setsail")
    with Server(free()) as server:
        server.open(tmp_path / "models")
        server.start()
        versions = [(m["version"]) for m in server.describe()["models"]]
        assert versions == [1, 3]
        assert ask(server.url, [[1.0, 2.0]])["predictions"] == pytest.approx([3.0])


def test_models_side_by_side(line: Path, tmp_path: Path) -> None:
    shutil.copy(line, tmp_path / "line.setsail")
    setsail.pack(MODEL, X, name="other", output=tmp_path / "other.setsail").close()
    with Server(free()) as server:
        server.open(tmp_path)
        assert {m["name"] for m in server.start().describe()["models"]} == {"line", "other"}
        with pytest.raises(SetsailError) as caught:
            server.predict(X)
    assert caught.value.code == "model.unknown"


def test_a_directory_without_models_is_refused(tmp_path: Path) -> None:
    with Server(free()) as server, pytest.raises(SetsailError) as caught:
        server.open(tmp_path)
    assert caught.value.code == "repository.empty"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends(line: Path, number: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; from setsail.server.run import Server; "
        "from setsail.server.settings import Settings; s = Server(Settings(port=0, admin_port=0)); "
        "s.open(Path(sys.argv[1])); s.start(); print(s.url, flush=True); s.wait(); print(s.stopped_by.name)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(line)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    url = child.stdout.readline().strip()
    assert ask(url, [[1.0, 2.0]])["predictions"] == pytest.approx([3.0])
    time.sleep(0.2)  # it is about to call `wait`, which takes signals over
    os.kill(child.pid, number)
    out, errors = child.communicate(timeout=20)
    assert (child.returncode, out.strip(), errors) == (0, number.name, "")


def test_closing_twice_is_closing_once(line: Path) -> None:
    server = Server(free())
    server.open(line)
    server.start()
    url = server.url
    server.close()
    server.close()
    with pytest.raises(urllib.error.URLError):
        ask(url, [[1.0, 2.0]])


def test_stopping_waits_for_a_running_request(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, answers = threading.Event(), []
    run = onnx_runner.OnnxRunner.run

    def slow(self: Any, inputs: Any) -> Any:
        begun.set()
        time.sleep(0.5)
        return run(self, inputs)

    with Server(free()) as server:
        server.open(line)
        server.start()
        monkeypatch.setattr(onnx_runner.OnnxRunner, "run", slow)
        asking = threading.Thread(target=lambda: answers.append(ask(server.url, [[1.0, 2.0]])))
        asking.start()
        assert begun.wait(10)
        server.close()
        asking.join(10)
    assert answers[0]["predictions"] == pytest.approx([3.0])
