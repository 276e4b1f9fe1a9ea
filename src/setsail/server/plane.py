"""One door's data plane: what all its connections of one event loop share, and how it ends.

`Plane` owns the limits, the byte budget, the memo of heads, the scratch buffer, the date of the replies, and the list
of connections that its clock looks at once a second. Draining is its third job: say not ready, answer everybody once
more with `Connection: close`, close who stays quiet, and stop when nothing is owed to anybody.

A process with several doors has a plane for each, because each answers other paths. Limits and levels are the
process's: the planes know each other, and share the byte budget and the buffer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from contextlib import suppress
from importlib import import_module
from time import gmtime, perf_counter
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.protocols.budget import Budget
from setsail.protocols.http1.head import Heads, Limits
from setsail.server.connection import Connection
from setsail.server.dispatch import Desk
from setsail.server.listeners import Doorway
from setsail.server.settings import Settings

__all__ = ["Plane"]

_SCRATCH: Final = 1 << 16
_RATE_SECONDS: Final = 10
_LINGER: Final = 2.0


class Plane:
    """Answers on listening sockets.

    Args:
        beside: a plane of this process that is there already.

    Attributes:
        now, date: of the last tick of the clock: monotonic seconds, and an RFC 9110 date.
        inflight: requests that were read and not answered yet.
        draining: every reply says `Connection: close`.
    """

    def __init__(
        self, desk: Desk, settings: Settings, loop: asyncio.AbstractEventLoop, beside: Plane | None = None
    ) -> None:
        self.desk, self.loop = desk, loop
        self.limits = Limits(settings.max_head, settings.max_headers, settings.max_body)
        self.heads = Heads(self.limits)
        self.budget: Budget = Budget(settings.max_inflight_bytes) if beside is None else beside.budget
        self.scratch: memoryview = memoryview(bytearray(_SCRATCH)) if beside is None else beside.scratch
        self.gzip_replies = settings.gzip_replies
        self.idle_timeout, self.header_timeout = settings.idle_timeout, settings.header_timeout
        self.min_bytes = settings.min_rate * _RATE_SECONDS
        self.draining = False
        self.inflight = 0
        self.connections: set[Connection] = set()
        self._planes: list[Plane] = [] if beside is None else beside._planes
        self._planes.append(self)
        self._addresses: Counter[str] = Counter() if beside is None else beside._addresses
        self._settings = settings
        self._doors: list[tuple[asyncio.Server, socket.socket, dict[str, Any]]] = []
        self._sockets: list[socket.socket] = []
        self._streams: Any = None
        self._clock: asyncio.TimerHandle | None = None
        self._tick()

    async def listen(
        self, sockets: list[socket.socket], tls: ssl.SSLContext | None = None, *, own: bool = True
    ) -> None:
        """Accept connections.

        Args:
            own: False where other processes listen on the same sockets, or somebody else sees to their end.
        """
        # Nobody sees a connection before its handshake is over, so the loop has to end one that goes on for ever.
        handshake = (self.header_timeout or None) if tls is not None else None
        for bound in sockets:
            how: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": handshake}
            server = await self.loop.create_server(lambda: Connection(self), sock=bound, backlog=2048, **how)
            self._doors.append((server, bound, how))
        if own:
            self._sockets += sockets

    # -- what connections ask ----------------------------------------------------------------------------------------

    def opened(self, connection: Connection, address: str) -> SetsailError | None:
        """A connection has come; the fault says that it is one too many."""
        self.connections.add(connection)
        self._addresses[address] += 1
        most, most_of_one = self._settings.max_connections, self._settings.max_connections_per_address
        if sum(len(plane.connections) for plane in self._planes) > most:
            return _busy("connections", most)
        if most_of_one and self._addresses[address] > most_of_one:
            return _busy("connections from this address", most_of_one)
        return None

    def lost(self, connection: Connection, address: str) -> None:
        self.connections.discard(connection)
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def refusal(self) -> SetsailError | None:
        """Why no further request can be taken, or None."""
        inflight = self.inflight if len(self._planes) == 1 else sum(plane.inflight for plane in self._planes)
        if inflight > self._settings.max_inflight:
            return _busy("requests", self._settings.max_inflight)
        return None

    def streams(self, transport: Any) -> Any:
        """The HTTP/2 side of a connection; imported with the first one."""
        if self._streams is None:
            self._streams = import_module("setsail.server.streams").Streams
        return self._streams(self, transport)

    def linger(self, connection: Connection) -> None:
        """Close a connection a little later, if its client has not by then."""
        self.loop.call_later(_LINGER, connection.close)

    # -- the clock ---------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.now = self.loop.time()
        self.date = _date()
        for connection in list(self.connections):
            connection.tick(self.now)
        if self._planes[0] is self:
            if self.desk.intake is not None:
                self.desk.intake.tick(perf_counter())
            self._tell()
        self._clock = self.loop.call_later(1.0, self._tick)

    def _tell(self) -> None:
        """Levels of this moment, for the metrics."""
        meter, intake, planes = self.desk.meter, self.desk.intake, self._planes
        meter.gauge("connections", sum(len(plane.connections) for plane in planes))
        meter.gauge("inflight_requests", sum(plane.inflight for plane in planes))
        meter.gauge("inflight_bytes", self.budget.taken)
        meter.gauge("queue_rows", 0 if intake is None else intake.waiting())

    # -- the end -----------------------------------------------------------------------------------------------------

    async def drain(self, seconds: float, quiet: float) -> bool:
        """Answer everybody once more and close; False when something was still owed after `seconds`.

        Requests that come meanwhile, on old connections or new ones, are answered and their connections closed. An idle
        connection is closed when no connection has asked anything for `quiet` seconds: its client then knows no better,
        but a busy client is told by the `Connection: close` of its next reply.
        """
        self.draining = True
        await self._stop_accepting(seconds)
        for connection in list(self.connections):
            connection.drain()
        end, served, since = self.loop.time() + seconds, -1, self.loop.time()
        while (now := self.loop.time()) < end:
            total = sum(c.served for c in self.connections) + self.inflight
            if total != served or self.inflight:
                served, since = total, now
            if not self.connections or (not self.inflight and now - since >= quiet and not (quiet and self._reading())):
                break
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            if connection.quiet:
                connection.close()
        while self.inflight and self.connections and self.loop.time() < end:
            await asyncio.sleep(0.005)  # answers are still being read
        return self.inflight == 0

    def _reading(self) -> bool:
        """Whether a client is in the middle of a request."""
        return not all(connection.quiet for connection in self.connections)

    async def _stop_accepting(self, seconds: float) -> None:
        """Those whom the kernel has let in are accepted, not reset; sockets of others are just left to them."""
        doorway = Doorway(self._sockets, self.loop.time(), seconds) if self._sockets else None
        while doorway is not None and not doorway.empty(self.loop.time()):
            await asyncio.sleep(0.002)
        # A socket that closes resets those in its queue, and it fills until then where nobody could be kept out.
        last = [(bound.dup(), how) for _, bound, how in self._doors if bound.fileno() >= 0]
        for server, _, _ in self._doors:
            server.close()
        await asyncio.sleep(0)
        for door, how in last:
            found = _accepted(door)
            door.close()
            for one in found:
                with suppress(OSError):
                    await self.loop.connect_accepted_socket(lambda: Connection(self), one, **how)

    def close(self) -> None:
        """Stop the clock and drop what is left."""
        if self._clock is not None:
            self._clock.cancel()
        for server, _, _ in self._doors:
            with suppress(RuntimeError):
                server.close()
        for connection in list(self.connections):
            connection.abort()


def _accepted(door: socket.socket) -> list[socket.socket]:
    """All connections that wait at a listening socket."""
    door.setblocking(False)
    found = []
    with suppress(OSError):  # of which BlockingIOError says that there are no more
        while True:
            found.append(door.accept()[0])
    return found


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _date() -> bytes:
    """Now, as RFC 9110 §5.6.7 writes it. The standard library's takes 14 ms to import, at every start."""
    now = gmtime()
    clock = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
    return f"{_DAYS[now.tm_wday]}, {now.tm_mday:02} {_MONTHS[now.tm_mon - 1]} {now.tm_year} {clock} GMT".encode()


def _busy(what: str, limit: int) -> SetsailError:
    return SetsailError("server.busy", f"the server has too many {what}", value=limit, retry_after=1)
