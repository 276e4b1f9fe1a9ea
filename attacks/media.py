"""Hostile pictures and texts: what a client may send to a model whose steps open it. The table is in README.md."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image

__all__ = ["PICTURES", "TEXTS"]


def picture(form: str, size: tuple[int, int] = (24, 16), **more: Any) -> bytes:
    out = BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(out, form, **more)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *before: bytes, depth: int = 1, colour: int = 0) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


@cache
def bomb() -> bytes:
    """Fifty kilobytes that are four hundred million pixels, all of them there."""
    return png(20_000, 20_000, bytes((20_000 // 8 + 1) * 20_000))


@cache
def text_bomb() -> bytes:
    """Pixels are few; a comment of kilobytes unpacks to a hundred megabytes."""
    return png(4, 4, bytes(8), chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100 << 20))))


@cache
def profile_bomb() -> bytes:
    return png(4, 4, bytes(8), chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(100 << 20))))


def scans() -> bytes:
    """A progressive JPEG of a million pixels whose last scan comes ten thousand times: each is a walk over them all."""
    out = BytesIO()
    Image.new("RGB", (1000, 1000)).save(out, "JPEG", progressive=True)
    raw = out.getvalue()
    return raw[:-2] + raw[raw.rindex(b"\xff\xda") : -2] * 10_000 + b"\xff\xd9"


def huge_frame() -> bytes:
    """A GIF of 16x16 whose first picture claims 65535x65535."""
    raw = bytearray(picture("GIF", (16, 16)))
    at = raw.index(b"\x2c")
    while raw[at + 5 : at + 9] != struct.pack("<HH", 16, 16):
        at = raw.index(b"\x2c", at + 1)
    raw[at + 5 : at + 9] = b"\xff" * 4
    return bytes(raw)


def huge_jpeg() -> bytes:
    raw = bytearray(picture("JPEG"))
    at = raw.index(b"\xff\xc0")
    raw[at + 5 : at + 9] = b"\xff" * 4
    return bytes(raw)


def huge_bmp() -> bytes:
    raw = bytearray(picture("BMP"))
    raw[18:26] = struct.pack("<ii", 100_000, -100_000)
    return bytes(raw)


def huge_webp() -> bytes:
    raw = bytearray(picture("WEBP", save_all=True, append_images=[Image.new("RGB", (24, 16))]))
    raw[24:30] = b"\xfe\x3f\x00" * 2
    return bytes(raw)


class Canary:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def postscript(canary: Path) -> bytes:
    """What Ghostscript would do with a picture that is a program."""
    return f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({canary}) (w) file closefile showpage\n".encode()


def svg(canary: Path) -> bytes:
    return (
        f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file://{canary}">]>'
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{canary}"/><text>&x;</text>'
        f"<script>open('{canary}')</script></svg>"
    ).encode()


Make = Callable[[Path], bytes]
PICTURES: Final[Mapping[str, Make]] = {
    "pixels by the hundred million, all there": lambda _: bomb(),
    "a PNG header of four billion pixels a side": lambda _: png(0xFFFFFFFF, 0xFFFFFFFF, b""),
    "a JPEG of 65535x65535": lambda _: huge_jpeg(),
    "a BMP upside down, 100,000 a side": lambda _: huge_bmp(),
    "a WebP canvas of 16383x16383": lambda _: huge_webp(),
    "a GIF frame larger than its screen": lambda _: huge_frame(),
    "a comment that unpacks to 100 MB": lambda _: text_bomb(),
    "a profile that unpacks to 100 MB": lambda _: profile_bomb(),
    "ten thousand scans": lambda _: scans(),
    "a PNG without pixels": lambda _: png(0, 0, b""),
    "a PNG whose pixels are not packed": lambda _: png(4, 4, b"")[:-24] + chunk(b"IDAT", b"\xff" * 20),
    "half a JPEG": lambda _: picture("JPEG")[:300],
    "half a GIF": lambda _: picture("GIF")[:200],
    "half a WebP": lambda _: picture("WEBP")[:60],
    "nothing": lambda _: b"",
    "a text": lambda _: b"meow",
    "base64 twice": lambda _: b"iVBORw0KGgoAAAANSUhEUg==",
    "an SVG file with a script and an entity": svg,
    "PostScript": postscript,
    "an icon with a PNG in it": lambda _: picture("ICO"),
    "a TIFF file": lambda _: picture("TIFF"),
    "a pickle": lambda canary: pickle.dumps(Canary(canary)),
    "an archive": lambda _: b"PK\x03\x04" + bytes(40),
    "a sound": lambda _: b"RIFF\x24\0\0\0WAVEfmt " + bytes(20),
}

TEXTS: Final[Mapping[str, str]] = {
    "a megabyte": "cat " * 250_000,
    "one word of a megabyte": "a" * 1_000_000,
    "signs that are a word each": "猫" * 200_000,
    "half a surrogate": "\ud800",
}
