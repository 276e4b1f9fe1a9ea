"""The closed-loop client against a server of a few lines."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from benchmarks.client import ask, drive

GET = b"GET /%b HTTP/1.1\r\nhost: here\r\n\r\n"


class Counting(asyncio.Protocol):
    """Answers 200 after a moment, `/slow` later, `/no` 503; hangs up after `/bye`, and once `/close` was answered."""

    seen: list[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        path = data.split()[1]
        self.seen.append(path)
        if path == b"/bye":
            self.transport.abort()
            return
        status, more = (b"503 No" if path == b"/no" else b"200 OK"), b""
        if path == b"/close":
            more = b"connection: close\r\n"
        reply = b"HTTP/1.1 %b\r\ncontent-length: 2\r\n%b\r\nok" % (status, more)
        asyncio.get_running_loop().call_later(0.3 if path == b"/slow" else 0.002, self.transport.write, reply)


@pytest.fixture
def counting() -> Iterator[tuple[int, list[bytes]]]:
    seen: list[bytes] = []
    loop = asyncio.new_event_loop()
    kind = type("Server", (Counting,), {"seen": seen})
    server = loop.run_until_complete(loop.create_server(kind, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1], seen
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_one_request_brings_its_reply(counting: tuple[int, list[bytes]]) -> None:
    assert ask(counting[0], GET % b"").body == b"ok"
    assert ask(counting[0], GET % b"no").status == 503


def test_a_server_that_hangs_up_is_a_connection_error(counting: tuple[int, list[bytes]]) -> None:
    with pytest.raises(ConnectionError):
        ask(counting[0], GET % b"bye")


def test_every_request_is_answered_and_counted_once(counting: tuple[int, list[bytes]]) -> None:
    port, seen = counting
    load = drive(port, [GET % b"a", GET % b"b"], 4, 0.2)
    assert load.requests == len(seen) > 8
    assert abs(seen.count(b"/a") - seen.count(b"/b")) <= 1
    assert load.errors == 0
    assert load.p50_ms >= 2.0
    assert load.rate <= load.requests / 0.2


def test_what_is_under_way_at_the_end_is_waited_for(counting: tuple[int, list[bytes]]) -> None:
    load = drive(counting[0], [GET % b"slow"], 4, 0.15)
    assert load.requests == 4
    assert load.rate == 0.0  # none of them within the window


def test_refusals_and_lost_connections_are_errors(counting: tuple[int, list[bytes]]) -> None:
    load = drive(counting[0], [GET % b"no", GET % b"bye", GET % b""], 1, 0.2)
    assert load.errors > 2
    assert load.requests > 1


def test_a_connection_that_the_server_ends_is_made_anew(counting: tuple[int, list[bytes]]) -> None:
    load = drive(counting[0], [GET % b"close"], 2, 0.1)
    assert load.requests > 4
    assert load.errors == 0
