"""The same bytes, and worse manners, against a server that runs: it refuses, serves others, and holds nothing."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from unittest.mock import Mock

import http1
import pytest
from fakehouse import FakeHouse
from http1_wire import connect, exchange, read_replies, refused_within

from setsail.errors import FAMILIES, KINDS
from setsail.monitor.meter import Meter
from setsail.server import connection
from setsail.server.connection import Connection
from setsail.server.dispatch import Desk
from setsail.server.plane import Plane
from setsail.server.run import Server
from setsail.server.settings import Settings

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"
BODY = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
Address = tuple[str, int]


def started(**settings: object) -> Server:
    return Server(Settings(port=0, admin_port=-1, **settings)).start()  # type: ignore[arg-type]


def address(server: Server) -> Address:
    host, _, port = server.url.partition("://")[2].partition(":")
    return host, int(port)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started(header_timeout=1.0, max_head=4096, max_headers=20, max_body=1 << 20) as server:
        yield server


@pytest.fixture(name="at")
def _at(server: Server) -> Iterator[Address]:
    """Where the server is. Afterwards it has to answer, and to hold nothing of anybody."""
    yield address(server)
    assert exchange(address(server), LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))[0][0].status == 200
    plane = server._planes[0]
    end = time.monotonic() + 15
    while (plane.inflight, plane.budget.taken, len(plane.connections)) != (0, 0, 0) and time.monotonic() < end:
        time.sleep(0.02)
    assert (plane.inflight, plane.budget.taken, len(plane.connections)) == (0, 0, 0)


def status(code: str) -> int:
    return FAMILIES[KINDS[code].family].http


# -- what is not HTTP, or tries to be two things ---------------------------------------------------------------------


def test_hostile_bytes_get_one_reply_for_each_request(at: Address) -> None:
    wrong = {}
    for name, attack in http1.ATTACKS.items():
        if attack.raw.startswith(b"PRI"):
            continue  # this port speaks HTTP/2 as well
        raw = attack.raw.replace(b"/seen", b"/v2/models/seen/infer")  # a path whose requests may have bodies
        replies, closed = exchange(at, raw, quiet=0.1 if attack.code is None else 5.0)
        hidden = any(b"/hidden" in r.body for r in replies if r.code == "request.path")
        refusals = [(r.status, r.code) for r in replies[len(attack.reads) :]]
        expected = [(status(attack.code), attack.code)] if attack.code else []
        if hidden or refusals != expected or (attack.code and not closed):
            wrong[name] = (refusals, closed, hidden)
    assert wrong == {}


def test_a_refusal_says_which_code_and_closes(at: Address) -> None:
    replies, closed = exchange(at, b"GET / HTTP/1.1\r\n\r\n" + LIVE, quiet=5)
    assert closed
    assert [(r.status, r.code, r.headers["connection"]) for r in replies] == [(400, "request.malformed", "close")]


def test_noise(at: Address) -> None:
    random.seed(3)
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(at)) for _ in range(100)]
        for sock in sockets:
            sock.sendall(b"\0" + random.randbytes(random.randrange(3000)))
        for sock in sockets:
            assert refused_within(sock, 5).code == "request.malformed"


def test_a_tls_client_on_a_plain_port_hears_so_at_once(at: Address) -> None:
    with connect(at) as sock:
        sock.sendall(http1.ATTACKS["start: TLS"].raw[:20])
        assert refused_within(sock, 5).code == "request.malformed"  # not request.slow: it was not waited for


# -- slowness --------------------------------------------------------------------------------------------------------


def test_slow_heads_are_ended_and_others_do_not_notice(at: Address) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(at)) for _ in range(60)]
        began, worst = time.monotonic(), 0.0
        for i in range(4):
            for sock in slow:
                sock.sendall(LIVE[i : i + 1])
            asked = time.monotonic()
            assert exchange(at, LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))[0][0].status == 200
            worst = max(worst, time.monotonic() - asked)
            time.sleep(0.1)
        for sock in slow:
            reply = refused_within(sock, 10)
            assert (reply.status, reply.code) == (408, "request.slow")
        assert time.monotonic() - began < 15
        assert worst < 1.5


def test_a_head_byte_by_byte_in_time_is_served(at: Address) -> None:
    with connect(at) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(LIVE)):
            sock.sendall(LIVE[i : i + 1])
            time.sleep(0.002)
        assert read_replies(sock, 1)[0][0].status == 200


@pytest.mark.parametrize("framing", [BODY % 100_000, BODY.replace(b"Content-Length: %d", http1.CHUNKED) + b"ffff\r\n"])
def test_slow_bodies_are_ended(at: Address, framing: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RATE_WINDOW", 1.0)
    with connect(at) as sock:
        sock.sendall(framing)
        for _ in range(5):
            sock.sendall(b"x")
            time.sleep(0.1)
        reply = refused_within(sock, 6)
        assert (reply.status, reply.code) == (408, "request.slow")


def test_a_client_that_does_not_read_is_not_read_either(
    at: Address, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_RATE_WINDOW", 1.0)
    plane = server._planes[0]
    with connect(at, 3) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        with suppress(TimeoutError, ConnectionError):
            while sent < 200 << 20:
                sent += sock.send(LIVE * 1000)
        assert sent < 50 << 20
        assert plane.inflight < 100


# -- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 8000 + b"\r\n\r\n", "request.head_too_large"),
        (b"GET /" + b"x" * 100_000, "request.head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 30 + b"\r\n", "request.head_too_large"),
        (BODY % (1 << 40), "request.too_large"),
        (BODY % (2 << 20) + bytes(2 << 20), "request.too_large"),
        (BODY.replace(b"Content-Length: %d", http1.CHUNKED) + (b"10000\r\n" + bytes(65536) + b"\r\n") * 40,
         "request.too_large"),
        (BODY.replace(b"Content-Length: %d", http1.CHUNKED) + b"1;" + b"x" * 100_000, "request.head_too_large"),
    ],
)  # fmt: skip
def test_too_much(at: Address, raw: bytes, code: str) -> None:
    """The refusal is read by a client that has sent everything first, too: nothing is reset under it."""
    with connect(at) as sock:
        sock.sendall(raw)
        reply = refused_within(sock, 5)
        assert (reply.status, reply.code) == (status(code), code)


def test_who_asks_first_is_refused_before_the_body(at: Address) -> None:
    for path, refused in ((b"/v2/models/m/infer", 413), (b"/nowhere", 404)):
        head = b"POST %b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n" % path
        replies, closed = exchange(at, head, quiet=5)
        assert ([r.status for r in replies], closed) == ([refused], True)
    with connect(at) as sock:
        sock.sendall(
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert read_replies(sock, 1)[0][0].status == 100
        sock.sendall(b"abc")
        assert read_replies(sock, 1)[0][0].status >= 400


def test_the_budget_is_for_all_connections_together() -> None:
    with started(max_inflight_bytes=1 << 20) as server, ExitStack() as stack:
        at = address(server)
        first, second = (stack.enter_context(connect(at)) for _ in range(2))
        first.sendall(BODY % (2 << 20) + bytes(900_000))
        time.sleep(0.2)
        second.sendall(BODY % (2 << 20) + bytes(300_000))
        reply = refused_within(second, 5)
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "server.busy", "1")
        first.close()
        time.sleep(0.1)
        assert exchange(at, BODY % 900_000 + bytes(900_000))[0][0].status >= 400  # read whole, and answered
        assert server._planes[0].budget.taken == 0


# -- number ----------------------------------------------------------------------------------------------------------


def test_a_flood_of_connections_does_not_touch_those_that_are_there() -> None:
    with started(max_connections=10) as server, ExitStack() as stack:
        at = address(server)
        inside = [stack.enter_context(connect(at)) for _ in range(10)]
        for sock in inside:
            sock.sendall(LIVE)
            assert read_replies(sock, 1)[0][0].status == 200
        flood = [stack.enter_context(connect(at)) for _ in range(150)]
        for sock in flood:
            reply = refused_within(sock, 5)
            assert (reply.status, reply.code) == (503, "server.busy")
            sock.close()
        for sock in inside:
            sock.sendall(LIVE)
            assert read_replies(sock, 1)[0][0].status == 200
            sock.close()
        time.sleep(0.3)
        assert exchange(at, LIVE, quiet=0.3)[0][0].status == 200


def test_a_flood_from_one_address() -> None:
    with started(max_connections_per_address=5) as server, ExitStack() as stack:
        at = address(server)
        sockets = [stack.enter_context(connect(at)) for _ in range(6)]
        assert refused_within(sockets[-1], 5).code == "server.busy"
        sockets[0].sendall(LIVE)
        assert read_replies(sockets[0], 1)[0][0].status == 200


def test_a_pipeline_is_answered_in_order_however_long(at: Address) -> None:
    count = 5000
    with connect(at) as sock:
        # A thread would be needed to send and read at once; the kernel's buffers hold this much.
        sock.sendall(b"".join(b"GET /p%05d HTTP/1.1\r\nHost: h\r\n\r\n" % i for i in range(count)))
        replies, _ = read_replies(sock, count)
    assert [r.status for r in replies] == [404] * count
    assert all(b"/p%05d" % i in reply.body for i, reply in enumerate(replies))


def test_a_pipeline_does_not_keep_the_loop_from_others() -> None:
    """However much came in one read, other connections get their turn after a few dozen answers."""

    async def answered_in_one_turn() -> list[int]:
        desk = Desk(FakeHouse(), meter=Meter(), max_body=1000)
        plane = Plane(desk, Settings(), asyncio.get_running_loop())
        transport = Mock(asyncio.Transport, **{"get_extra_info.return_value": None, "is_closing.return_value": False})
        one = Connection(plane)
        one.connection_made(transport)
        raw, answered = LIVE * 1000, []
        one.get_buffer(-1)[: len(raw)] = raw
        one.buffer_updated(len(raw))
        while not answered or answered[-1] < 1000:
            answered.append(transport.write.call_count)
            await asyncio.sleep(0)
        transport.pause_reading.assert_called_once()
        transport.resume_reading.assert_called_once()
        plane.close()
        desk.close()
        return answered

    answered = asyncio.run(asyncio.wait_for(answered_in_one_turn(), 10))
    assert max(b - a for a, b in pairwise([0, *answered])) <= 64


def test_head_has_no_body_in_a_refusal_either(at: Address) -> None:
    head = LIVE.replace(b"GET /v2/health/live", b"HEAD /nowhere").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n")
    with connect(at) as sock:
        sock.sendall(head)
        came = b""
        while chunk := sock.recv(4096):
            came += chunk
    assert came.startswith(b"HTTP/1.1 404 ")
    assert came.endswith(b"\r\n\r\n")


def test_a_refused_body_behind_good_requests_is_answered_last(at: Address) -> None:
    good = b"GET /first HTTP/1.1\r\nHost: h\r\n\r\n"
    refused = b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab"
    replies, closed = exchange(at, good + refused, quiet=5)
    assert closed
    assert [(r.status, b"/first" in r.body) for r in replies] == [(404, True), (404, False)]
    waiting = refused.replace(b"/nowhere", b"/v2/models/m/infer").replace(
        b"\r\n\r\nab", b"\r\nExpect: 100-continue\r\n\r\n"
    )
    with connect(at) as sock:
        sock.sendall(good + waiting)
        assert [r.status for r in read_replies(sock, 2)[0]] == [404, 100]


# -- ends ------------------------------------------------------------------------------------------------------------


def test_a_client_that_has_said_its_last_word_is_answered(at: Address) -> None:
    with connect(at) as sock:
        sock.sendall(LIVE * 3)
        sock.shutdown(socket.SHUT_WR)
        replies, closed = read_replies(sock)
        assert ([r.status for r in replies], closed) == ([200] * 3, True)


@pytest.mark.parametrize(
    "part", [LIVE[:20], BODY % 10 + b"abc", BODY.replace(b"Content-Length: %d", http1.CHUNKED) + b"5\r\nab"]
)
def test_a_client_that_ends_inside_a_request(at: Address, part: bytes) -> None:
    with connect(at) as sock:
        sock.sendall(LIVE + part)
        sock.shutdown(socket.SHUT_WR)
        replies, closed = read_replies(sock)
        assert ([r.status for r in replies], closed) == ([200, 400], True)


def test_clients_that_vanish_leave_nothing_behind(at: Address) -> None:
    for raw in (LIVE[:10], LIVE, BODY % 500_000 + bytes(300_000), LIVE * 500, BODY % 3 + b"abc") * 5:
        with connect(at) as sock:
            sock.sendall(raw)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset


def test_who_goes_on_sending_after_a_refusal_is_cut_off(at: Address) -> None:
    with connect(at) as sock:
        sock.sendall(b"\0")
        assert read_replies(sock, 1)[0][0].status == 400
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < 10:
                sock.sendall(bytes(1000))
                time.sleep(0.01)
        assert time.monotonic() - began < 5


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    with started(header_timeout=1.0, tls_cert=str(cert), tls_key=str(key)) as server:
        yield server


def secure(server: Server) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connect(address(server)))


@pytest.mark.parametrize("raw", [b"", b"\x16\x03\x01", LIVE, b"\x16\x03\x01\x40\x00" + b"\xff" * 100, b"\0" * 5000])
def test_handshakes_that_lead_nowhere_are_ended(tls: Server, raw: bytes) -> None:
    with connect(address(tls)) as sock:
        sock.sendall(raw)
        replies, closed = read_replies(sock, quiet=4)
        assert closed
        assert [r.status for r in replies] == []
    with secure(tls) as sock:
        sock.sendall(LIVE)
        assert read_replies(sock, 1)[0][0].status == 200


def test_the_same_limits_inside_tls(tls: Server) -> None:
    for raw, code in ((b"GET / HTTP/1.1\r\n\r\n", "request.malformed"), (LIVE[:9], "request.slow")):
        with secure(tls) as sock:
            sock.sendall(raw)
            assert refused_within(sock, 5).code == code
    body = bytes(3 << 20)
    with secure(tls) as sock:
        sock.sendall(BODY % len(body) + body + LIVE)
        replies, _ = read_replies(sock, 2)
        assert [r.status >= 400 for r in replies] == [True, False]
