"""The steps that Pillow does: from a file's bytes to pixels, and from one size to another.

The formats are a closed list, known by their first bytes and opened by their own reader: Pillow's `Image.open` would
try all it has, and some of those start programs. How many pixels there are is known from the header, before memory
is taken for them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from importlib import import_module
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import Image

from setsail.errors import SetsailError
from setsail.runtime.steps import Apply, Files, UnfitError, misused
from setsail.runtime.steps.image import PIXELS, bounded, each
from setsail.tensors import Array

__all__ = ["FORMATS", "decode", "resize"]

# first bytes -> name, "module:class" of its reader
_STARTS: Final[Mapping[bytes, tuple[str, str]]] = {
    b"\x89PNG\r\n\x1a\n": ("PNG", "PIL.PngImagePlugin:PngImageFile"),
    b"\xff\xd8\xff": ("JPEG", "PIL.JpegImagePlugin:JpegImageFile"),
    b"GIF87a": ("GIF", "PIL.GifImagePlugin:GifImageFile"),
    b"GIF89a": ("GIF", "PIL.GifImagePlugin:GifImageFile"),
    b"BM": ("BMP", "PIL.BmpImagePlugin:BmpImageFile"),
    b"RIFF": ("WebP", "PIL.WebPImagePlugin:WebPImageFile"),
}
FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "WebP")
_READ: Final = "a " + ", ".join(FORMATS[:-1]) + f" or {FORMATS[-1]} file"
# What has eight bits a channel. Of others (16 bits of grey) Pillow would cut off what is above 255.
_MODES: Final = frozenset(("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB"))
_SCAN: Final = b"\xff\xda"
_SCANS: Final = 40  # of a JPEG file, which have ten or so: fifty bytes more are a walk over all pixels more
_ORIENTATION: Final = 0x0112  # of EXIF
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_FILTERS: Final = {name: Image.Resampling[name.upper()] for name in
                   ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")}  # fmt: skip


def decode(options: Mapping[str, Any], _: Files) -> Apply:
    """A file's first picture as `[height, width, channels]` of uint8, three channels or one.

    Grey is Pillow's (ITU-R 601-2). What is transparent shows the colour that lies below, or white with `alpha`.
    """
    mode, limit = options["mode"], options.get("max_pixels", PIXELS)
    rotate, white = options.get("rotate", False), options.get("alpha", "drop") == "white"

    def one(raw: Any, row: int) -> Array:
        name, image = _opened(raw, row, limit)
        width, height = image.size
        if width * height > limit:
            raise _large(row, width, height, limit)
        if image.mode not in _MODES:
            raise UnfitError("input.media", row, "has pixels of more than 8 bits", value=image.mode,
                             expected="8 bits a channel")  # fmt: skip
        try:
            image.load()
            turned = _upright(image) if rotate else image
            return np.asarray(_plain(turned, mode, white)).reshape(turned.height, turned.width, len(mode))
        except MemoryError:
            raise
        except Exception as fault:  # whatever a reader trips over
            raise UnfitError("input.media", row, f"is a damaged {name} file ({_said(fault)})") from fault

    return each(one)


def resize(options: Mapping[str, Any], _: Files) -> Apply:
    """Resample to `height` and `width`, or to the length of an edge, keeping the aspect ratio (`target`)."""
    filters, size = _FILTERS[options["resample"]], _sized(options)

    def one(image: Array, row: int) -> Array:
        if image.dtype != np.uint8:
            raise misused("step 'image.resize' takes images before they are scaled", image.dtype.name, "uint8")
        height, width = size(*image.shape[:2])
        if height * width > PIXELS:
            raise UnfitError(
                "input.media", row, "is too long and narrow", value=f"{image.shape[1]}x{image.shape[0]}",
                expected=f"at most {PIXELS} pixels after resizing, not {width}x{height}",
            )  # fmt: skip
        plain = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        return np.asarray(plain.resize((width, height), filters)).reshape(height, width, image.shape[2])

    return each(one)


# -- reading a file ----------------------------------------------------------------------------------------------------


def _opened(raw: Any, row: int, limit: int) -> tuple[str, Image.Image]:
    start = next((s for s in _STARTS if isinstance(raw, bytes) and raw.startswith(s)), None)
    if start is None or (start == b"RIFF" and raw[8:12] != b"WEBP"):
        raise UnfitError("input.media", row, "is no image that is read here", value=_beginning(raw), expected=_READ)
    name, reader = _STARTS[start]
    if name == "WebP":  # its reader takes the memory when it opens the file
        width, height = _webp_size(raw)
        if width * height > limit:
            raise _large(row, width, height, limit)
    if name == "JPEG" and raw.count(_SCAN) > _SCANS:
        raise UnfitError("input.media", row, "has too many scans", value=raw.count(_SCAN), expected=f"at most {_SCANS}")
    module, _, kind = reader.partition(":")
    try:
        image: Image.Image = getattr(import_module(module), kind)(BytesIO(raw))
    except MemoryError:
        raise
    except Exception as fault:
        raise UnfitError("input.media", row, f"is a damaged {name} file ({_said(fault)})") from fault
    return name, image


def _large(row: int, width: int, height: int, limit: int) -> UnfitError:
    return UnfitError("input.media", row, "has too many pixels", value=f"{width}x{height}",
                      expected=f"at most {limit} pixels", todo="send a smaller image")  # fmt: skip


def _webp_size(raw: bytes) -> tuple[int, int]:
    """Width and height out of the first chunk's header; nothing of what is not there, which the reader refuses."""
    kind, body = raw[12:16], raw[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits: int = struct.unpack_from("<I", body, 1)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF data says; what cannot be read there says nothing."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _plain(image: Image.Image, mode: str, white: bool) -> Image.Image:
    if white and image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, image).convert(mode)
    image.info.pop("transparency", None)  # a palette's: it has no place in what is made, and Pillow would warn
    return image if image.mode == mode else image.convert(mode)


def _said(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"[:80] if str(fault) else type(fault).__name__


def _beginning(raw: Any) -> Any:
    return raw[:16] if isinstance(raw, bytes) else raw


# -- sizes -------------------------------------------------------------------------------------------------------------


def _sized(options: Mapping[str, Any]) -> Callable[[int, int], tuple[int, int]]:
    """From an image's height and width to those it gets.

    `shortest` alone: that edge, and int(shortest * long / short). `longest` alone: the same the other way round.
    Both: by the shortest, unless the other edge would be longer than `longest`; then the shortest is
    round(longest * short / long), which the other follows before rounding.
    """
    given = {name for name in ("height", "width", "shortest", "longest") if name in options}
    if given == {"height", "width"}:
        bounded("image.resize", options["height"] * options["width"])
        return lambda *_: (options["height"], options["width"])
    if given == {"shortest"}:
        return lambda *size: _short(size, options["shortest"])
    if given == {"longest"}:
        return lambda *size: _long(size, options["longest"])
    if given == {"shortest", "longest"}:
        return lambda *size: _within(size, options["shortest"], options["longest"])
    raise SetsailError(
        "model.failed", "step 'image.resize' has no size", field="steps", value=sorted(given),
        expected="height and width, or shortest, longest, or both",
    )  # fmt: skip


def _short(size: tuple[int, ...], shortest: int) -> tuple[int, int]:
    height, width = size
    if width <= height:
        return int(shortest * height / width), shortest
    return shortest, int(shortest * width / height)


def _long(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    height, width = size
    if height >= width:
        return longest, max(1, int(longest * width / height))
    return max(1, int(longest * height / width)), longest


def _within(size: tuple[int, ...], shortest: int, longest: int) -> tuple[int, int]:
    height, width = size
    low, high = float(min(size)), float(max(size))
    exact: float = shortest
    if high / low * shortest > longest:
        exact = longest * low / high
        shortest = max(1, round(exact))
    if min(size) == shortest:
        return height, width
    if width < height:
        return int(exact * height / width), shortest
    return shortest, int(exact * width / height)
