"""The admin port of a server of several processes: in the supervisor, in a thread of its own.

The module is imported when the port is first asked, and with it all that the supervisor otherwise does without:
asyncio, numpy, a web framework. What happens here cannot delay the supervisor's loop by more than Python's switch
interval, and a request that fails ends nobody.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import Any

from setsail.server.admin_port import AdminPort
from setsail.server.counts import Counts
from setsail.server.fleet import Asker, Fleet
from setsail.server.lazy import Lazy
from setsail.server.settings import Settings
from setsail.server.watched import Watching

__all__ = ["AdminThread"]


class AdminThread:
    """Serves the admin application over all workers, on a bound socket.

    Args:
        asker: has workers asked.
        gauges: levels that the supervisor knows.
        seconds: that running requests get at the end.
        watch: the server's settings, for what is watched.
        settings: of the admin application.
    """

    def __init__(
        self, bound: socket.socket, asker: Asker, gauges: Callable[[], Mapping[str, float]], *, seconds: int,
        watch: Settings, **settings: Any,
    ) -> None:  # fmt: skip
        counts = Counts(asker, gauges)
        self._watching = Watching(counts, watch)
        self._watching.start()
        self._application = Lazy(
            "setsail.server.admin:application", Fleet(asker), meter=counts, watching=self._watching, **settings
        )
        self._bound, self._seconds = bound, seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._began = Event()
        self._thread = Thread(target=self._run, name="setsail-admin", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let running requests end."""
        self._watching.close()
        self._began.wait(self._seconds)
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(self._seconds + 2)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._began.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        port = AdminPort(self._application, self._bound, self._seconds)
        port.start(self._loop)
        self._began.set()
        await self._stop.wait()
        await port.close()
