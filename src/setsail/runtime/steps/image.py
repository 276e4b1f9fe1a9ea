"""Steps on decoded images: `[N]` arrays of `[height, width, channels]`, of uint8 until they are scaled.

Arithmetic and rounding are those of Hugging Face's image processors on Pillow, which torchvision's crops are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from setsail.errors import SetsailError
from setsail.runtime.steps import Apply, Files, UnfitError, column, each_input, misused
from setsail.tensors import Array

__all__ = ["PIXELS", "bounded", "crop", "each", "scale", "stack"]

PIXELS: Final = 32_000_000  # of one image, unless its step says otherwise: 96 MB as colours, more than cameras give


def crop(options: Mapping[str, Any], _: Files) -> Apply:
    """The middle, `height` by `width`; an image that is smaller gets zeros around it first.

    Where an odd number of lines is too many, or is missing, one more is cut off after the image, or added before it, as
    in transformers. With `middle` "even" the first line kept is the one of even number, and one more is added after it,
    as in torchvision.
    """
    height, width, even = options["height"], options["width"], options.get("middle") == "even"
    bounded("image.crop", height * width)

    def one(image: Array, _: int) -> Array:
        rows, across = _centred(image.shape[0], height, even), _centred(image.shape[1], width, even)
        cut = image[rows.source, across.source]
        if cut.shape[:2] == (height, width):
            return cut
        made = np.zeros((height, width, image.shape[2]), dtype=image.dtype)
        made[rows.target, across.target] = cut
        return made

    return each(one)


def scale(options: Mapping[str, Any], _: Files) -> Apply:
    """value * factor as doubles, rounded to float32; then minus the mean, then divided by std, each as float32."""
    factor = options.get("factor")
    mean, std = (np.asarray(options[n], dtype=np.float32) if n in options else None for n in ("mean", "std"))

    def scaled(values: Array) -> Array:
        done = values.astype(np.float32) if factor is None else (values.astype(np.float64) * factor).astype(np.float32)
        done = done if mean is None else done - mean
        return done if std is None else done / std

    channels = max((len(part) for part in (mean, std) if part is not None), default=1)
    with np.errstate(all="ignore"):
        table = scaled(np.arange(256, dtype=np.uint8)[:, None]).reshape(256, -1)  # of every value a pixel may have

    def one(image: Array, _: int) -> Array:
        if channels not in (1, image.shape[2]):
            raise misused("step 'image.scale' has not a mean and std for every channel", channels, str(image.shape[2]))
        if image.dtype != np.uint8:
            return scaled(image)
        made = np.empty(image.shape, dtype=np.float32)
        for channel in range(image.shape[2]):
            made[..., channel] = table[:, channel % table.shape[1]][image[..., channel]]
        return made

    return each(one)


def stack(options: Mapping[str, Any], _: Files) -> Apply:
    """Images of one size as a tensor: `[N, channels, height, width]`, or channels last, or left out where it is one."""
    layout, dtype = options["layout"], options.get("dtype")

    def one(images: Array) -> Array:
        parts = images.tolist()
        for row, image in enumerate(parts):
            if image.shape != parts[0].shape:
                raise UnfitError(
                    "input.media", row, "has another size than row 0", value=f"{image.shape[1]}x{image.shape[0]}",
                    expected=f"{parts[0].shape[1]}x{parts[0].shape[0]}",
                )  # fmt: skip
        if layout == "NHW" and parts[0].shape[2] != 1:
            raise misused("step 'image.stack' has no place for channels", parts[0].shape[2], "one: mode L")
        tensor = np.stack([image.transpose(2, 0, 1) for image in parts] if layout == "NCHW" else parts)
        tensor = tensor[..., 0] if layout == "NHW" else tensor
        if dtype == "uint8" and tensor.dtype != np.uint8:
            raise misused("step 'image.stack' cannot make pixels of scaled values", tensor.dtype.name, "uint8")
        return np.ascontiguousarray(tensor, dtype=dtype)

    return each_input(one)


# -- pieces ------------------------------------------------------------------------------------------------------------


class _Window:
    """Which part of an edge is taken, and where it goes."""

    def __init__(self, start: int, end: int, size: int) -> None:
        low, high = max(0, start), min(size, end)
        self.source, self.target = slice(low, high), slice(low - start, high - start)


def _centred(size: int, wanted: int, even: bool) -> _Window:
    """Without `even` an odd rest leaves one more after the image than before it, and more zeros before than after."""
    start = (size - wanted) // 2
    if even:
        start = round((size - wanted) / 2) if size > wanted else -((wanted - size) // 2)
    return _Window(start, start + wanted, size)


def bounded(kind: str, pixels: int) -> None:
    if pixels > PIXELS:
        raise SetsailError("model.failed", f"step {kind!r} makes images that are too large", field="steps",
                           value=pixels, expected=f"at most {PIXELS} pixels")  # fmt: skip


def each(one: Callable[[Array, int], Array]) -> Apply:
    return each_input(lambda images: column([one(image, row) for row, image in enumerate(images.tolist())]))
