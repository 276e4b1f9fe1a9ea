"""An image processor of transformers as steps, and pictures to try it with.

Processors are known by the name of their class, for what one does stands in its code and not in its settings. Those
here resample as Pillow does; transformers' other backend (torchvision) rounds differently and is not used, so that
the source's own answers on the probes come from the same arithmetic.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageOps

from setsail.errors import SetsailError
from setsail.steps import Step
from setsail.tensors import Array

__all__ = ["Pictures", "drawn", "pictures"]

_RESAMPLE: Final = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers, from 0
_ODD: Final = ("do_pad", "do_flip_channel_order", "do_split_image", "do_image_splitting", "do_thumbnail")

# options of image.resize and image.crop, or None, for a processor that resizes
Sizes = Callable[[Any], tuple[dict[str, int], dict[str, int] | None]]


def _plain(processor: Any) -> tuple[dict[str, int], None]:
    """`size` as it stands: height and width, or the shortest edge and perhaps a bound for the other."""
    given = {name: int(value) for name, value in _sizes(processor.size).items()}
    if set(given) == {"height", "width"}:
        return given, None
    if "shortest_edge" in given and set(given) <= {"shortest_edge", "longest_edge"}:
        return {name.removesuffix("_edge"): value for name, value in given.items()}, None
    raise _unknown("size", processor.size, "height and width, or shortest_edge")


def _convnext(processor: Any) -> tuple[dict[str, int], dict[str, int] | None]:
    """Below 384 the shortest edge becomes size / crop_pct, and the middle is taken; else the picture is warped."""
    edge = int(_sizes(processor.size)["shortest_edge"])
    square = {"height": edge, "width": edge}
    return ({"shortest": int(edge / processor.crop_pct)}, square) if edge < 384 else (square, None)


def _levit(processor: Any) -> tuple[dict[str, int], dict[str, int] | None]:
    given = _sizes(processor.size)
    return (
        ({"shortest": int((256 / 224) * given["shortest_edge"])}, None)
        if "shortest_edge" in given
        else _plain(processor)
    )


# Class of a processor, without the endings of its backends -> how it resizes.
_KNOWN: Final[Mapping[str, Sizes]] = {
    "ViTImageProcessor": _plain, "DeiTImageProcessor": _plain, "CLIPImageProcessor": _plain,
    "BitImageProcessor": _plain, "SiglipImageProcessor": _plain, "BeitImageProcessor": _plain,
    "MobileNetV1ImageProcessor": _plain, "MobileNetV2ImageProcessor": _plain,
    "ConvNextImageProcessor": _convnext, "LevitImageProcessor": _levit,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pictures:
    """The image processor of a model.

    Attributes:
        own: transformers' processor, which the source's answers come from.
        mode: `RGB`, or `L` for a model of one channel.
        around: the steps before the last, which makes the tensor `pixel_values`.
    """

    own: Any
    mode: str
    around: tuple[Step, ...]

    def encode(self, files: Sequence[bytes]) -> dict[str, torch.Tensor]:
        """As transformers' pipeline does it: turned upright, transparency dropped, then its processor."""
        opened = [ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert(self.mode) for file in files]
        return {"pixel_values": self.own(opened, return_tensors="pt")["pixel_values"].float()}

    def steps(self, inputs: Sequence[str]) -> tuple[Step, ...]:
        stack = Step("image.stack", tuple(inputs), ("pixel_values",), {"layout": "NCHW", "dtype": "float32"})
        return (*self.around, stack)

    def note(self) -> str:
        done = " → ".join([step.kind.removeprefix("image.") for step in self.around] + ["stack"])
        return f"pictures go through {done}, as {_name(self.own)} does on Pillow"


def pictures(processor: Any, channels: int, name: str = "image") -> Pictures:
    """A processor's steps on the input `name`.

    Args:
        channels: of the pictures the model takes: 3, or 1.

    Raises:
        SetsailError: `convert.unsupported` for a class that is not known, by name, or settings that are not.
    """
    kind = _name(processor)
    if kind not in _KNOWN:
        raise _unknown("image_processor_type", kind, ", ".join(_KNOWN))
    for option in _ODD:
        if getattr(processor, option, None):
            raise _unknown(option, True, "false")
    if channels not in (1, 3):
        raise _unknown("num_channels", channels, "3, or 1")
    mode = "RGB" if channels == 3 else "L"
    made: list[tuple[str, dict[str, Any]]] = [("image.decode", {"mode": mode, "rotate": True})]
    sized = False
    if processor.do_resize:
        resize, crop = _KNOWN[kind](processor)
        number = int(processor.resample if processor.resample is not None else 2)
        if not 0 <= number < len(_RESAMPLE):
            raise _unknown("resample", number, "a number of Pillow's, 0 to 5")
        made += [("image.resize", {"resample": _RESAMPLE[number], **resize})]
        made += [("image.crop", crop)] if crop else []
        sized = "height" in resize or crop is not None
    if processor.do_center_crop:
        made.append(("image.crop", {k: int(v) for k, v in _sizes(processor.crop_size).items()}))
        sized = True
    if not sized:
        raise SetsailError("convert.unsupported", "the image processor leaves pictures as large as they are",
                           field="size",
                           value=str(processor.size), expected="one size, by do_center_crop or height and width",
                           todo="set do_center_crop and crop_size in preprocessor_config.json")  # fmt: skip
    scale: dict[str, Any] = {"factor": float(processor.rescale_factor)} if processor.do_rescale else {}
    if processor.do_normalize:
        scale |= {name: _channels(getattr(processor, f"image_{name}"), channels) for name in ("mean", "std")}
    made += [("image.scale", scale)] if scale else []
    return Pictures(processor, mode, tuple(Step(step, (name,), (), options) for step, options in made))


def _name(processor: Any) -> str:
    return type(processor).__name__.removesuffix("Pil").removesuffix("Fast")


def _sizes(size: Any) -> dict[str, Any]:
    """transformers' SizeDict has every key, most of them None."""
    return {k: v for k, v in dict(size).items() if v is not None}


def _channels(value: Any, channels: int) -> list[float]:
    values = [float(v) for v in (value if isinstance(value, list | tuple) else [value] * channels)]
    if len(values) != channels:
        raise _unknown("image_mean", values, f"{channels} values")
    return values


def _unknown(field: str, value: Any, expected: str) -> SetsailError:
    return SetsailError("convert.unsupported", "the image processor does what no step of ours does", field=field,
                        value=str(value), expected=expected,
                        todo="export the model to ONNX and send tensors, as this processor makes them")  # fmt: skip


# -- pictures nobody took ----------------------------------------------------------------------------------------------

_MODES: Final = ("RGB", "L", "RGBA", "P", "LA", "1")


def drawn(count: int, size: int, seed: int) -> Array:
    """PNG and JPEG files of several sizes, shapes and modes, around the size the model takes; one of them turned."""
    rng = np.random.default_rng(seed)
    made: Array = np.empty(count, dtype=object)
    edges = (size, size * 2, size // 2 + 1, int(size * 1.3), max(3, size // 5))
    for i in range(count):
        width, height = int(rng.choice(edges)) + i % 2, int(rng.choice(edges)) + i % 3
        made[i] = _file(_waves(width, height, rng), _MODES[i % len(_MODES)], "JPEG" if i % 4 == 3 else "PNG", i)
    return made


def _waves(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """Smooth colours with edges and a little noise: pictures on which filters differ."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    planes = [np.sin((a * x + b * y) * 9 + c) + (x > d) * (y > e) for a, b, c, d, e in rng.random((3, 5)) * 2]
    noise = rng.normal(0, 0.1, (height, width, 3))
    pixels = np.clip((np.stack(planes, -1) + noise + 1) / 3 * 255, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _file(picture: Image.Image, mode: str, kind: str, turn: int) -> bytes:
    if mode in ("RGBA", "LA"):
        alpha = Image.linear_gradient("L").resize(picture.size)
        picture = picture.convert(mode)
        picture.putalpha(alpha)
    picture = picture.convert("RGB") if kind == "JPEG" else picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "JPEG" and turn % 8 == 7 else 1
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, exif=exif)
    return buffer.getvalue()
