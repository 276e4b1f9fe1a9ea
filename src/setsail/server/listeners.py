"""Listening sockets: opened before anything starts, closed without losing whoever is in the doorway.

Theory. The kernel completes handshakes by itself and queues the connections until somebody accepts them. Two things
follow. A socket that closes resets every connection in its queue, so nothing here closes one whose queue is not empty.
And the queue fills until the very moment of closing, so `refuse_new` first makes the kernel drop new handshakes (a
packet filter that lets everything but a SYN through; such a client tries again a second later and finds the port
closed), then a `Doorway` waits until those that had begun are accepted.

With several processes each has a socket of its own on the one port (SO_REUSEPORT): the kernel spreads connections over
them by their addresses, and no two processes wake for one connection. The flag also lets a stranger of the same user
join the port and take half of the connections, so the first socket is bound without it: that fails where anybody
listens.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from array import array
from collections.abc import Iterable
from time import monotonic, sleep
from typing import Final

from setsail.errors import SetsailError

__all__ = ["Doorway", "bind", "finish", "refuse_new", "slots", "url", "waiting"]

BACKLOG: Final = 2048
SPREADS: Final = sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")  # elsewhere the last one bound gets all
_SO_ATTACH_FILTER: Final = 26
_TCP_INFO_QUEUE: Final = 24  # of a listening socket: tcpi_unacked, the length of its accept queue (linux/tcp.h)
# Classic BPF over the TCP header: A = flags; A &= SYN|ACK; if A == SYN: drop; else pass whole.
_ONLY_SYN: Final = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF))


def bind(host: str, port: int, flag: str) -> socket.socket:
    """A listening, non-blocking socket that shares its port with nobody. `port` 0 picks a free one.

    Args:
        flag: what chooses the port, `--port`, or with `{}` where the number goes.

    Raises:
        SetsailError: `port.in_use`, saying what to type instead; `setting.value` for an address that is not ours.
    """
    bound = _socket(host)
    try:
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as fault:
        bound.close()
        raise _refused(host, port, flag, fault) from fault
    return bound


def slots(host: str, port: int, flag: str, count: int) -> list[socket.socket]:
    """One listening socket for each of `count` processes: on one port each its own, or the same one for all.

    Raises what `bind` raises.
    """
    if count == 1 or not SPREADS:
        return [bind(host, port, flag)] * count
    first = _socket(host)
    found = [first]
    try:
        first.bind((host, port))  # without the flag: alone, or not at all
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.listen(BACKLOG)
        for _ in range(count - 1):
            found.append(_socket(host))
            found[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            found[-1].bind((host, first.getsockname()[1]))
            found[-1].listen(BACKLOG)
    except OSError as fault:
        for bound in found:
            bound.close()
        raise _refused(host, port, flag, fault) from fault
    return found


def refuse_new(bound: socket.socket) -> bool:
    """Let no further handshake begin; those that have begun, and what is queued, stay. False where that cannot be had.

    It holds for every process that has the socket.
    """
    if sys.platform != "linux":
        return False
    code = array("B", b"".join(struct.pack("HBBI", *row) for row in _ONLY_SYN))
    address, _ = code.buffer_info()
    try:
        bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_ONLY_SYN), address))
    except OSError:  # a sandbox that forbids it
        return False
    return True


def waiting(bound: socket.socket) -> int:
    """Connections that nobody has accepted yet; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    try:
        info = bound.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_QUEUE + 4)
    except OSError:
        return 0
    return int(struct.unpack_from("I", info, _TCP_INFO_QUEUE)[0])


class Doorway:
    """The end of listening: closed to new connections at once, empty when those in the queues are accepted.

    Somebody must go on accepting meanwhile: this process, or those that have the same sockets.

    Args:
        seconds: the longest to wait for the queues.

    Attributes:
        shut: nobody new comes; False where the kernel lets an ordinary user attach no filter.
    """

    def __init__(self, listeners: Iterable[socket.socket], now: float, seconds: float) -> None:
        self._doors = tuple(dict.fromkeys(listeners))
        refused = [refuse_new(door) for door in self._doors]
        self.shut = all(refused)
        self._quiet = _settling(self._doors)
        self._end = now + max(seconds, self._quiet)
        self._since: float | None = None

    def empty(self, now: float) -> bool:
        """Whether the queues have been empty for as long as a handshake may take, or nobody should wait any longer."""
        if any(map(waiting, self._doors)):
            self._since = None
        elif self._since is None:
            self._since = now
        return now >= self._end or (self._since is not None and now - self._since >= self._quiet)


def finish(listeners: Iterable[socket.socket], seconds: float) -> None:
    """Wait in this thread until the doorway is empty."""
    doorway = Doorway(listeners, monotonic(), seconds)
    while not doorway.empty(monotonic()):
        sleep(0.005)


def _settling(listeners: Iterable[socket.socket]) -> float:
    """Seconds in which a handshake that has begun ends: a round trip to a client, or next to nothing on loopback."""
    near = all(door.getsockname()[0] in ("127.0.0.1", "::1") for door in listeners)
    return 0.01 if near else 0.25


def url(host: str, port: int, tls: bool) -> str:
    """What a person types to get there."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http{'s' if tls else ''}://{shown}:{port}"


def _socket(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setblocking(False)
    return made


def _refused(host: str, port: int, flag: str, fault: OSError) -> SetsailError:
    name, form = flag.partition(" ")[0], flag if "{}" in flag else flag + " {}"
    if fault.errno == errno.EADDRINUSE:
        advice = f"choose another: {form.format(_free(host))}, or {form.format(0)} for any free one"
        what = f"port {port} of {host} is taken"
        return SetsailError("port.in_use", what, field=name, value=port, todo=advice)
    return SetsailError("setting.value", f"cannot listen on {host}:{port}", field=name, value=str(fault),
                        expected="an address of this machine and a port it may use")  # fmt: skip


def _free(host: str) -> int:
    with _socket(host) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
