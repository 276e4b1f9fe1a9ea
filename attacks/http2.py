"""Octets of HTTP/2 that ask for much and give nothing, each with how the connection ends and what it may have cost.

Published under CVE numbers where there is one. The client's side is written by hand here, since no honest library would
write it. None of these is an error in any single frame: what answers them is an allowance (`http2/streams.py`), a limit
or the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from setsail.protocols.http2 import frames
from setsail.protocols.http2.fields import encode
from setsail.protocols.http2.frames import CONTINUATION, DATA, END_HEADERS, HEADERS, PRIORITY, frame

CALM: Final = frames.ENHANCE_YOUR_CALM
GET: Final = encode([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")])
POST: Final = encode([(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "h")])
MANY: Final = 30_000  # frames of a flood; it has to end long before


class Attack(NamedTuple):
    """Portions of octets, without end or nearly so, and the code of the GOAWAY that ends them (None: nothing does, and
    what they hold is bounded)."""

    portions: Callable[[], Iterator[bytes]]
    code: int | None = CALM


def _flood(octets: bytes) -> Callable[[], Iterator[bytes]]:
    def portions() -> Iterator[bytes]:
        for _ in range(MANY // 100):
            yield octets * 100

    return portions


def _streams(each: Callable[[int], bytes]) -> Callable[[], Iterator[bytes]]:
    """Something on one new stream after another."""

    def portions() -> Iterator[bytes]:
        for first in range(1, 2 * MANY, 200):
            yield b"".join(each(number) for number in range(first, first + 200, 2))

    return portions


def _on_one_stream(before: bytes, octets: bytes) -> Callable[[], Iterator[bytes]]:
    def portions() -> Iterator[bytes]:
        yield before
        yield from _flood(octets)()

    return portions


def _post(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS, number, POST)


def _get(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS | 1, number, GET)


def _bomb() -> Iterator[bytes]:
    """An entry of 4 KB in the table, then a reference to it an octet."""
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000
    yield frame(HEADERS, END_HEADERS | 1, 1, GET + entry)
    yield frame(HEADERS, END_HEADERS | 1, 3, GET + b"\xbe" * 16_000)


def _continuations() -> Iterator[bytes]:
    yield frame(HEADERS, 0, 1, POST)
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b")


def _large_block() -> Iterator[bytes]:
    yield frame(HEADERS, 0, 1, POST)
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\x81\x7f" + b"v" * 16_256)


def _shut_window() -> Iterator[bytes]:
    """Ask for answers and let none of them through."""
    yield frames.settings({frames.INITIAL_WINDOW_SIZE: 0})
    for number in range(1, 2000, 2):
        yield _get(number)


def _window_by_window() -> Iterator[bytes]:
    """One octet of window at a time: a frame of ten octets for each octet of the answer."""
    yield frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + _get(1)
    while True:
        yield frames.window_update(1, 1) * 100


def _toggled() -> Iterator[bytes]:
    """Every change of the initial window is a walk over all streams."""
    yield b"".join(_post(number) for number in range(1, 512, 2))
    while True:
        for size in (0, 65_535):
            yield frames.settings({frames.INITIAL_WINDOW_SIZE: size})


def _half_requests() -> Iterator[bytes]:
    """Bodies that begin and never end, on every stream there is."""
    for number in range(1, 2 * 256, 2):
        yield _post(number) + frame(DATA, 0, number, b"x" * 1000)


ATTACKS: Final[Mapping[str, Attack]] = {
    "rapid reset": Attack(_streams(lambda n: _post(n) + frames.reset(n, frames.CANCEL))),  # CVE-2023-44487
    "made you reset: window": Attack(_streams(lambda n: _post(n) + frames.window_update(n, 0))),  # CVE-2025-8671
    "made you reset: overflow": Attack(_streams(lambda n: _post(n) + frames.window_update(n, 0x7FFFFFFF))),
    "made you reset: priority": Attack(_streams(lambda n: _post(n) + frame(PRIORITY, 0, n, bytes(4)))),
    "made you reset: half-closed": Attack(_streams(lambda n: _get(n) + frame(DATA, 0, n, b"x"))),
    "made you reset: malformed": Attack(_streams(lambda n: frame(HEADERS, 5, n, encode([("x", "y")])))),
    "streams over the limit": Attack(_streams(_post)),
    "CONTINUATION flood": Attack(_continuations),  # CVE-2024-27316 and others
    "a block without end": Attack(_large_block),
    "HPACK bomb": Attack(_bomb),  # CVE-2016-1544 and others
    "PING flood": Attack(_flood(frames.ping(bytes(8)))),  # CVE-2019-9512
    "SETTINGS flood": Attack(_flood(frames.settings({}))),  # CVE-2019-9515
    "a SETTINGS of thousands": Attack(_flood(frame(frames.SETTINGS, 0, 0, b"\x00\xff\0\0\0\0" * 2000))),
    "toggled windows": Attack(_toggled),
    "empty DATA": Attack(_on_one_stream(_post(1), frame(DATA, 0, 1))),  # CVE-2019-9518
    "DATA that is all padding": Attack(_on_one_stream(_post(1), frame(DATA, 8, 1, b"\x07" + bytes(7)))),
    "PRIORITY flood": Attack(_flood(frame(PRIORITY, 0, 1, bytes(5)))),  # CVE-2019-9513
    "unknown frames": Attack(_flood(frame(0x77, 0, 0, b"?"))),
    "frames of ended streams": Attack(_on_one_stream(_post(1) + frames.reset(1, 8), frames.window_update(1, 1))),
    "empty answers, octet by octet": Attack(_window_by_window),  # CVE-2019-9511
    "a window that stays shut": Attack(_shut_window, None),  # CVE-2019-9517
    "bodies that do not end": Attack(_half_requests, None),
}
