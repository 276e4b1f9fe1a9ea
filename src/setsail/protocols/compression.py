"""Content codings of request bodies: gzip and deflate (RFC 9110 §8.4.1), inflated up to a limit and no further."""

from __future__ import annotations

import zlib
from typing import Final

from setsail.errors import SetsailError

__all__ = ["CODINGS", "decompress"]

CODINGS: Final = ("gzip", "deflate")
_EITHER_HEADER: Final = zlib.MAX_WBITS | 32  # zlib detects gzip's and its own header


def decompress(body: bytes, coding: str, limit: int) -> bytes:
    """Undo a `Content-Encoding`.

    Args:
        coding: the header's value; empty or `identity` leaves the body as it is.
        limit: most bytes the result may have; no more than that is ever allocated.

    Raises:
        SetsailError: `request.encoding`, `request.compressed` or `request.too_large`.
    """
    name = coding.strip().lower().removeprefix("x-")
    if name in ("", "identity"):
        return body
    if name not in CODINGS:
        raise SetsailError(
            "request.encoding", "the body's content encoding is not one we decode", field="content-encoding",
            value=coding, expected=" or ".join(CODINGS), accept_encoding=", ".join(CODINGS),
        )  # fmt: skip
    parts: list[bytes] = []
    left, rest = limit, body
    while rest:  # gzip may have several members, one after another
        inflater = zlib.decompressobj(_EITHER_HEADER)
        try:
            part = inflater.decompress(rest, left + 1)
        except zlib.error as fault:
            raise _damaged(name, str(fault)) from fault
        if len(part) > left:
            raise SetsailError(
                "request.too_large", "the body inflates past the limit", field="body", expected=f"at most {limit} bytes"
            )
        if not inflater.eof:
            raise _damaged(name, "it ends too early")
        parts.append(part)
        left, rest = left - len(part), inflater.unused_data
    return b"".join(parts)


def _damaged(name: str, reason: str) -> SetsailError:
    return SetsailError("request.compressed", f"the body is not whole {name}: {reason}", field="body")
