"""The data port's own engine, and the ASGI application in uvicorn beside it: the same requests get the same replies."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fakehouse import gallery
from http1_wire import Reply, connect, read_replies

from setsail.errors import SetsailError
from setsail.monitor.meter import Meter
from setsail.server import connection
from setsail.server.asgi import application
from setsail.server.dispatch import Desk
from setsail.server.origins import Origins
from setsail.server.plane import Plane
from setsail.server.settings import Settings

ROW = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
MAX_BODY = 1 << 20
DESK = {"max_body": MAX_BODY, "api_keys": ("key",), "origins": Origins(["https://there.example"])}
KEY = {"authorization": "Bearer key"}


@contextmanager
def loop_with(begin: Callable[[socket.socket], Any]) -> Iterator[tuple[str, int]]:
    """An event loop in a thread with something that listens; where it does."""
    bound = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    ending = asyncio.run_coroutine_threadsafe(begin(bound), loop).result(10)
    try:
        yield bound.getsockname()
    finally:
        asyncio.run_coroutine_threadsafe(ending(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
        bound.close()


@contextmanager
def own(settings: Settings, desk: Desk, *, buffer: int = 0) -> Iterator[tuple[str, int]]:
    async def begin(bound: socket.socket) -> Any:
        if buffer:  # of replies, in the kernel
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        plane = Plane(desk, settings, asyncio.get_running_loop())
        await plane.listen([bound])

        async def end() -> None:
            await plane.drain(5, 0)
            plane.close()

        return end

    with loop_with(begin) as at:
        yield at


@contextmanager
def in_uvicorn() -> Iterator[tuple[str, int]]:
    app = application(gallery(), **DESK)

    async def begin(bound: socket.socket) -> Any:
        server = uvicorn.Server(uvicorn.Config(app, http="h11", ws="none", log_level="error", lifespan="off"))
        running = asyncio.ensure_future(server.serve([bound]))
        while not server.started:
            await asyncio.sleep(0.01)

        async def end() -> None:
            server.should_exit = True
            await running

        return end

    with loop_with(begin) as at:
        yield at
    app.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[str, int]]:
    with own(Settings(max_body=MAX_BODY, gzip_replies=1000), Desk(gallery(), meter=Meter(), **DESK)) as at:
        yield at


@pytest.fixture(scope="module")
def clients(engine: tuple[str, int]) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """One to our engine, one to uvicorn; both keep their connections."""
    with in_uvicorn() as other:
        made = [httpx.Client(base_url=f"http://127.0.0.1:{at[1]}", headers=KEY) for at in (engine, other)]
        for client in made:
            client.headers.pop("accept-encoding")
        yield made[0], made[1]
        for client in made:
            client.close()


def tensor(rows: int) -> dict[str, Any]:
    values = np.arange(4.0 * rows).tolist()
    return {"inputs": [{"name": "input", "shape": [rows, 4], "datatype": "FP64", "data": values}]}


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 5000):
        yield body[start : start + 5000]


LARGE = json.dumps(tensor(5000)).encode()
BINARY = np.arange(40_000.0).tobytes()
BINARY_HEAD = json.dumps({"inputs": [{"name": "input", "shape": [10_000, 4], "datatype": "FP64",
                                      "parameters": {"binary_data_size": len(BINARY)}}]}).encode()  # fmt: skip
SAME = {
    "a prediction of TF Serving's": ("POST", "/v1/models/iris:predict", {"json": ROW}),
    "of OIP's": ("POST", "/v2/models/iris/infer", {"json": tensor(2)}),
    "plain": ("POST", "/predict/iris", {"json": [[9, 1, 1, 1]]}),
    "many rows": ("POST", "/v2/models/iris/infer", {"content": LARGE}),
    "many rows in chunks": ("POST", "/v2/models/iris/infer", {"content": LARGE, "chunked": True}),
    "many rows in gzip": ("POST", "/v2/models/iris/infer",
                          {"content": gzip.compress(LARGE), "headers": {"content-encoding": "gzip"}}),
    "many rows as bytes": ("POST", "/v2/models/iris/infer",
                           {"content": BINARY_HEAD + BINARY,
                            "headers": {"inference-header-content-length": str(len(BINARY_HEAD))}}),
    "bytes in chunks": ("POST", "/v2/models/iris/infer",
                        {"content": BINARY_HEAD + BINARY, "chunked": True,
                         "headers": {"inference-header-content-length": str(len(BINARY_HEAD))}}),
    "an escaped path": ("POST", "/v1/models/ir%69s%3Apredict", {"json": ROW}),
    "health": ("GET", "/v2/health/live", {}),
    "head of health": ("HEAD", "/v2/health/live", {}),
    "metadata": ("GET", "/v2/models/iris", {}),
    "the front page": ("GET", "/", {}),
    "a page's preflight": ("OPTIONS", "/predict/iris",
                           {"headers": {"origin": "https://there.example", "access-control-request-method": "POST"}}),
    "a page's request": ("POST", "/predict/iris", {"json": [[9, 1, 1, 1]], "headers": {"origin": "https://there.example"}}),
    "another page's": ("POST", "/predict/iris", {"json": [[9, 1, 1, 1]], "headers": {"origin": "https://elsewhere.example"}}),
    "no model": ("POST", "/v1/models/nobody:predict", {"json": ROW}),
    "no path": ("GET", "/nowhere", {}),
    "no such method": ("DELETE", "/v1/models/iris", {}),
    "a method nobody has": ("BREW", "/predict/iris", {}),
    "no JSON": ("POST", "/v2/models/iris/infer", {"content": b"{"}),
    "no rows": ("POST", "/v2/models/iris/infer", {"content": b""}),
    "damaged gzip": ("POST", "/predict/iris", {"content": b"plain", "headers": {"content-encoding": "gzip"}}),
    "a bomb": ("POST", "/predict/iris",
               {"content": gzip.compress(bytes(2 << 20)), "headers": {"content-encoding": "gzip"}}),
    "another coding": ("POST", "/predict/iris", {"content": b"x", "headers": {"content-encoding": "br"}}),
    "no key": ("POST", "/predict/iris", {"json": [[9, 1, 1, 1]], "headers": {"authorization": ""}}),
    "control": ("POST", "/v2/repository/models/iris/unload", {}),
}  # fmt: skip
VARYING = {"date", "server", "connection", "transfer-encoding", "vary"}


@pytest.mark.parametrize("name", SAME)
def test_both_servers_say_the_same(clients: tuple[httpx.Client, httpx.Client], name: str) -> None:
    """All but bodies over the limit: uvicorn closes under those, and its client may see no reply at all."""
    method, path, options = SAME[name]
    replies = []
    for client in clients:
        wanted = dict(options)
        if wanted.pop("chunked", False):
            wanted["content"] = pieces(wanted["content"])
        reply = client.request(method, path, **wanted)
        headers = {k: v for k, v in reply.headers.items() if k not in VARYING}
        replies.append((reply.status_code, headers, reply.content))
    assert replies[0] == replies[1]


# -- what HTTP asks of a server itself --------------------------------------------------------------------------------


def talk(at: tuple[str, int], raw: bytes, most: int) -> tuple[list[Reply], bool]:
    with connect(at) as sock:
        sock.sendall(raw)
        return read_replies(sock, most)


LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"


def predict(row: float, *lines: bytes, padding: int = 0) -> bytes:
    body = json.dumps({"instances": [[row, 3.5, 1.4, 0.2]]}).encode() + b" " * padding
    head = [b"POST /v1/models/iris:predict HTTP/1.1", b"Host: h", b"Authorization: Bearer key",
            b"Content-Length: %d" % len(body), *lines]  # fmt: skip
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def test_a_connection_is_kept(engine) -> None:
    with connect(engine) as sock:
        for _ in range(3):
            sock.sendall(LIVE)
            replies, closed = read_replies(sock, 1)
            assert not closed
            assert "connection" not in replies[0].headers
            assert replies[0].headers["date"].endswith(" GMT")


def test_a_connection_is_closed_for_who_asks(engine) -> None:
    replies, closed = talk(engine, LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + LIVE, 2)
    assert closed
    assert [r.headers["connection"] for r in replies] == ["close"]


def test_http_1_0(engine) -> None:
    once = b"GET /v2/health/live HTTP/1.0\r\n\r\n"
    replies, closed = talk(engine, once, 2)
    assert (closed, replies[0].status, replies[0].headers["connection"]) == (True, 200, "close")
    kept = once.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    replies, closed = talk(engine, kept * 2, 2)
    assert (closed, [r.headers["connection"] for r in replies]) == (False, ["keep-alive"] * 2)


def test_large_replies_are_compressed_for_who_accepts(engine) -> None:
    body = json.dumps(tensor(500)).encode()
    head = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer key\r\nContent-Length: %d\r\n"
    plain, packed = talk(engine, b"".join(head % len(body) + line + b"\r\n" + body
                                          for line in (b"", b"Accept-Encoding: gzip\r\n")), 2)[0]  # fmt: skip
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert (
        "content-encoding"
        not in talk(engine, LIVE.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\n\r\n"), 1)[0][0].headers
    )


def test_a_client_that_waits_is_told_to_go_on(engine) -> None:
    raw = predict(5.0, b"Expect: 100-continue")
    head, _, body = raw.partition(b"\r\n\r\n")
    with connect(engine) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert read_replies(sock, 1)[0][0].status == 100
        sock.sendall(body)
        assert read_replies(sock, 1)[0][0].status == 200


def test_a_client_without_a_key_is_told_before_its_body(engine) -> None:
    raw = predict(5.0, b"Expect: 100-continue").replace(b"Bearer key", b"Bearer nokey")
    replies, closed = talk(engine, raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", 2)
    assert closed
    assert [(r.status, r.code, r.headers["www-authenticate"]) for r in replies] == [(401, "request.key", "Bearer")]


# -- answers that come later ------------------------------------------------------------------------------------------


class Backwards:
    """An intake that answers what it holds last to first, once it is told to."""

    ran = None  # nothing runs here

    def __init__(self, house: Any) -> None:
        self.house, self.held, self.full = house, [], False

    def tick(self, now: float) -> None:
        """Nothing expires."""

    def waiting(self) -> int:
        return len(self.held)

    def serves(self, name: str) -> bool:
        return True

    def admit(self, model: Any, nbytes: int, deadline: float) -> SetsailError | None:
        return SetsailError("model.busy", "the queue is full", retry_after=3) if self.full else None

    def submit(self, ask: Any, done: Any, **_: Any) -> Any:
        ticket = type("Ticket", (), {"cancelled": False})()
        self.held.append((ticket, lambda: done(self.house.answer(ask))))
        return ticket

    def answer_all(self) -> None:
        held, self.held = self.held, []
        for _, answer in reversed(held):
            answer()


@pytest.fixture
def later() -> Iterator[tuple[tuple[str, int], Backwards, Callable[[Callable[[], None]], None]]]:
    house = gallery()
    intake = Backwards(house)
    desk = Desk(house, meter=Meter(), intake=intake, max_body=MAX_BODY)  # type: ignore[arg-type]
    loops: list[asyncio.AbstractEventLoop] = []
    submit = intake.submit

    def noted(ask: Any, done: Any, **more: Any) -> Any:
        loops.append(asyncio.get_running_loop())
        return submit(ask, done, **more)

    intake.submit = noted  # type: ignore[method-assign]
    with own(Settings(), desk) as at:
        yield at, intake, lambda call: loops[0].call_soon_threadsafe(call)


def held(intake: Backwards, count: int) -> None:
    end = time.monotonic() + 5
    while len(intake.held) != count and time.monotonic() < end:
        time.sleep(0.005)
    assert len(intake.held) == count


def test_replies_keep_the_order_of_requests(later) -> None:
    at, intake, soon = later
    with connect(at) as sock:
        sock.sendall(predict(1.0) + predict(9.0) + LIVE + predict(5.0))
        held(intake, 3)
        soon(intake.answer_all)
        replies, _ = read_replies(sock, 4)
    assert [r.status for r in replies] == [200] * 4
    first = [json.loads(r.body).get("predictions", [[0]])[0][0] for r in replies]
    assert first[2] == 0, "the health check is the third"
    assert first[0] < first[3] < first[1]


def test_a_client_that_has_gone_is_cancelled(later) -> None:
    at, intake, soon = later
    with connect(at) as sock:
        sock.sendall(predict(1.0) * 2)
        held(intake, 2)
    tickets = [ticket for ticket, _ in intake.held]
    end = time.monotonic() + 5
    while not all(t.cancelled for t in tickets) and time.monotonic() < end:
        time.sleep(0.005)
    assert all(t.cancelled for t in tickets)
    soon(intake.answer_all)  # too late, into nothing
    with connect(at) as sock:
        sock.sendall(LIVE)
        assert read_replies(sock, 1)[0][0].status == 200


def test_a_client_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when every answer is written, and when the connection is closing already."""
    monkeypatch.setattr(connection, "_RATE_WINDOW", 1.0)
    body = json.dumps(tensor(5000)).encode()
    ask = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%b\r\n"
    desk = Desk(gallery(), meter=Meter(), max_body=MAX_BODY)
    for last in (b"", b"Connection: close\r\n"):
        with own(Settings(), desk, buffer=8192) as at, socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(at)
            sock.sendall(ask % (len(body), last) + body)
            end, lost = time.monotonic() + 8, False
            while not lost and time.monotonic() < end:
                time.sleep(0.1)
                try:
                    sock.send(b"\r")
                except ConnectionError:
                    lost = True
            assert lost


def test_a_full_queue_refuses_before_the_body(later) -> None:
    at, intake, _ = later
    intake.full = True
    head = predict(1.0).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    for raw in (head, predict(1.0, b"Connection: close", padding=5000)):
        with connect(at) as sock:
            sock.sendall(raw)
            replies, closed = read_replies(sock)
        assert closed
        assert [(r.status, r.code, r.headers["retry-after"]) for r in replies] == [(429, "model.busy", "3")]


def test_reading_stops_while_many_answers_are_owed(later) -> None:
    at, intake, soon = later
    count = 100
    with connect(at) as sock:
        sock.sendall(predict(1.0) * count)
        held(intake, 32)
        time.sleep(0.1)
        assert len(intake.held) == 32
        replies: list[Reply] = []
        while len(replies) < count:
            soon(intake.answer_all)
            replies += read_replies(sock, count - len(replies), quiet=0.2)[0]
    assert [r.status for r in replies] == [200] * count
