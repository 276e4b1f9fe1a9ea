"""Header fields: HPACK (RFC 7541) with a memo of whole blocks, and what makes a request malformed (RFC 9113 §8).

`hpack` gives the tables and the Huffman code; the loop over a block is here, because it must be linear in the block's
size, must stop at the limit before it builds a bomb, and must know whether a block changed the dynamic table. Blocks
that change nothing are answered from a dict the next time: a client repeats its headers from the second request on, so
a request costs one look-up. The memo is dropped whenever the table changes, since a block's meaning depends on it.

    >>> encode([(":status", "200"), ("content-type", "application/grpc")]).hex()[:8]
    '880f1010'
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable
from msgspec import Struct

from setsail.protocols.http2.frames import FIRST_TABLE

__all__ = [
    "NO_TABLE", "Decoder", "Head", "Pairs", "TooLargeError", "UndecodableError", "encode", "encode_status",
    "trailers_fault",
]  # fmt: skip

Pairs = tuple[tuple[str, str], ...]

_KEPT_BLOCK: Final = 2048  # octets: longer blocks are decoded anew each time
_KEPT: Final = 64
_KEPT_FIELD: Final = 320  # octets
_UPDATES: Final = 2  # RFC 7541 §4.2: at most two size updates begin a block
_ENTRY: Final = 32  # §4.1: what a field counts beyond its octets
_WIDEST: Final = 4  # octets of an integer after its prefix: 28 bits are more than any length we take

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|\A[ \t]|[ \t]\Z").search
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_PSEUDO: Final = frozenset((":method", ":scheme", ":path", ":authority"))
_OF_CONNECTION: Final = frozenset(("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"))


class UndecodableError(Exception):
    """A block that is not HPACK: COMPRESSION_ERROR for the whole connection (RFC 9113 §4.3)."""


class TooLargeError(Exception):
    """A block whose fields are larger than the limit; the connection cannot go on, since the table is half updated."""


class Head(Struct):
    """The fields of one request or of its trailers. Equal blocks share one, so it is never changed, but for `plan`.

    `fault` says why these fields make no request (RFC 9113 §8.1.1), None when they do. `length` is content-length, -1
    when not said. `plan` is for whoever wants to remember something about a head until the same block comes again.
    """

    pairs: Pairs
    method: str = ""
    scheme: str = ""
    path: str = ""
    authority: str = ""
    headers: dict[str, str] = {}
    length: int = -1
    fault: str | None = None
    plan: Any = None


class Decoder:
    """One connection's decoding side."""

    __slots__ = ("_limit", "_table", "memo")

    def __init__(self, limit: int) -> None:
        """
        Args:
            limit: most octets that a list of fields may have (RFC 9113 §10.5.1), 32 added a field.
        """
        self._table = HeaderTable()
        self._limit = limit
        self.memo: dict[bytes, Head] = {}

    def decode(self, block: bytes) -> Head:
        """The fields of a block.

        Raises:
            UndecodableError: not HPACK.
            TooLargeError: over the limit.
        """
        head = self.memo.get(block)
        if head is None:
            pairs, fault, changed = self._fields(block)
            head = request_head(pairs, fault)
            if changed:
                self.memo.clear()
            elif len(block) <= _KEPT_BLOCK:
                if len(self.memo) >= _KEPT:
                    self.memo.clear()
                self.memo[block] = head
        return head

    def _fields(self, block: bytes) -> tuple[Pairs, str | None, bool]:
        """All fields, what is wrong with the first bad one, and whether the dynamic table is another than before."""
        pairs: list[tuple[str, str]] = []
        wrong: str | None = None
        table, changed, updates, size = self._table, False, 0, 0
        at, end = 0, len(block)
        try:
            while at < end:
                first = block[at]
                if first & 0x80:  # §6.1: indexed
                    index, at = _integer(block, at, 0x7F)
                    name, value = table.get_by_index(index)
                elif first & 0x60 == 0x20:  # §6.3: table size
                    new, at = _integer(block, at, 0x1F)
                    updates += 1
                    if pairs or updates > _UPDATES or new > FIRST_TABLE:
                        raise UndecodableError("a table size update that is out of place or over the limit")
                    changed = changed or new != table.maxsize
                    table.maxsize = new
                    continue
                else:  # §6.2: literal, added to the table or not
                    index, at = _integer(block, at, 0x3F if first & 0x40 else 0x0F)
                    if index:
                        name = table.get_by_index(index)[0]
                    else:
                        name, at = _string(block, at)
                    value, at = _string(block, at)
                    if first & 0x40:
                        table.add(name, value)
                        changed = True
                size += len(name) + len(value) + _ENTRY
                if size > self._limit:
                    raise TooLargeError
                pair, fault = _known(name, value) if len(name) + len(value) <= _KEPT_FIELD else _field(name, value)
                pairs.append(pair)
                wrong = wrong or fault
        except (HPACKError, IndexError) as found:
            raise UndecodableError(str(found)) from found
        return tuple(pairs), wrong, changed


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """RFC 7541 §5.1. Raises IndexError at the block's end."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 7 * _WIDEST, 7):
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise UndecodableError("an integer is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """§5.2."""
    huffman = block[at] & 0x80
    length, at = _integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise UndecodableError("a string is longer than the block")
    text = block[at:end]
    return (_unpacked(text) if huffman else text), end


def _unpacked(text: bytes) -> bytes:
    return _short(text) if len(text) <= 64 else decode_huffman(text)


@lru_cache(maxsize=512)
def _short(text: bytes) -> bytes:
    """Decoding takes a quarter of a microsecond an octet, and most short texts come again."""
    return decode_huffman(text)


def _field(name: bytes, value: bytes) -> tuple[tuple[str, str], str | None]:
    """A field as text, and why it may not be in a request or in trailers."""
    pair = name.decode("latin-1"), value.decode("latin-1")
    return pair, _value_fault(*pair) if name[:1] == b":" else field_fault(*pair)


_known = lru_cache(maxsize=1024)(_field)  # most fields of a new block have been in others


def request_head(pairs: Pairs, fault: str | None = None) -> Head:
    """The fields as a request's head. `fault`: what is wrong with one of them by itself."""
    headers: dict[str, str] = {}
    pseudo: dict[str, str] = {}
    for name, value in pairs:
        if name[:1] == ":":
            if name not in _PSEUDO or name in pseudo or headers:
                fault = fault or f"the pseudo-header {name!r} is unknown, twice or too late (§8.3)"
            pseudo[name] = value
        elif name in headers:
            headers[name] += ("; " if name == "cookie" else ", ") + value  # §8.2.3
        else:
            headers[name] = value
    length = -1
    said = headers.get("content-length")
    if said is not None:
        if said.isascii() and said.isdigit() and len(said) < 19:
            length = int(said)
        else:
            fault = fault or "content-length is not a number (§8.1.1)"
    head = Head(
        pairs, pseudo.get(":method", ""), pseudo.get(":scheme", ""), pseudo.get(":path", ""),
        pseudo.get(":authority") or headers.get("host", ""), headers, length, fault or _pseudo_fault(pseudo, headers),
    )  # fmt: skip
    return head


def _pseudo_fault(pseudo: dict[str, str], headers: dict[str, str]) -> str | None:
    method, path = pseudo.get(":method", ""), pseudo.get(":path")
    if not _TOKEN(method):
        return ":method is missing or no token (§8.3.1)"
    if method == "CONNECT":  # §8.5
        return None if set(pseudo) == {":method", ":authority"} else "CONNECT has other pseudo-headers (§8.5)"
    if not pseudo.get(":scheme"):
        return ":scheme is missing (§8.3.1)"
    if not path or not (path[0] == "/" or (path == "*" and method == "OPTIONS")) or " " in path:
        return ":path is missing, empty or not absolute (§8.3.1)"
    host, authority = headers.get("host"), pseudo.get(":authority")
    if host is not None and authority and host.lower() != authority.lower():
        return "host and :authority differ (§8.3.1)"
    return None


def _value_fault(name: str, value: str) -> str | None:
    return f"the value of {name!r} has octets that no value may have (§8.2.1)" if _BAD_VALUE(value) else None


def field_fault(name: str, value: str) -> str | None:
    """Why a field that is no pseudo-header may not be there (§8.2); None if it may."""
    if not _NAME(name):
        return f"the field name {name!r} is not lower-case token characters (§8.2.1)"
    if name in _OF_CONNECTION or (name == "te" and value.lower() != "trailers"):
        return f"{name!r} belongs to one connection of HTTP/1.1 (§8.2.2)"
    return _value_fault(name, value)


def trailers_fault(pairs: Pairs) -> str | None:
    """Why these are no trailers (§8.1)."""
    for name, value in pairs:
        if fault := field_fault(name, value):
            return fault
    return None


# -- encoding: never indexed into a table, so that a block can be kept as bytes and sent on any connection

_STATIC: Final = {name: index for index, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}
_WHOLE: Final = {pair: index for index, pair in enumerate(HeaderTable.STATIC_TABLE, 1)}
NO_TABLE: Final = b"\x20"  # a size update to 0: before a block, once, where the client made its table smaller


def _number(value: int, mask: int, first: int) -> bytes:
    if value < mask:
        return bytes((first | value,))
    octets = [first | mask]
    value -= mask
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def encode(pairs: list[tuple[str, str]] | Pairs) -> bytes:
    """A block without any use of the dynamic table: its meaning is the same at any moment of any connection."""
    parts: list[bytes] = []
    for name, value in pairs:
        left, right = name.encode("latin-1"), value.encode("latin-1")
        whole = _WHOLE.get((left, right))
        if whole is not None:
            parts.append(_number(whole, 0x7F, 0x80))
            continue
        index = _STATIC.get(left)
        if index is not None:
            parts.append(_number(index, 0x0F, 0x00))
        else:
            parts += (b"\x00", _number(len(left), 0x7F, 0x00), left)
        parts += (_number(len(right), 0x7F, 0x00), right)
    return b"".join(parts)


@lru_cache(maxsize=32)
def encode_status(status: int) -> bytes:
    return encode([(":status", str(status))])
