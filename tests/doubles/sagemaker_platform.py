"""Amazon SageMaker as a container sees it, and as its callers do: the documented contract with its time limits.

`Container` runs `setsail serve` as the platform runs an image with the argument `serve`: variables say the rest, the
model lies below a folder that stands for /opt/ml, health is asked for every so often, and the end is SIGTERM and, 30
seconds later, SIGKILL. `Endpoint` is the public runtime API in front of one: what boto3 calls.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

__all__ = ["Container", "Endpoint", "NotTakenError", "Reply", "free_port"]

PING_SECONDS = 2.0
HEALTHY_SECONDS = 240.0
ACCEPT_SECONDS = 0.25
REPLY_SECONDS = 60.0
KILL_SECONDS = 30.0
LARGEST_BODY = 6_291_456
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def free_port() -> int:
    import socket

    with closing(socket.create_server(("127.0.0.1", 0))) as bound:
        port: int = bound.getsockname()[1]
        return port


class NotTakenError(OSError):
    """Nobody has accepted the connection: nothing was asked."""


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]
    seconds: float = 0.0

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Container:
    """A container of the platform's. As a context manager it is started, healthy, and ended.

    Args:
        base: what stands for /opt/ml; the model is in `model/` or, of many, they come into `models/`.
        variables: of the endpoint.
    """

    base: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Container:
        self.start()
        self.wait_until_healthy()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def start(self) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SAGEMAKER_", "SETSAIL_"))}
        said = {"SAGEMAKER_BASE_DIR": str(self.base), "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "setsail", "serve"], env={**kept, **said, **self.variables}, cwd=self.base,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait_until_healthy(self) -> float:
        """Seconds until /ping was answered with 200, in time."""
        began = time.monotonic()
        while time.monotonic() - began < HEALTHY_SECONDS:
            assert self.process is not None
            assert self.process.poll() is None, self.output()
            try:
                reply = self.ask("GET", "/ping", seconds=PING_SECONDS)
            except OSError:
                time.sleep(0.05)
                continue
            if reply.status == 200:
                return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError("the container did not become healthy")

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, seconds: float = REPLY_SECONDS, **headers: str
    ) -> Reply:
        """A request as the platform makes it: connected within 250 ms, answered within `seconds`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ACCEPT_SECONDS)
        with closing(connection):
            try:
                connection.connect()
            except OSError as fault:
                raise NotTakenError from fault
            assert connection.sock is not None
            connection.sock.settimeout(seconds)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            began = time.monotonic()
            connection.request(method, path, body, named)
            told = connection.getresponse()
            return Reply(told.status, told.read(), dict(told.getheaders()), time.monotonic() - began)

    def stop(self) -> float:
        """End it as the platform does; how long it took. One that must be killed fails the test."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("the container had to be killed") from None
        return time.monotonic() - began

    def output(self) -> str:
        """All it has said."""
        return self._log.read_text()

    @property
    def _log(self) -> Path:
        return self.base / "container.log"


class Endpoint:
    """The runtime API of one endpoint, on a port of its own.

    Args:
        store: artifacts by the key that a caller names one with; what S3 is to a multi-model endpoint.
    """

    def __init__(self, container: Container, store: Mapping[str, Path] | None = None) -> None:
        self.container, self.store = container, store or {}
        self.loaded: dict[str, str] = {}
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def path(self, target: str | None) -> str:
        """Where in the container a request goes; a target that is not there is fetched and loaded first."""
        if target is None:
            return "/invocations"
        name = hashlib.sha256(target.encode()).hexdigest()[:32]
        if target not in self.loaded:
            if target not in self.store:
                raise KeyError(target)
            place = self.container.base / "models" / name / "model"
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.store[target], place)
            self._load(name, place)
            self.loaded[target] = name
        return f"/models/{name}/invoke"

    def _load(self, name: str, place: Path) -> None:
        body = json.dumps({"model_name": name, "url": str(place)}).encode()
        reply = self.container.ask("POST", "/models", body, Content_Type="application/json")
        while reply.status == 507 and self.loaded:  # no memory: the oldest goes, and it is tried again
            oldest = next(iter(self.loaded))
            self.container.ask("DELETE", f"/models/{self.loaded.pop(oldest)}")
            reply = self.container.ask("POST", "/models", body, Content_Type="application/json")
        assert reply.status == 200, reply


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        parts = unquote(self.path).split("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if len(body) > LARGEST_BODY:
            return self._fail(400, "ValidationError", {"Message": "the body is too large"})
        passed = ("Content-Type", "Accept", ATTRIBUTES, "X-Amzn-SageMaker-Inference-Id",
                  "X-Amzn-SageMaker-Target-Model")  # fmt: skip
        headers = {name.replace("-", "_"): self.headers[name] for name in passed if self.headers[name]}
        if streamed := self.headers["X-Amzn-SageMaker-Accept"]:  # as the streaming call spells it
            headers["Accept"] = streamed
        try:
            path = self.endpoint.path(self.headers["X-Amzn-SageMaker-Target-Model"])
        except KeyError:
            return self._fail(400, "ValidationError", {"Message": "there is no such target model"})
        reply = self.endpoint.container.ask("POST", path, body, **headers)
        if reply.status >= 300:
            told = {"Message": "Received an error from the model", "OriginalStatusCode": reply.status,
                    "OriginalMessage": reply.body.decode(), "LogStreamArn": "none"}  # fmt: skip
            return self._fail(424, "ModelError", told)
        if parts[3] == "invocations-response-stream":
            return self._reply(200, b"".join(_events(reply.body)), {
                "Content-Type": "application/vnd.amazon.eventstream",
                "X-Amzn-SageMaker-Content-Type": reply.headers.get("content-type", ""),
            })  # fmt: skip
        told_of = {name: value for name, value in reply.headers.items() if name.lower() == ATTRIBUTES.lower()}
        variant = {"x-Amzn-Invoked-Production-Variant": "AllTraffic"}
        return self._reply(200, reply.body, {"Content-Type": reply.headers["content-type"], **variant, **told_of})

    def _fail(self, status: int, kind: str, body: Any) -> None:
        self._reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", "x-amzn-ErrorType": kind})

    def _reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


# -- the event stream of a streamed reply: https://smithy.io/2.0/aws/amazon-eventstream.html ---------------------------


def _events(body: bytes, size: int = 1000) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield _event(body[start : start + size])


def _event(payload: bytes) -> bytes:
    headers = b"".join(
        struct.pack("!B", len(name)) + name + b"\x07" + struct.pack("!H", len(value)) + value
        for name, value in (
            (b":message-type", b"event"), (b":event-type", b"PayloadPart"),
            (b":content-type", b"application/octet-stream"),
        )
    )  # fmt: skip
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))
