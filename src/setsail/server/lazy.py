"""An ASGI application that is imported when its first request comes: the admin port costs nothing until it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any

from setsail.server.asgi import Receive, Scope, Send

__all__ = ["Lazy"]


class Lazy:
    """Stands for `module:factory(*args, **kwargs)`; the factory runs once, in a thread beside the event loop."""

    def __init__(self, target: str, *args: Any, **kwargs: Any) -> None:
        self._target, self._args, self._kwargs = target, args, kwargs
        self._app: Any = None
        self._making: asyncio.Lock | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if self._app is None:
            self._making = self._making or asyncio.Lock()
            async with self._making:
                if self._app is None:
                    self._app = await asyncio.get_running_loop().run_in_executor(None, self._make)
        await self._app(scope, receive, send)

    def _make(self) -> Any:
        module, _, name = self._target.partition(":")
        factory: Callable[..., Any] = getattr(import_module(module), name)
        return factory(*self._args, **self._kwargs)


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
