"""HTTP/2 on the data port: real clients on a live server; time, windows and drains on a transport of our own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakehouse import gallery
from h2_peer import GET, Frame, split
from hpack import Decoder, Encoder
from sklearn.linear_model import LinearRegression

import setsail
from setsail.monitor.meter import Meter
from setsail.protocols.budget import Budget
from setsail.protocols.grpc.framing import prefix
from setsail.protocols.grpc.pool import message
from setsail.protocols.http import HttpReply
from setsail.protocols.http1.head import Limits
from setsail.protocols.http2 import frames
from setsail.server.dispatch import Desk
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.streams import Streams

grpc = pytest.importorskip("grpc")

X = np.arange(40.0).reshape(20, 2) % 7
MODEL = LinearRegression().fit(X, X @ [2.0, -1.0] + 3)
OIP = "/inference.GRPCInferenceService/"
HEALTH = "/grpc.health.v1.Health/"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a straight line."""
    path = tmp_path_factory.mktemp("line") / "line.setsail"
    setsail.pack(MODEL, X, name="line", output=path).close()
    return path


@pytest.fixture(scope="module")
def server(line: Path) -> Iterator[Server]:
    with Server(Settings(port=0, admin_port=-1)) as made:
        made.open(line)
        made.start()
        yield made


@pytest.fixture(scope="module")
def port(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture
def channel(port: int) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as made:
        yield made


def asks(rows: Any, **more: Any) -> bytes:
    """A ModelInferRequest."""
    array = np.asarray(rows, dtype=np.float64)
    ask = message("inference.ModelInferRequest")(model_name="line", **more)
    ask.inputs.add(name="input", datatype="FP64", shape=array.shape)
    ask.raw_input_contents.append(array.tobytes())
    octets: bytes = ask.SerializeToString()
    return octets


def answers(octets: bytes) -> list[float]:
    answer = message("inference.ModelInferResponse").FromString(octets)
    return np.frombuffer(answer.raw_output_contents[0]).tolist()


# -- real clients


def test_grpcio(channel: Any) -> None:
    infer = channel.unary_unary(OIP + "ModelInfer")
    expected = pytest.approx(MODEL.predict(X).tolist())
    assert answers(infer(asks(X), timeout=10)) == expected
    assert answers(infer(asks(X), timeout=10, compression=grpc.Compression.Gzip)) == expected
    calls = [infer.future(asks(X[i % 20 : i % 20 + 1])) for i in range(200)]
    assert [answers(call.result(10))[0] for call in calls] == pytest.approx(MODEL.predict(np.tile(X, (10, 1))).tolist())


def test_grpcio_with_a_large_message(port: int) -> None:
    """Answers larger than a client's first window, and requests larger than ours."""
    rows = np.tile(X, (10_000, 1))
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        octets = channel.unary_unary(OIP + "ModelInfer")(asks(rows), timeout=30)
    assert answers(octets) == pytest.approx(MODEL.predict(rows).tolist())


def test_grpcio_aio(port: int) -> None:
    async def ask() -> list[float]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            infer = channel.unary_unary(OIP + "ModelInfer")
            octets = await asyncio.gather(*(infer(asks([[i, 1.0]]), timeout=20) for i in range(300)))
        return [answers(one)[0] for one in octets]

    assert asyncio.run(ask()) == pytest.approx(MODEL.predict([[i, 1.0] for i in range(300)]).tolist())


def test_a_stream_is_answered_in_order_and_survives_faults(channel: Any) -> None:
    stream = channel.stream_stream(OIP + "ModelStreamInfer")
    sent = [asks([[i, 2.0]], id=str(i)) for i in range(50)]
    sent.insert(25, b"\xff not a message")
    got = [message("inference.ModelStreamInferResponse").FromString(m) for m in stream(iter(sent), timeout=20)]
    assert got.pop(25).error_message != ""
    assert [one.infer_response.id for one in got] == [str(i) for i in range(50)]


def test_a_stream_may_send_faster_than_it_is_answered(channel: Any) -> None:
    stream = channel.stream_stream(OIP + "ModelStreamInfer")
    sent = [asks([[i, 2.0]], id=str(i)) for i in range(5000)]
    got = [message("inference.ModelStreamInferResponse").FromString(m) for m in stream(iter(sent), timeout=60)]
    assert {one.error_message for one in got} == {""}
    assert [one.infer_response.id for one in got] == [str(i) for i in range(5000)]


def test_health_is_watched(channel: Any) -> None:
    watch = channel.unary_stream(HEALTH + "Watch")(b"", timeout=20)
    assert message("grpc.health.v1.HealthCheckResponse").FromString(next(watch)).status == 1
    watch.cancel()


@pytest.mark.parametrize(("path", "octets", "status", "code"), [
    (OIP + "Nothing", b"", "UNIMPLEMENTED", "request.unsupported"),
    (OIP + "ModelInfer", b"\xff", "INVALID_ARGUMENT", "request."),
    (OIP + "ModelMetadata", message("inference.ModelMetadataRequest")(name="none").SerializeToString(), "NOT_FOUND",
     "model.unknown"),
])  # fmt: skip
def test_faults_are_statuses(channel: Any, path: str, octets: bytes, status: str, code: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(octets, timeout=10)
    assert caught.value.code().name == status
    assert dict(caught.value.trailing_metadata())["x-setsail-error"].startswith(code)
    assert caught.value.details()


def run(*command: str, sends: str | None = None) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=sends, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_curl(port: int) -> None:
    def curl(path: str, *more: str, sends: str | None = None) -> str:
        return run("curl", "-sS", "--http2-prior-knowledge", *more, f"http://127.0.0.1:{port}{path}", sends=sends)

    asked = json.loads(curl("/v1/models/line:predict", "-d", json.dumps({"instances": X.tolist()})))
    assert asked["predictions"] == pytest.approx(MODEL.predict(X).tolist())
    big = json.dumps({"instances": np.tile(X, (5000, 1)).tolist()})
    asked = json.loads(curl("/v1/models/line:predict", "-d", "@-", sends=big))
    assert len(asked["predictions"]) == 100_000
    assert curl("/nothing", "-o", "/dev/null", "-w", "%{http_version} %{http_code}") == "2 404"
    assert curl("/v2/health/ready", "-I").startswith("HTTP/2 200")


def test_nghttp(port: int) -> None:
    assert json.loads(run("nghttp", f"http://127.0.0.1:{port}/v2/models/line"))["name"] == "line"


def test_h2load(port: int, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(prefix(len(asks(X[:1]))) + asks(X[:1]))
    said = run(
        "h2load", "-n", "4000", "-c", "8", "-m", "32", "-d", str(body), "-H", "content-type: application/grpc",
        "-H", "te: trailers", f"http://127.0.0.1:{port}{OIP}ModelInfer",
    )  # fmt: skip
    assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in said


@pytest.mark.slow  # many clients and one moment to be caught: for `make test-all`
def test_a_drain_loses_nothing(line: Path) -> None:
    """Calls that are under way when the server is told to stop are answered; those after it never reached it."""
    server = Server(Settings(port=0, admin_port=-1, max_delay=0.05))
    server.open(line)
    server.start()
    target = server.url.removeprefix("http://")
    good, bad, stop = [], [], threading.Event()

    def client() -> None:
        with grpc.insecure_channel(target, [("grpc.enable_retries", 0)]) as channel:
            infer = channel.unary_unary(OIP + "ModelInfer")
            while not stop.is_set():
                try:
                    good.append(answers(infer(asks(X[:1]), timeout=5)))
                except grpc.RpcError as fault:
                    bad.append((fault.code(), fault.details()))
                    return

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    try:
        assert server.drain()
    finally:
        server.close()
        stop.set()
        for thread in threads:
            thread.join()
    assert len(good) > 20
    assert all(code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in text for code, text in bad), bad


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls_offers_http_2(line: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
    )  # fmt: skip
    with Server(Settings(port=0, admin_port=-1, tls_cert=str(cert), tls_key=str(key))) as server:
        server.open(line)
        server.start()
        said = run("curl", "-sS", "--cacert", str(cert), "--http2", "-w", " %{http_version}", server.url + "/v2")
        assert said.endswith("} 2")
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(server.url.removeprefix("https://"), credentials) as channel:
            assert answers(channel.unary_unary(OIP + "ModelInfer")(asks(X), timeout=10))


def test_keys(line: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    with Server(Settings(port=0, admin_port=-1, api_key_file=str(keys))) as server:
        server.open(line)
        server.start()
        with grpc.insecure_channel(server.url.removeprefix("http://")) as channel:
            infer = channel.unary_unary(OIP + "ModelInfer")
            with pytest.raises(grpc.RpcError) as caught:
                infer(asks(X), timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert infer(asks(X), timeout=10, metadata=[("authorization", "Bearer secret")])
            assert channel.unary_unary(HEALTH + "Check")(b"", timeout=10) == b"\x08\x01"


# -- time, windows and drains, with a transport of our own


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.buffered = 0
        self.closed = self.aborted = self.reading_paused = False
        self.halves, self.ended = False, False

    def write(self, octets: bytes) -> None:
        self.written += octets

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def can_write_eof(self) -> bool:
        return self.halves

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading_paused = True

    def resume_reading(self) -> None:
        self.reading_paused = False

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.buffered


class Loop:
    """What the next turn of a loop would call."""

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, callback: Any, *args: Any) -> None:
        self.soon.append((callback, args))

    def call_later(self, seconds: float, callback: Any, *args: Any) -> None:
        self.soon.append((callback, args))

    def turn(self) -> None:
        calls, self.soon = self.soon, []
        for callback, args in calls:
            callback(*args)


class Line:
    """A connection's streams with a fake house behind them; predictions are held back when `hold` is set."""

    def __init__(self, *, hold: bool = False, draining: bool = False, body: int = 1 << 20) -> None:
        self.loop, self.transport = Loop(), Transport()
        self.desk = Desk(gallery(), meter=Meter(), max_body=body)
        self.held: list[Any] = []
        self.tickets: list[Any] = []
        if hold:
            self.desk.ask = self._hold  # type: ignore[method-assign, assignment]
        self.plane: Any = SimpleNamespace(
            desk=self.desk, limits=Limits(65536, 100, body), budget=Budget(1 << 24), loop=self.loop, now=0.0,
            date=b"Sat, 21 Nov 2026 05:00:00 GMT", gzip_replies=0, idle_timeout=75, header_timeout=10.0,
            min_bytes=10_240, draining=draining, inflight=0, refusal=lambda: None,
        )  # fmt: skip
        self.streams = Streams(self.plane, self.transport)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.got: list[Frame] = []
        self.send(frames.PREFACE + frames.settings({}))

    def _hold(self, ask: Any, done: Any, nbytes: int, loop: Any, deadline: float = 0.0) -> Any:
        self.held.append((ask, done))
        self.tickets.append(SimpleNamespace(cancelled=False))
        return self.tickets[-1]

    def send(self, octets: bytes) -> list[Frame]:
        self.streams.data_received(octets)
        self.loop.turn()
        return self.read()

    def read(self) -> list[Frame]:
        found, self.transport.written = split(self.transport.written), b""
        self.got += found
        return found

    def tick(self, now: float) -> list[Frame]:
        self.plane.now = now
        self.streams.tick(now)
        self.loop.turn()
        return self.read()

    def call(
        self, stream: int, path: str = HEALTH + "Check", octets: bytes | None = b"", *, end: bool = True, **more: str
    ) -> bytes:
        fields = [(":method", "POST"), *GET[1:2], (":path", path), GET[3], ("content-type", "application/grpc")]
        fields += [(name.replace("_", "-"), value) for name, value in more.items()]
        head = frames.frame(frames.HEADERS, 4, stream, self.encoder.encode(fields))
        if octets is None:
            return head
        return head + frames.frame(frames.DATA, int(end), stream, prefix(len(octets)) + octets)

    def fields(self, stream: int) -> list[dict[str, str]]:
        return [
            dict(self.decoder.decode(f.payload)) for f in self.got if f.kind == frames.HEADERS and f.stream == stream
        ]

    def status(self, stream: int) -> str:
        return self.fields(stream)[-1]["grpc-status"]


def test_answers_of_one_turn_are_one_write() -> None:
    line = Line(hold=True)
    line.send(b"".join(line.call(n) for n in range(1, 129, 2)))
    writes: list[bytes] = []
    line.transport.write = writes.append  # type: ignore[method-assign]
    for _, done in line.held:
        done(True)
    line.loop.turn()
    assert len(writes) == 1
    assert len([f for f in split(writes[0]) if f.kind == frames.DATA]) == 64
    assert line.plane.inflight == 0


def test_a_call_that_is_not_answered_in_time() -> None:
    line = Line(hold=True)
    line.send(line.call(1, grpc_timeout="1m"))
    time.sleep(0.005)
    line.tick(1.0)
    assert line.status(1) == "4"
    assert line.tickets[0].cancelled
    assert line.plane.inflight == 0
    line.held[0][1](True)  # the run ends after all
    assert line.plane.inflight == 0


def test_a_client_that_cancels_is_taken_out_of_the_queue() -> None:
    line = Line(hold=True)
    line.send(line.call(1) + line.call(3))
    assert line.plane.inflight == 2
    line.send(frames.reset(1, frames.CANCEL))
    assert [t.cancelled for t in line.tickets] == [True, False]
    assert line.plane.inflight == 1
    line.streams.closed()
    assert [t.cancelled for t in line.tickets] == [True, True]
    assert line.plane.inflight == 0
    assert line.plane.budget.taken == 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_plain_request_is_cancelled_too(whole: bool) -> None:
    line = Line()
    line.desk.handle = lambda match, request, done, loop: line._hold(request, done, 0, loop)  # type: ignore
    fields = [(":method", "POST"), *GET[1:2], (":path", "/v2/models/iris/infer"), GET[3]]
    line.send(frames.frame(frames.HEADERS, 4, 1, line.encoder.encode(fields)))
    line.send(frames.frame(frames.DATA, int(whole), 1, b"{}"))
    line.streams.closed()
    assert [t.cancelled for t in line.tickets] == ([True] if whole else [])
    assert line.plane.inflight == 0
    assert line.plane.budget.taken == 0


def test_a_message_that_comes_too_slowly() -> None:
    line = Line()
    line.send(line.call(1, octets=None) + frames.frame(frames.DATA, 0, 1, prefix(100)))
    for second in range(9):
        assert line.tick(float(second)) == []
    line.tick(11.0)
    assert line.fields(1)[-1]["x-setsail-error"] == "request.slow"
    assert not line.streams.calls.connection.streams


def test_an_idle_stream_between_messages_is_not_slow() -> None:
    line = Line()
    line.send(line.call(1, OIP + "ModelStreamInfer", octets=None))
    for second in range(60):
        line.tick(float(second))
    assert list(line.streams.calls.connection.streams) == [1]


def test_an_answer_that_is_not_taken() -> None:
    line = Line()
    line.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + line.call(1))
    assert line.streams.calls.connection.stalled
    line.tick(0.0)
    line.tick(11.0)
    assert (line.got[-1].kind, line.got[-1].code) == (frames.RST_STREAM, frames.CANCEL)
    assert line.plane.budget.taken == 0


def test_a_client_that_does_not_read() -> None:
    line = Line()
    line.streams.pause_writing()
    assert line.transport.reading_paused
    line.transport.buffered = 5000
    line.tick(0.0)
    line.transport.buffered = 4000
    line.tick(9.0)
    assert not line.transport.aborted
    line.tick(19.0)
    assert line.transport.aborted
    line.streams.resume_writing()


def test_half_a_frame_has_the_heads_time_out() -> None:
    line = Line()
    line.send(frames.ping(bytes(8))[:5])
    line.tick(9.0)
    assert not line.transport.aborted
    line.tick(10.0)
    assert line.transport.aborted


def test_a_client_that_half_closes_is_answered() -> None:
    line = Line(hold=True)
    line.send(line.call(1))
    assert line.streams.eof()
    line.held[0][1](True)
    line.loop.turn()
    line.read()
    assert line.status(1) == "0"
    assert line.transport.closed
    assert not Line().streams.eof()


def test_a_reply_that_no_client_could_read_is_a_fault() -> None:
    line = Line()
    line.desk.handle = lambda match, request, done, loop: line._hold(request, done, 0, loop)  # type: ignore
    fields = [(":method", "POST"), *GET[1:2], (":path", "/v2/models/iris/infer"), GET[3]]
    line.send(frames.frame(frames.HEADERS, 5, 1, line.encoder.encode(fields)))
    line.held[0][1](HttpReply(200, b"", (("x-a", "b\r\nx-c: d"),)))
    line.loop.turn()
    line.read()
    assert line.fields(1)[-1]["x-setsail-error"] == "server.fault"


def test_an_idle_connection_is_closed_with_a_word() -> None:
    line = Line()
    line.send(line.call(1))
    line.tick(74.0)
    assert not line.transport.closed
    assert [f.kind for f in line.tick(75.0)] == [frames.GOAWAY]
    assert line.transport.closed
    assert not line.transport.aborted


def test_what_comes_after_the_last_word_is_read_and_thrown_away() -> None:
    """Or the kernel would reset the connection, and the client might lose its last answer."""
    line = Line()
    line.transport.halves = True
    line.send(line.call(1) + frames.goaway(0, 0))
    assert line.status(1) == "0"
    assert (line.transport.ended, line.transport.closed) == (True, False)
    assert line.send(line.call(3)) == []
    assert line.plane.inflight == 0
    line.loop.turn()  # a moment later, to a real one
    assert line.transport.closed


def test_a_silent_client_with_an_open_call_is_asked_first() -> None:
    line = Line()
    line.send(line.call(1, HEALTH + "Watch"))
    assert [f.kind for f in line.tick(75.0)] == [frames.PING]
    line.send(frames.ping(line.got[-1].payload, ack=True))
    line.tick(140.0)
    assert not line.transport.closed
    line.tick(150.0)
    line.tick(226.0)
    assert line.transport.aborted


def test_a_watch_is_told_of_a_change_and_ends_with_a_drain() -> None:
    line = Line()
    line.desk.house = SimpleNamespace(answer=lambda ask, control: True)
    line.send(line.call(1, HEALTH + "Watch"))
    assert line.tick(1.0) == []
    line.desk.ready = False
    assert [f.kind for f in line.tick(2.0) if f.kind == frames.DATA]
    line.streams.drain()
    line.loop.turn()
    line.read()
    assert line.fields(1)[-1]["x-setsail-error"] == "server.draining"


def test_a_silent_stream_ends_with_a_drain_and_a_busy_one_later() -> None:
    line = Line(hold=True)
    infer = message("inference.ModelInferRequest")(model_name="iris").SerializeToString()
    line.send(line.call(1, OIP + "ModelStreamInfer", infer, end=False))
    line.send(line.call(3, OIP + "ModelStreamInfer", infer, end=False))
    line.held[0][1](ValueError("an answer of some kind"))
    line.loop.turn()
    line.streams.drain()
    for _ in range(3):
        line.loop.turn()
    line.read()
    assert line.status(1) == "14"
    assert list(line.streams.calls.connection.streams) == [3]
    line.held[1][1](ValueError("an answer of some kind"))
    for _ in range(3):
        line.loop.turn()
    line.read()
    assert line.status(3) == "14"


def test_a_connection_that_comes_in_a_drain_is_answered_once() -> None:
    line = Line(draining=True)
    line.send(line.call(1))
    assert line.status(1) == "0"
    asked = next(f for f in line.got if f.kind == frames.PING)
    line.send(frames.ping(asked.payload, ack=True))
    assert line.transport.closed


def test_a_head_is_refused_before_its_body() -> None:
    line = Line(body=1000)
    fields = [(":method", "POST"), *GET[1:2], (":path", "/v2/models/iris/infer"), GET[3]]
    line.send(frames.frame(frames.HEADERS, 4, 1, line.encoder.encode([*fields, ("content-length", "5000")])))
    assert line.fields(1)[-1][":status"] == "413"
    line.send(frames.frame(frames.HEADERS, 4, 3, line.encoder.encode([*fields[:2], (":path", "/none"), GET[3]])))
    assert line.fields(3)[-1][":status"] == "404"
    line.send(frames.frame(frames.HEADERS, 4, 5, line.encoder.encode([*fields, ("expect", "100-continue")])))
    assert line.fields(5) == [{":status": "100"}]


def test_a_refused_call_is_counted() -> None:
    line = Line()
    line.plane.refusal = lambda: setsail.SetsailError("server.busy", "too much", retry_after=1)
    line.send(line.call(1))
    assert line.fields(1)[-1]["x-setsail-error"] == "server.busy"
    assert line.fields(1)[-1]["grpc-retry-pushback-ms"] == "1000"
    assert line.plane.inflight == 0
