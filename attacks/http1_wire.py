"""A client without manners: it sends what it is told and reads what comes."""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

__all__ = ["Reply", "connect", "exchange", "read_replies", "refused_within"]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """Of the refusal, if it is one of ours."""
        return self.headers.get("x-setsail-error")


def connect(address: tuple[str, int], timeout: float = 10.0) -> socket.socket:
    return socket.create_connection(address, timeout)


def read_replies(sock: socket.socket, most: int | None = None, *, quiet: float = 10.0) -> tuple[list[Reply], bool]:
    """Replies until there are `most`, the server closes, or it is quiet; and whether it closed."""
    replies: list[Reply] = []
    pending = b""
    sock.settimeout(quiet)
    while most is None or len(replies) < most:
        reply, pending = _parsed(pending)
        if reply is not None:
            replies.append(reply)
            continue
        try:
            came = sock.recv(1 << 16)
        except TimeoutError:
            return replies, False
        except ConnectionError:
            return replies, True
        if not came:
            return replies, True
        pending += came
    return replies, False


def exchange(address: tuple[str, int], raw: bytes, *, quiet: float = 1.0) -> tuple[list[Reply], bool]:
    """Send bytes on a connection of their own and read everything that comes back."""
    with connect(address) as sock:
        sock.sendall(raw)
        return read_replies(sock, quiet=quiet)


def refused_within(sock: socket.socket, seconds: float) -> Reply:
    """The one reply that a connection gets before it is closed."""
    began = time.monotonic()
    replies, closed = read_replies(sock, quiet=seconds)
    took = time.monotonic() - began
    assert closed, f"still open after {took:.1f} s, with {replies}"
    assert took < seconds
    assert len(replies) == 1
    return replies[0]


def _parsed(data: bytes) -> tuple[Reply | None, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None, data
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", 0))
    if len(rest) < length:
        return None, data
    return Reply(int(start.split()[1]), headers, rest[:length]), rest[length:]
