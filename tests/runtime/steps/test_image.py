"""Image steps give what Hugging Face's own image processors on Pillow give, to the bit, and nothing else than that."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.runtime.steps import column, prepare
from setsail.steps import Step

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
RNG = np.random.default_rng(3)
SIZES = [(31, 47), (64, 20), (24, 24), (9, 90)]
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def photo(height: int, width: int) -> np.ndarray:
    """Something smooth with noise."""
    down, across = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(down / 7 + c) + np.cos(across / 5 * (c + 1)) for c in range(3)], axis=-1)
    return np.clip(128 + 50 * waves + RNG.normal(0, 12, waves.shape), 0, 255).astype(np.uint8)


PHOTOS = [photo(*size) for size in SIZES]


def png(pixels: np.ndarray) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def run(steps: Sequence[tuple[str, dict[str, Any]]], photos: Sequence[np.ndarray]) -> np.ndarray:
    made = [Step("image.decode", ("photo",), ("image",), {"mode": "RGB"})]
    made += [Step(f"image.{kind}", ("image",), (), options) for kind, options in steps]
    made.append(Step("image.stack", ("image",), ("pixel_values",), {"layout": "NCHW"}))
    apply = prepare(made, {}, {"pixel_values"})
    return apply({"photo": column([png(p) for p in photos])})["pixel_values"]


VIT = [
    ("resize", {"height": 24, "width": 30, "resample": "bilinear"}),
    ("scale", {"factor": 1 / 255, "mean": [0.5] * 3, "std": [0.5] * 3}),
]
CLIP = [
    ("resize", {"shortest": 28, "resample": "bicubic"}),
    ("crop", {"height": 28, "width": 28}),
    ("scale", {"factor": 1 / 255} | IMAGENET),
]
CONVNEXT = [
    ("resize", {"shortest": int(28 / (224 / 256)), "resample": "bicubic"}),
    ("crop", {"height": 28, "width": 28}),
    ("scale", {"factor": 1 / 255} | IMAGENET),
]


def judges() -> dict[str, tuple[Any, list[tuple[str, dict[str, Any]]]]]:
    pytest.importorskip("transformers", reason="needs transformers")
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    told = {"image_mean": IMAGENET["mean"], "image_std": IMAGENET["std"]}
    square = {"height": 28, "width": 28}
    return {
        "ViT": (ViTImageProcessorPil(size={"height": 24, "width": 30}), VIT),
        "CLIP": (CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=square, **told), CLIP),
        "ConvNext": (ConvNextImageProcessorPil(size={"shortest_edge": 28}, **told), CONVNEXT),
    }


@pytest.mark.slow  # importing them is; tests/steps/*.json have what their parts give
@pytest.mark.parametrize("name", ["ViT", "CLIP", "ConvNext"])
def test_as_the_image_processors_of_transformers(name: str) -> None:
    processor, steps = judges()[name]
    expected = np.stack(processor([Image.fromarray(p) for p in PHOTOS])["pixel_values"])
    found = run(steps, PHOTOS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_only_one_decoded_image_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of many large images is what the next step reads of them."""
    monkeypatch.setattr("setsail.runtime.steps._KEPT", 4 * 4 * 3 * 40)
    large = [photo(40, 60)] * 40
    assert run([("resize", {"height": 4, "width": 4, "resample": "box"})], large).shape == (40, 3, 4, 4)
    with pytest.raises(SetsailError) as caught:
        run([], large)
    assert caught.value.code == "input.media"
    assert "fewer rows" in caught.value.message


def test_a_header_that_claims_more_pixels_than_may_be_is_refused_before_they_are_read() -> None:
    bomb = bytearray(png(np.zeros((1, 1, 3), np.uint8)))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = crc32(bomb[12:29]).to_bytes(4, "big")
    decode = prepare([Step("image.decode", ("photo",), (), {"mode": "RGB"})], {})
    with pytest.raises(SetsailError) as caught:
        decode({"photo": column([bytes(bomb)])})
    assert (caught.value.code, caught.value.value) == ("input.media", "'60000x60000'")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("resize", {"resample": "box"}),
        ("resize", {"resample": "box", "height": 4}),
        ("resize", {"resample": "box", "height": 4, "width": 4, "shortest": 4}),
        ("resize", {"resample": "box", "height": 1 << 20, "width": 1 << 20}),
        ("crop", {"height": 1 << 20, "width": 1 << 20}),
    ],
)
def test_options_that_give_no_size_or_a_huge_one_fail_when_the_model_is_loaded(kind: str, options: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        prepare([Step(f"image.{kind}", ("image",), (), options)], {})
    assert caught.value.code == "model.failed"


@pytest.mark.parametrize(
    "steps",
    [
        [("scale", {}), ("resize", {"height": 4, "width": 4, "resample": "box"})],  # out of order
        [("scale", {"mean": [1.0, 2.0]})],  # two means for three channels
    ],
)
def test_steps_that_make_no_sense_are_the_models_fault(steps: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        run(steps, PHOTOS[:1])
    assert caught.value.code == "model.run"


def test_scaled_values_become_no_pixels() -> None:
    steps = [Step("image.scale", ("x",)), Step("image.stack", ("x",), (), {"layout": "NCHW", "dtype": "uint8"})]
    with pytest.raises(SetsailError) as caught:
        prepare(steps, {})({"x": column([PHOTOS[0]])})
    assert caught.value.code == "model.run"
