"""The fallback of `--grpc-engine grpcio`: gRPC by Google's own library, on a port of its own.

It reads the same table of methods as our engine and asks the same desk on the same event loop, so only the bytes on
the wire are somebody else's. It costs about ten times as much a request, and grpcio is an extra, so this module is
imported only when it was chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import grpc
import grpc.aio

from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.protocols.grpc.method import EACH, WATCH, Exchange, Method, fault_metadata
from setsail.protocols.grpc.methods import METHODS
from setsail.scheduling import Ticket
from setsail.server.dispatch import Desk
from setsail.server.marks import call_about
from setsail.server.settings import Settings

__all__ = ["GrpcioEngine"]

LOOK_SECONDS: Final = 0.25  # between two looks at whether a watched answer has changed, or the server drains
_STREAMS: Final = 256  # of one connection
_AT_ONCE: Final = 64  # messages of one stream that are asked before the first of them is answered
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_Context = Any  # grpc.aio.ServicerContext, which has no types


class GrpcioEngine:
    """gRPC on `--grpc-port`. `start` and `stop` it on the event loop of the desk.

    Args:
        shared: several processes listen on the port (SO_REUSEPORT).

    Attributes:
        target: address and port, once it listens.
    """

    def __init__(self, desk: Desk, settings: Settings, *, shared: bool = False) -> None:
        self._desk, self._settings, self._shared = desk, settings, shared
        self._server: Any = None
        self._draining = asyncio.Event()
        self.target = ""
        if shared and not settings.grpc_port:
            raise SetsailError(
                "setting.value", "several processes cannot each pick a free port", field="--grpc-port", value=0,
                expected="a port, or --workers 1",
            )  # fmt: skip

    async def start(self) -> None:
        """Listen, and set `target`. Raises `port.in_use`."""
        settings = self._settings
        self._server = grpc.aio.server(options=[
            ("grpc.max_receive_message_length", settings.max_body),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", settings.max_head),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.so_reuseport", int(self._shared)),
        ])  # fmt: skip
        self._server.add_generic_rpc_handlers((_Handlers(self._desk, self._draining),))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.grpc_port}"
        try:
            credentials = _credentials(settings)
            if credentials is None:
                port = int(self._server.add_insecure_port(address))
            else:
                port = int(self._server.add_secure_port(address, credentials))
        except RuntimeError as fault:
            raise SetsailError(
                "port.in_use", f"grpcio cannot listen on {address}", field="--grpc-port", value=settings.grpc_port,
                todo="choose another --grpc-port, or 0 for any free one",
            ) from fault  # fmt: skip
        await self._server.start()
        self.target = f"{host}:{port}"

    async def drain(self, seconds: float) -> bool:
        """Take no new calls and give running ones so many seconds; False when some were cut off.

        Watches, and streams that are silent, would go on for ever: they are told that the server is draining.
        """
        if self._server is None:
            return True
        self._draining.set()
        ended = asyncio.ensure_future(self._server.stop(seconds + 1))
        done, _ = await asyncio.wait([ended], timeout=seconds)
        if not done:
            await self._server.stop(0)
        return bool(done)


def _credentials(settings: Settings) -> Any:
    if not settings.tls_cert:
        return None
    pair = (Path(settings.tls_key).read_bytes(), Path(settings.tls_cert).read_bytes())
    roots = Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials([pair], root_certificates=roots, require_client_auth=roots is not None)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Our table of methods as grpcio asks for it. A path it does not have is UNIMPLEMENTED."""

    def __init__(self, desk: Desk, draining: asyncio.Event) -> None:
        self._desk, self._draining = desk, draining

    def service(self, details: Any) -> Any:
        method = METHODS.get(details.method)
        if method is None:
            return None
        calls = _Calls(self._desk, method, self._draining)
        if method.kind == EACH:
            return grpc.stream_stream_rpc_method_handler(calls.each)
        if method.kind == WATCH:
            return grpc.unary_stream_rpc_method_handler(calls.watch)
        return grpc.unary_unary_rpc_method_handler(calls.unary)


class _Calls:
    """The calls of one method."""

    def __init__(self, desk: Desk, method: Method, draining: asyncio.Event) -> None:
        self._desk, self._method, self._draining = desk, method, draining

    async def unary(self, data: bytes, context: _Context) -> bytes:
        try:
            self._check_key(context)
            return await self._answered(data, context)
        except SetsailError as fault:
            await _abort(context, fault, self._method)
            raise

    async def watch(self, data: bytes, context: _Context) -> AsyncIterator[bytes]:
        try:
            self._check_key(context)
            exchange = self._method.decode(data)
            told = b"\xff"  # no message is this
            while True:
                last = self._draining.is_set()
                answer = await self._asked(exchange, len(data), context)
                if answer != told:
                    told = answer
                    yield answer
                if last:
                    raise _ended()
                await asyncio.sleep(LOOK_SECONDS)
        except SetsailError as fault:
            await _abort(context, fault, self._method)

    async def each(self, messages: AsyncIterator[bytes], context: _Context) -> AsyncIterator[bytes]:
        """Messages are asked as they come and answered in their order, so those of one stream run together too."""
        try:
            self._check_key(context)
            waiting: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(_AT_ONCE)
            reading = asyncio.ensure_future(self._read(messages, waiting, context))
            try:
                while (task := await self._next(waiting)) is not None:
                    yield await task
            finally:
                reading.cancel()
                while not waiting.empty():
                    if (left := waiting.get_nowait()) is not None:
                        left.cancel()
        except SetsailError as fault:
            await _abort(context, fault, self._method)

    async def _next(self, waiting: asyncio.Queue[asyncio.Task[bytes] | None]) -> asyncio.Task[bytes] | None:
        """The next message of a stream; None at its end."""
        while True:
            try:
                return await asyncio.wait_for(waiting.get(), LOOK_SECONDS)
            except TimeoutError:
                if self._draining.is_set():
                    raise _ended() from None

    async def _read(
        self, messages: AsyncIterator[bytes], waiting: asyncio.Queue[asyncio.Task[bytes] | None], context: _Context
    ) -> None:
        try:
            async for data in messages:
                await waiting.put(asyncio.ensure_future(self._told(data, context)))
        finally:
            await waiting.put(None)

    async def _told(self, data: bytes, context: _Context) -> bytes:
        """One message's answer, which may be its fault."""
        try:
            return await self._answered(data, context)
        except SetsailError as fault:
            if self._method.render_fault is None:
                raise
            return self._method.render_fault(fault, data)

    async def _answered(self, data: bytes, context: _Context) -> bytes:
        began, outcome, code = perf_counter(), None, "ok"
        marks, marker = None, self._desk.marker
        try:
            self._admit(data, context)
            if next(marker.lots) and self._method.model is not None:
                marks = marker.marks(_metadata(context), self._method.path[1:], call_about(self._method.path[1:]))
            exchange = self._method.decode(data)
            if marks is not None:
                marks.decoded = perf_counter()
            outcome = await self._outcome(exchange, len(data), context)
            if marks is not None:
                marks.encoding = perf_counter()
            return exchange.encode(outcome)
        except asyncio.CancelledError:
            code = "request.cancelled"
            raise
        except Exception as fault:
            error = self._desk.failed(fault, _metadata(context))
            code = error.code
            raise error from fault
        finally:
            rows = self._count(outcome, code, perf_counter() - began)
            if marks is not None:
                marks.answered(outcome, self._method.wire, code, rows, None)

    async def _asked(self, exchange: Exchange, size: int, context: _Context) -> bytes:
        try:
            return exchange.encode(await self._outcome(exchange, size, context))
        except Exception as fault:
            raise self._desk.failed(fault) from fault

    async def _outcome(self, exchange: Exchange, size: int, context: _Context) -> Any:
        """What the house says. A call that ends meanwhile is not run any more."""
        loop = asyncio.get_running_loop()
        asker = _Asker(context, loop.create_future())
        ticket: Ticket | None = self._desk.ask(exchange.ask, asker, size, loop, _deadline(context))
        try:
            return await asker.answered
        except asyncio.CancelledError:
            if ticket is not None:
                ticket.cancelled = True
            raise

    def _admit(self, data: bytes, context: _Context) -> None:
        """Refuse what need not be decoded."""
        model = None if self._method.model is None else self._method.model(data)
        fault = None if model is None else self._desk.admit_model(model, len(data), _deadline(context))
        if fault is not None:
            raise fault

    def _check_key(self, context: _Context) -> None:
        if self._method.keyless:
            return
        scheme, _, key = _metadata(context).get("authorization", "").partition(" ")
        self._desk.check_key(scheme, key)

    def _count(self, outcome: Any, code: str, seconds: float) -> int:
        """Rows of the answer."""
        if isinstance(outcome, Response):
            rows = outcome.rows
            self._desk.meter.answered(outcome.model, outcome.version, self._method.wire, code, seconds, rows)
            return rows
        if code != "ok":
            self._desk.meter.answered("", 0, self._method.wire, code, seconds, 0)
        return 0


class _Asker:
    """Called with the outcome of one question."""

    __slots__ = ("_context", "answered")

    def __init__(self, context: _Context, answered: asyncio.Future[Any]) -> None:
        self._context, self.answered = context, answered

    def __call__(self, outcome: Any) -> None:
        if self.answered.done():
            return
        if isinstance(outcome, BaseException):
            self.answered.set_exception(outcome)
        else:
            self.answered.set_result(outcome)

    @property
    def headers(self) -> dict[str, str]:
        """The call's metadata, under the name that routes look for (`serving/chosen.py`)."""
        return _metadata(self._context)


def _metadata(context: _Context) -> dict[str, str]:
    return {str(key): str(value) for key, value in context.invocation_metadata() or ()}


def _ended() -> SetsailError:
    return SetsailError("server.draining", "the server is shutting down", retry_after=1)


def _deadline(context: _Context) -> float:
    """On the clock of the desk."""
    left = context.time_remaining()
    return inf if left is None else perf_counter() + float(left)


async def _abort(context: _Context, fault: SetsailError, method: Method) -> None:
    """End a call with a fault: its status, its text, and in trailing metadata what HTTP has headers for. Raises."""
    code, text = method.status(fault)
    await context.abort(_CODES[code], text, trailing_metadata=fault_metadata(fault))
