"""Connections of the driving process: one request at a time each, and a call when its answer is there.

No coroutine and no future is made for a request: what a client costs, it takes from the server beside it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, Final, Protocol

from setsail.loadtest.orders import Target
from setsail.loadtest.replies import Replies, Reply

__all__ = ["CONNECT", "GOOD", "Line", "connect_http"]

GOOD: Final = frozenset(("200", "OK"))
_PATIENCE: Final = 10.0  # seconds for a connection to open

Done = Callable[["Line", str, Mapping[str, str], bytes], None]


class Line(Protocol):
    """A connection. `request` and `begin` are of the request that is under way; whoever measures sets `begin`."""

    request: int
    begin: float
    lost: bool

    def send(self, request: int, begin: float) -> None: ...

    def close(self) -> None: ...


class _HttpLine(asyncio.Protocol):
    def __init__(self, requests: list[bytes], done: Done) -> None:
        self.request, self.begin, self.lost = 0, 0.0, False
        self._requests, self._done = requests, done
        self._busy = False
        self._replies = Replies()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: int, begin: float) -> None:
        self.request, self.begin, self._busy = request, begin, True
        self._transport.write(self._requests[request])

    def data_received(self, data: bytes) -> None:
        try:
            reply = self._replies.feed(data)
        except ValueError:
            self._lose("malformed answer")
            return
        if reply is not None and self._busy:
            self._answered(reply)

    def _answered(self, reply: Reply) -> None:
        self._busy = False
        if not reply.head.keep:
            self.lost = True
            self._transport.close()
        self._done(self, reply.code, reply.head.headers, reply.body)

    def _lose(self, code: str) -> None:
        self.lost = True
        self._transport.abort()
        if self._busy:
            self._busy = False
            self._done(self, code, {}, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        reply = self._replies.eof()
        if reply is not None and self._busy:
            self._answered(reply)
        else:
            self._lose("connection closed")

    def close(self) -> None:
        self._busy, self.lost = False, True
        self._transport.abort()


async def connect_http(target: Target, done: Done) -> Line:
    """Raises OSError, also where it takes too long."""
    context = ssl.create_default_context() if target.tls else None
    opening = asyncio.get_running_loop().create_connection(
        lambda: _HttpLine(target.requests, done), target.host, target.port, ssl=context
    )
    _, line = await asyncio.wait_for(opening, _PATIENCE)
    return line


class _GrpcLine:
    """A channel of grpcio with a connection of its own."""

    def __init__(self, target: Target, done: Done) -> None:
        self._grpc: Any = import_module("grpc")
        aio: Any = import_module("grpc.aio")
        place = f"{target.host}:{target.port}"
        options = [
            ("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]  # fmt: skip
        if target.tls:
            self._channel = aio.secure_channel(place, self._grpc.ssl_channel_credentials(), options=options)
        else:
            self._channel = aio.insecure_channel(place, options=options)
        self._call = self._channel.unary_unary(target.method)  # bytes in, bytes out
        self._metadata = tuple(target.metadata)
        self._requests, self._done = target.requests, done
        self.request, self.begin, self.lost = 0, 0.0, False
        self._task: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        try:
            await asyncio.wait_for(self._channel.channel_ready(), _PATIENCE)
        except TimeoutError as late:
            raise ConnectionRefusedError("no gRPC answers there") from late

    def send(self, request: int, begin: float) -> None:
        self.request, self.begin = request, begin
        self._task = asyncio.ensure_future(self._ask())

    async def _ask(self) -> None:
        try:
            body = await self._call(self._requests[self.request], metadata=self._metadata)
        except self._grpc.aio.AioRpcError as fault:
            told = {str(name): str(value) for name, value in fault.trailing_metadata() or ()}
            told.setdefault("grpc-message", fault.details() or "")
            code = f"{fault.code().name} {told.get('x-setsail-error', '')}".rstrip()
            self._done(self, code, told, b"")
        else:
            self._done(self, "OK", {}, body)

    def close(self) -> None:
        self.lost = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self._closing = asyncio.ensure_future(self._channel.close())


async def _connect_grpc(target: Target, done: Done) -> Line:
    line = _GrpcLine(target, done)
    await line.ready()
    return line


CONNECT: Final[Mapping[str, Callable[[Target, Done], Awaitable[Line]]]] = {
    "http": connect_http,
    "grpc": _connect_grpc,
}
