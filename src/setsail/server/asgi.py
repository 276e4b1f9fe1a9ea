"""The data port as a raw ASGI application: bodies in, `protocols/` in the middle, bodies out.

It knows no wire. It reads a body within the limit, finds the route, lets the wire decode it, asks the house and lets
the wire encode what comes back. Predictions run in a pool of threads, so that health checks, which are answered on the
event loop, stay live while models are busy. It can be mounted in another application (`setsail.asgi`).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, Final, Protocol

from msgspec.structs import replace

from setsail.catalog import Ask, Index, Load, Unload
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Response
from setsail.protocols import table
from setsail.protocols.compression import decompress
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.plain import ONLY_MODEL
from setsail.server.traffic import Outcome, Traffic

__all__ = ["MAX_BODY", "Answering", "Application", "Receive", "Scope", "Send", "application"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY: Final = 64 << 20
_LOG = logging.getLogger("setsail.server")
_OPEN: Final = frozenset(("/", "/v2/health/live", "/v2/health/ready"))  # answered without an API key


class Answering(Protocol):
    """What the application needs of `serving.house.House`."""

    def answer(self, ask: Request | Ask, *, control: bool) -> Any: ...


def application(house: Answering, **settings: Any) -> Application:
    """The ASGI application for a house; settings are those of `Application`."""
    return Application(house, **settings)


class Application:
    """ASGI 3.

    Args:
        max_body: largest body in bytes, before and after decompression.
        control: whether clients may load and unload.
        api_keys: when there are any, everything but health needs `Authorization: Bearer KEY`.
        traffic: where outcomes are counted.
        threads: that predict at the same time.
        close: called at the end of the lifespan, after the last request.
    """

    def __init__(
        self,
        house: Answering,
        *,
        max_body: int = MAX_BODY,
        control: bool = False,
        api_keys: Collection[str] = (),
        traffic: Traffic | None = None,
        threads: int | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        self.house = house
        self.traffic = traffic if traffic is not None else Traffic()
        self._max_body = max_body
        self._control = control
        self._keys = tuple(key.encode() for key in api_keys)
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
        if self._close is not None:
            self._close()

    # -- one request ---------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        method, path, headers = scope["method"], _path(scope), _headers(scope)
        try:
            self._check_key(path, headers)
            if method == "OPTIONS" and table.allowed(path):
                reply = HttpReply(204, headers=(("allow", ", ".join(table.allowed(path))),))
            else:
                match = table.find(method, path)
                raw = await self._read(receive, headers)
                if raw is None:
                    return  # the client has gone
                query = scope.get("query_string", b"").decode("latin-1")
                reply = await self._dispatch(match, HttpRequest(method, path, query, headers, raw), began)
        except SetsailError as fault:
            reply = self._refusal(path, fault)
            self.traffic.add(Outcome(table.wire_of(path).name, "", 0, fault.code, perf_counter() - began))
        except Exception as fault:
            reply = self._refusal(path, _unexpected(fault))
        await _send(send, reply, head=method == "HEAD")

    async def _dispatch(self, match: table.Match, request: HttpRequest, began: float) -> HttpReply:
        if match.route.method == "GET":
            return self._answer(match, request, began)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._answer, match, request, began)

    def _answer(self, match: table.Match, request: HttpRequest, began: float) -> HttpReply:
        """Decode, ask, encode; every fault becomes a reply in the wire's shape. Runs in any thread."""
        answer: Any = None
        code = "ok"
        try:
            coding = request.headers.get("content-encoding", "")
            body = decompress(bytes(request.body), coding, self._max_body)
            exchange = match.decode(replace(request, body=body))
            if isinstance(exchange.ask, Load | Unload):
                self._check_origin(request)
            answer = self.house.answer(self._named(exchange.ask), control=self._control)
            reply = exchange.encode(answer)
        except SetsailError as fault:
            code, reply = fault.code, match.route.wire.render_error(_with_id(fault))
        except Exception as fault:
            error = _unexpected(fault)
            code, reply = error.code, match.route.wire.render_error(error)
        if match.route.method == "POST" or code != "ok":
            self._count(match, answer, code, perf_counter() - began)
        return reply

    def _named(self, ask: Request | Ask) -> Request | Ask:
        """`POST /predict` means the only model there is."""
        if not isinstance(ask, Request) or ask.model.name != ONLY_MODEL:
            return ask
        names = self._names()
        if len(names) != 1:
            raise SetsailError(
                "model.unknown",
                "the path names no model and not exactly one is served",
                field="path",
                value="/predict",
                expected=" or ".join(f"/predict/{name}" for name in names[:8]) or "a model",
            )
        return replace(ask, model=ModelRef(names[0]))

    def _names(self) -> list[str]:
        return list(dict.fromkeys(status.name for status in self.house.answer(Index(), control=False)))

    def _count(self, match: table.Match, answer: Any, code: str, seconds: float) -> None:
        wire = match.route.wire.name
        if isinstance(answer, Response):
            self.traffic.add(Outcome(wire, answer.model, answer.version, code, seconds, _rows(answer)))
            return
        name = match.params.get("model", "")
        self.traffic.add(Outcome(wire, name if name in self._names() else "", 0, code, seconds))

    def _refusal(self, path: str, fault: SetsailError) -> HttpReply:
        """An error found before a route was, or while the body came; the connection may hold unread bytes then."""
        reply = table.wire_of(path).render_error(fault)
        return replace(reply, headers=(*reply.headers, ("connection", "close")))

    def _check_key(self, path: str, headers: Mapping[str, str]) -> None:
        if not self._keys or path in _OPEN:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        sent = given.strip().encode("latin-1", "replace")
        # Every key is compared, so that time does not tell which one was near.
        if scheme.lower() != "bearer" or sum(hmac.compare_digest(sent, key) for key in self._keys) == 0:
            raise SetsailError("request.key", "this server needs an API key", field="authorization", challenge="Bearer")

    def _check_origin(self, request: HttpRequest) -> None:
        """Without keys, a page on any site could have a visitor's browser unload models here: browsers say Origin."""
        if "origin" in request.headers and not self._keys:
            raise SetsailError(
                "control.refused", "a browser may not load or unload here", field="origin",
                value=request.headers["origin"], todo="use the admin port",
            )  # fmt: skip

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


async def _send(send: Send, reply: HttpReply, *, head: bool) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in reply.headers]
    headers.append((b"content-length", str(len(reply.body)).encode()))
    if reply.status == 204:
        headers.pop()
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})


def _rows(response: Response) -> int:
    if not response.signature.batched or not response.outputs:
        return 1
    return len(next(iter(response.outputs.values())))


def _with_id(fault: SetsailError) -> SetsailError:
    """An internal error gets an id, and its cause goes to the log under it."""
    if fault.family.http == 500 and "id" not in fault.facts:
        fault.facts["id"] = uuid.uuid4().hex[:12]
        fault.what += f" (error {fault.facts['id']})"
        _LOG.error("error %s: %s", fault.facts["id"], fault, exc_info=fault)
    return fault


def _unexpected(fault: Exception) -> SetsailError:
    """What a client may know of an exception nobody planned for: an id. The rest is in the log."""
    error = SetsailError("server.fault", "the server failed")
    error.__cause__ = fault
    return _with_id(error)
