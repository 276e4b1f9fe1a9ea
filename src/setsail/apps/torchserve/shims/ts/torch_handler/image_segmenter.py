"""`ImageSegmenter`: the class of every pixel, and how probable it is. The model answers as torchvision's do."""

from __future__ import annotations

import importlib
from typing import Any

from .image_classifier import ImageClassifier
from .vision_handler import VisionHandler

__all__ = ["ImageSegmenter"]


class ImageSegmenter(VisionHandler):
    def image_processing(self, image: Any) -> Any:
        return ImageClassifier.image_processing(self, image)  # type: ignore[arg-type]  # it asks nothing of self

    def postprocess(self, data: Any) -> Any:
        torch = importlib.import_module("torch")
        scores = torch.nn.functional.softmax(data["out"], dim=1)
        probability, number = torch.max(scores, dim=1)
        return torch.stack([number.type(probability.dtype), probability], dim=3).tolist()
