"""`ObjectDetector`: boxes of what is in an image. The model answers as torchvision's detectors do."""

from __future__ import annotations

import importlib
from typing import Any

from .vision_handler import VisionHandler

__all__ = ["ObjectDetector"]


class ObjectDetector(VisionHandler):
    threshold = 0.5

    def image_processing(self, image: Any) -> Any:
        numpy, torch = importlib.import_module("numpy"), importlib.import_module("torch")
        pixels = numpy.asarray(image.convert("RGB"), dtype=numpy.float32) / 255
        return torch.from_numpy(numpy.ascontiguousarray(pixels.transpose(2, 0, 1)))

    def postprocess(self, data: Any) -> Any:
        """Of each image what scores above `threshold`: a list of `{name: box, "score": score}`."""
        answers = []
        for found in data:
            rows = zip(found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True)
            names = self.mapping or {}
            kept = [(b, names.get(str(c), str(c)), s) for b, c, s in rows if s >= self.threshold]
            answers.append([{name: box, "score": score} for box, name, score in kept])
        return answers
