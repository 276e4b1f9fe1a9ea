"""A whole server but its sockets, in this process: connections driven by a loop of our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from time import monotonic
from typing import Any

from setsail.monitor.meter import Meter
from setsail.scheduling import Rules
from setsail.server.connection import Connection
from setsail.server.dispatch import Desk
from setsail.server.plane import Plane
from setsail.server.settings import Settings
from setsail.serving.house import House
from setsail.serving.intake import Intake
from setsail.serving.turns import Turns

__all__ = ["Inside", "Loop", "NoMeter", "Transport"]


class NoMeter(Meter):
    """Counts nothing."""

    def answered(self, *_: Any) -> None: ...
    def batch(self, *_: Any) -> None: ...
    def stage(self, *_: Any) -> None: ...
    def gauge(self, *_: Any) -> None: ...


class Loop:
    """An event loop without sockets: `turn` calls whoever wants to be called."""

    def __init__(self) -> None:
        self.due: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def call_soon(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.due.append((call, arguments))

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, call: Callable[..., Any], *arguments: Any) -> None: ...

    def time(self) -> float:
        return monotonic()

    def turn(self) -> None:
        due, self.due = self.due, []
        for call, arguments in due:
            call(*arguments)


class Transport:
    """What a connection writes to: it counts the answers and drops them."""

    def __init__(self) -> None:
        self.answers = 0

    def write(self, data: bytes) -> None:
        self.answers += 1

    def get_extra_info(self, name: str) -> None: ...
    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Inside:
    """The server. Models of any speed run on the loop, so that a turn answers all that came in it.

    Args:
        transports: one for each connection.
        metered: without, nothing is counted and nothing is noted of a request.
    """

    def __init__(self, house: House, transports: Sequence[Transport], *, metered: bool = True) -> None:
        self.loop: Any = Loop()
        settings, meter = Settings(port=0), Meter() if metered else NoMeter()
        desk = Desk(house, meter=meter, max_body=settings.max_body)
        if not metered:
            desk.marker.lots = repeat(False)
        desk.intake = Intake(lambda: house.table, Turns(self.loop), rules=Rules(inline_seconds=1.0), meter=meter)
        plane = Plane(desk, settings, self.loop)
        self.connections = [Connection(plane) for _ in transports]
        for connection, transport in zip(self.connections, transports, strict=True):
            connection.connection_made(transport)  # type: ignore[arg-type]
