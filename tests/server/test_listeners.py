"""Listening sockets: whose a port is, and how a door is closed without losing who stands in it."""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from setsail.errors import SetsailError
from setsail.server.listeners import SPREADS, Doorway, bind, finish, refuse_new, slots, url, waiting

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's queue is seen, and closed, on Linux")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as kept:
        yield kept


def connect(stack: ExitStack, bound: socket.socket) -> socket.socket:
    made = stack.enter_context(socket.create_connection(bound.getsockname()[:2], timeout=5))
    made.settimeout(5)
    return made


@pytest.mark.parametrize("count", [1, 3])
def test_a_port_that_is_taken(stack: ExitStack, count: int) -> None:
    taken = stack.enter_context(bind("127.0.0.1", 0, "--port"))
    with pytest.raises(SetsailError) as caught:
        slots("127.0.0.1", taken.getsockname()[1], "--port", count)
    assert caught.value.code == "port.in_use"
    assert "--port 0" in caught.value.message


@linux
def test_a_stranger_that_shares_its_port_is_seen(stack: ExitStack) -> None:
    stranger = stack.enter_context(socket.socket())
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    stranger.bind(("127.0.0.1", 0))
    stranger.listen()
    with pytest.raises(SetsailError) as caught:
        slots("127.0.0.1", stranger.getsockname()[1], "--port", 2)
    assert caught.value.code == "port.in_use"


def test_nobody_else_gets_a_port_that_processes_share(stack: ExitStack) -> None:
    mine = [stack.enter_context(bound) for bound in slots("127.0.0.1", 0, "--port", 2)]
    with pytest.raises(SetsailError) as caught:
        bind("127.0.0.1", mine[0].getsockname()[1], "--port")
    assert caught.value.code == "port.in_use"


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(SetsailError) as caught:
        slots("203.0.113.7", 0, "--port", 2)
    assert caught.value.code == "setting.value"


@pytest.mark.skipif(not SPREADS, reason="one socket for all where a port cannot be shared")
def test_connections_are_spread_over_the_slots(stack: ExitStack) -> None:
    mine = [stack.enter_context(bound) for bound in slots("127.0.0.1", 0, "--port", 2)]
    assert len({bound.getsockname() for bound in mine}) == 1
    for _ in range(64):
        connect(stack, mine[0])
    queues = [waiting(bound) for bound in mine]
    assert sum(queues) == 64
    assert min(queues) > 8


@linux
def test_a_closed_door_keeps_those_inside(stack: ExitStack) -> None:
    bound = stack.enter_context(bind("127.0.0.1", 0, "--port"))
    inside = [connect(stack, bound) for _ in range(5)]
    assert refuse_new(bound)
    outside = stack.enter_context(socket.socket())
    outside.settimeout(0.2)
    with pytest.raises(TimeoutError):
        outside.connect(bound.getsockname())
    assert waiting(bound) == 5
    for client in inside:
        accepted, _ = bound.accept()
        with accepted:
            accepted.sendall(b"hello")
        assert client.recv(5) == b"hello"


@linux
def test_the_doorway_is_empty_when_everybody_was_accepted(stack: ExitStack) -> None:
    bound = stack.enter_context(bind("127.0.0.1", 0, "--port"))
    connect(stack, bound)
    doorway = Doorway([bound, bound], now=0.0, seconds=30.0)
    assert not doorway.empty(1.0)
    assert not doorway.empty(29.0)
    stack.enter_context(bound.accept()[0])
    assert not doorway.empty(29.1)  # a handshake may be on its way
    assert doorway.empty(29.2)


def test_a_door_that_cannot_be_shut_says_so(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where an ordinary user may attach no filter to a socket."""
    bound = stack.enter_context(bind("127.0.0.1", 0, "--port"))
    monkeypatch.setattr("setsail.server.listeners.refuse_new", lambda door: False)
    assert not Doorway([bound], now=0.0, seconds=3.0).shut
    monkeypatch.setattr("setsail.server.listeners.refuse_new", lambda door: True)
    assert Doorway([bound], now=0.0, seconds=3.0).shut


@linux
def test_nobody_is_waited_for_for_ever(stack: ExitStack) -> None:
    bound = stack.enter_context(bind("127.0.0.1", 0, "--port"))
    connect(stack, bound)
    assert Doorway([bound], now=0.0, seconds=3.0).empty(3.0)


@linux
def test_no_connection_is_reset_when_a_busy_port_ends(stack: ExitStack) -> None:
    """Clients connect as fast as they can while the door closes: each is either served, or was never let in."""
    bound = bind("127.0.0.1", 0, "--port")
    address, served, broken = bound.getsockname(), [0], []
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            select.select([bound], [], [], 0.01)
            try:
                while True:
                    client, _ = bound.accept()
                    client.setblocking(True)
                    with client:
                        client.sendall(client.recv(1))
            except BlockingIOError:
                continue

    def ask() -> None:
        while True:
            with socket.socket() as client:
                client.settimeout(5)
                try:
                    client.connect(address)
                except OSError:
                    return
                try:
                    client.sendall(b"?")
                    assert client.recv(1) == b"?"
                    served[0] += 1
                except (OSError, AssertionError) as fault:
                    broken.append(fault)
                    return

    accepting = threading.Thread(target=accept)
    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in (accepting, *asking):
        thread.start()
    time.sleep(0.2)
    finish([bound], 5.0)
    over.set()
    accepting.join(10)
    bound.close()
    for thread in asking:
        thread.join(10)
    assert served[0] > 10
    assert broken == []


def test_what_is_typed() -> None:
    assert url("0.0.0.0", 80, False) == "http://127.0.0.1:80"
    assert url("::", 80, True) == "https://[::1]:80"
    assert url("fe80::1", 80, False) == "http://[fe80::1]:80"
    assert url("example.org", 80, False) == "http://example.org:80"
