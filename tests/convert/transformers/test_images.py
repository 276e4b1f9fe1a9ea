"""Image processors as steps: pixel by pixel what transformers itself makes of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
pytest.importorskip("torch")
pytest.importorskip("PIL")

from setsail.convert.transformers import images  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402
from setsail.runtime.steps import prepare  # noqa: E402

PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", {"size": {"height": 30, "width": 20}}),
    "vit without numbers": (
        "ViTImageProcessor",
        {"size": {"height": 9, "width": 9}, "do_normalize": False, "do_rescale": False},
    ),
    "deit": ("DeiTImageProcessor", {"size": {"height": 40, "width": 40}, "crop_size": {"height": 33, "width": 31}}),
    "clip": ("CLIPImageProcessor", {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}),
    "bit": ("BitImageProcessor", {"size": {"shortest_edge": 20}, "crop_size": {"height": 31, "width": 24}}),
    "bounded": (
        "BitImageProcessor",
        {"size": {"shortest_edge": 20, "longest_edge": 26}, "crop_size": {"height": 20, "width": 20}},
    ),
    "crop alone": (
        "ViTImageProcessor",
        {"do_resize": False, "do_center_crop": True, "crop_size": {"height": 21, "width": 40}},
    ),
    "siglip": ("SiglipImageProcessor", {"size": {"height": 24, "width": 24}, "resample": 1}),
    "mobilenet": (
        "MobileNetV2ImageProcessor",
        {"size": {"shortest_edge": 28}, "crop_size": {"height": 24, "width": 24}},
    ),
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 24}, "crop_pct": 0.875}),
    "convnext, large": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "levit": ("LevitImageProcessor", {"size": {"shortest_edge": 21}, "crop_size": {"height": 21, "width": 21}}),
    "odd numbers": (
        "ViTImageProcessor",
        {
            "size": {"height": 16, "width": 16},
            "rescale_factor": 1 / 127.5,
            "image_mean": [0.1, 0.2, 0.3],
            "image_std": [0.5, 2.0, 0.25],
        },
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_steps_make_the_pixels_of_transformers(name: str) -> None:
    kind, options = PROCESSORS[name]
    processor = getattr(transformers, f"{kind}Pil")(**options)
    found = images.pictures(processor, 3)
    files = images.drawn(18, 30, seed=1)
    ours = prepare(found.steps(["image"]), {})({"image": files})["pixel_values"]
    theirs = found.encode(files.tolist())["pixel_values"].numpy()
    assert theirs.std() > 0.05
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * max(1, abs(theirs).max()))


def test_a_model_of_one_channel_takes_grey_pictures() -> None:
    processor = transformers.ViTImageProcessorPil(size={"height": 12, "width": 12}, image_mean=[0.5], image_std=[0.25])
    found = images.pictures(processor, 1)
    files = images.drawn(6, 16, seed=2)
    ours = prepare(found.steps(["image"]), {})({"image": files})["pixel_values"]
    assert ours.shape == (6, 1, 12, 12)
    np.testing.assert_allclose(ours, found.encode(files.tolist())["pixel_values"].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("processor", "channels", "field"),
    [(lambda: transformers.SegformerImageProcessorPil(), 3, "image_processor_type"),
     (lambda: transformers.ViTImageProcessorPil(size={"height": 8, "width": 8}), 4, "num_channels"),
     (lambda: transformers.ViTImageProcessorPil(size={"shortest_edge": 8}), 3, "size"),
     (lambda: transformers.ViTImageProcessorPil(do_resize=False), 3, "size"),
     (lambda: transformers.ViTImageProcessorPil(do_pad=True), 3, "do_pad"),
     (lambda: transformers.ViTImageProcessorPil(image_mean=[0.5]), 3, "image_mean")],
)  # fmt: skip
def test_what_no_step_does_exactly_is_refused(processor: Any, channels: int, field: str) -> None:
    with pytest.raises(SetsailError) as caught:
        images.pictures(processor(), channels)
    assert (caught.value.code, caught.value.field) == ("convert.unsupported", field)
