"""The admin port's server: uvicorn, imported when somebody first connects, because most runs of a server never do.

Until then the socket only listens; a connection waits in the kernel's queue for the fraction of a second that the
import takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from importlib import import_module
from typing import Any

__all__ = ["AdminPort"]


class AdminPort:
    """Serves an ASGI application on a bound socket, from an event loop that somebody else runs.

    Args:
        seconds: that running requests get at the end.
    """

    def __init__(self, application: Any, bound: socket.socket, seconds: int) -> None:
        self._application, self._bound, self._seconds = application, bound, seconds
        self._server: Any = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the first connection. Called on the loop's thread."""
        self._loop = loop
        self._bound.setblocking(False)
        if sys.platform == "win32":  # the proactor cannot wait for a socket to become readable
            self._begin()
        else:
            loop.add_reader(self._bound.fileno(), self._begin)

    def _begin(self) -> None:
        assert self._loop is not None
        if sys.platform != "win32":
            self._loop.remove_reader(self._bound.fileno())
        self._task = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        uvicorn = await loop.run_in_executor(None, import_module, "uvicorn")
        config = uvicorn.Config(
            self._application, http="httptools", ws="none", lifespan="off", interface="asgi3", access_log=False,
            log_config=None, server_header=False, timeout_graceful_shutdown=self._seconds,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        # signals are the process's own affair: two servers share it
        self._server.capture_signals = contextlib.nullcontext
        await self._server.serve(sockets=[self._bound])

    async def close(self) -> None:
        """Let running requests end."""
        if self._task is None:
            if self._loop is not None and sys.platform != "win32":
                self._loop.remove_reader(self._bound.fileno())
            return
        while self._server is None and not self._task.done():
            await asyncio.sleep(0.005)
        if self._server is not None:
            self._server.should_exit = True
        await asyncio.wait([self._task], timeout=self._seconds + 1)
