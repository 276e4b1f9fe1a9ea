"""The data port as a raw ASGI application: bodies in, `protocols/` in the middle, bodies out.

It is for those who bring their own server or mount the wires in an application of their own (`setsail.asgi`); what
`setsail serve` runs is `connection.py`. Both ask the same desk. Predictions run in a pool of threads, so that health
checks, which are answered on the event loop, stay live while models are busy.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.messages import Request, Response
from setsail.monitor.meter import Meter
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.server import provisions
from setsail.server.dispatch import Answering, Desk, Plan
from setsail.server.origins import NO_ORIGINS, Origins
from setsail.server.settings import Settings
from setsail.serving.house import House

__all__ = ["MAX_BODY", "Application", "Receive", "Scope", "Send", "application", "data_application"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY: Final = 64 << 20


def application(house: Answering, **settings: Any) -> Application:
    """The ASGI application for a house; settings are those of `Application`."""
    return Application(house, **settings)


def data_application(house: House, settings: Settings, close: Callable[[], object] | None = None) -> Application:
    """The data port as an ASGI application, with the settings that concern it."""
    given = provisions.desk(settings)
    return Application(house, api_keys=provisions.keys(settings), predict=house.predict, close=close, **given)


class Application:
    """ASGI 3.

    Args:
        max_body: largest body in bytes, before and after decompression.
        control: whether clients may load and unload.
        api_keys: when there are any, everything but health needs `Authorization: Bearer KEY`.
        meter: where outcomes are counted.
        threads: that predict at the same time.
        predict: answers a prediction, given also who asks, which has its `headers`: routes look at them. By default the
            house answers, as it answers everything, and goes by no header.
        close: called at the end of the lifespan, after the last request.
    """

    def __init__(
        self,
        house: Answering,
        *,
        max_body: int = MAX_BODY,
        control: bool = False,
        api_keys: Collection[str] = (),
        meter: Meter | None = None,
        origins: Origins = NO_ORIGINS,
        threads: int | None = None,
        predict: Callable[[Request, object], Response] | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        self.house = house
        self.meter = meter if meter is not None else Meter()
        self._max_body = max_body
        self._desk = Desk(
            house, meter=self.meter, max_body=max_body, control=control, api_keys=api_keys, origins=origins,
            predict=predict,
        )  # fmt: skip
        self._close = close
        self._pool = ThreadPoolExecutor(threads or max(4, 2 * (os.cpu_count() or 1)), "setsail-answer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await asyncio.get_running_loop().run_in_executor(None, self.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    def close(self) -> None:
        """End the threads after their last request, then whatever was given as `close`."""
        self._pool.shutdown()
        self._desk.close()
        if self._close is not None:
            self._close()

    # -- one request ---------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, headers = scope["method"], _path(scope), _headers(scope)
        plan = self._desk.plan(method, path, headers)
        try:
            reply = plan.reply
            if reply is None:
                raw = await self._read(receive, headers)
                if raw is None:
                    return  # the client has gone
                query = scope.get("query_string", b"").decode("latin-1")
                reply = await self._answer(plan, HttpRequest(method, path, query, headers, raw))
            elif plan.code != "ok":
                self._desk.count(path, plan.code)
                reply = _last(reply)
        except Exception as fault:
            reply = _last(self._desk.refuse(path, self._desk.failed(fault)))
        await _send(send, reply, plan)

    async def _answer(self, plan: Plan, request: HttpRequest) -> HttpReply:
        assert plan.match is not None
        if plan.match.route.method == "GET":
            return self._desk.answer(plan.match, request)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._desk.answer, plan.match, request)

    # -- the body ------------------------------------------------------------------------------------------------

    async def _read(self, receive: Receive, headers: Mapping[str, str]) -> bytes | None:
        """The whole body; None when the client went away. A length that was announced is checked before reading."""
        announced = headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:19]) > self._max_body:
            raise self._too_large(announced)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                raise self._too_large(size)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks) if len(chunks) > 1 else chunks[0]

    def _too_large(self, size: object) -> SetsailError:
        return SetsailError(
            "request.too_large",
            "the body is too large",
            field="body",
            value=int(str(size)[:19]),
            expected=f"at most {self._max_body} bytes",
        )


def _path(scope: Scope) -> str:
    """The decoded path below the prefix this application is mounted under."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    return path or "/"


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _send(send: Send, reply: HttpReply, plan: Plan) -> None:
    pairs = (*reply.fields, *plan.headers)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in pairs]
    if reply.status != 204:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if plan.head_only else reply.body})


def _last(reply: HttpReply) -> HttpReply:
    """A refusal that came before the body was read: the connection may hold the rest of it."""
    return reply.plus((("connection", "close"),))
