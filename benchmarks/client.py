"""A closed-loop HTTP/1.1 client of our own: each connection sends its next request when the last one was answered.

It serves where wrk is missing, and for requests that take long: wrk cuts off what is under way when time is up, while
this one waits for it, so that the server's CPU time is shared by exactly the requests that it answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count
from time import perf_counter
from typing import Any

import httptools

from benchmarks.figures import Load, load_of
from benchmarks.wires import Reply

__all__ = ["ask", "drive"]

GRACE = 60.0  # seconds for replies that are under way when time is up


class Caller(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Reply] | None = None
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, request: bytes) -> asyncio.Future[Reply]:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.reply = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.reply

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as fault:
            self._fail(ConnectionError(str(fault)))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_keep_alive():
            self.lost = True
            self.transport.close()
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(Reply(self.parser.get_status_code(), self.headers, b"".join(self.body)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._fail(exc or ConnectionError("closed before the reply"))

    def _fail(self, fault: Exception) -> None:
        self.lost = True
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(fault)


async def _connected(port: int) -> Caller:
    _, caller = await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", port)
    return caller


async def _one(port: int, request: bytes, seconds: float) -> Reply:
    caller = await _connected(port)
    try:
        return await asyncio.wait_for(caller.send(request), seconds)
    finally:
        caller.transport.abort()


def ask(port: int, request: bytes, seconds: float = 60.0) -> Reply:
    """One request on a connection of its own. Raises OSError (connection refused or closed) or TimeoutError."""
    return asyncio.run(_one(port, request, seconds))


async def _loop(
    port: int, requests: Sequence[bytes], turns: Iterator[int], end: float, out: list[tuple[float, float, bool]]
) -> None:
    caller: Caller | None = None
    while (begin := perf_counter()) < end:
        try:
            if caller is None or caller.lost:
                caller = await _connected(port)
            reply = await asyncio.wait_for(caller.send(requests[next(turns) % len(requests)]), GRACE)
            good = reply.status == 200
        except (OSError, TimeoutError):
            good, caller = False, None
        now = perf_counter()
        out.append((now, now - begin, good))
        if not good:
            await asyncio.sleep(0.01)
    if caller is not None:
        caller.transport.abort()


async def _drive(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    begin, turns = perf_counter(), count()
    out: list[tuple[float, float, bool]] = []
    await asyncio.gather(*(_loop(port, requests, turns, begin + seconds, out) for _ in range(clients)))
    taken = [row for row in out if row[2]]
    in_time = sum(1 for row in taken if row[0] <= begin + seconds)
    return load_of(
        [row[1] for row in taken], len(taken), in_time / seconds, len(out) - len(taken), "closed loop of its own"
    )


def drive(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Send `requests` in turn over `clients` connections. The rate counts the replies within `seconds`."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_drive(port, requests, clients, seconds))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drive(port, requests, clients, seconds))
