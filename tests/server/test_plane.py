"""What all connections of one event loop share."""

from __future__ import annotations

import calendar
import socket
import time
from contextlib import ExitStack
from email.utils import parsedate_to_datetime

import pytest

from setsail.server import plane
from setsail.server.listeners import bind


@pytest.mark.parametrize("day", range(0, 800, 37))
def test_the_date_is_the_one_that_http_libraries_read(day: int, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 1_700_000_000 + day * 86_399
    monkeypatch.setattr(plane, "gmtime", lambda: time.gmtime(moment))
    read = parsedate_to_datetime(plane._date().decode())
    assert calendar.timegm(read.utctimetuple()) == moment


def test_whoever_waits_at_the_door_is_let_in_when_it_closes() -> None:
    """A listening socket that closes resets its queue."""
    with bind("127.0.0.1", 0, "--port") as bound, ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(bound.getsockname(), timeout=10)) for _ in range(5)]
        door = bound.dup()
        bound.close()
        found = [stack.enter_context(one) for one in plane._accepted(door)]
        door.close()
        for one, client in zip(found, clients, strict=True):
            one.sendall(b"hello")
            assert client.recv(5) == b"hello"
