"""`ImageClassifier`: the most probable classes of an image, by name."""

from __future__ import annotations

import importlib
from typing import Any

from ..utils.util import map_class_to_label
from .vision_handler import VisionHandler

__all__ = ["ImageClassifier"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SHORTEST, _SIDE = 256, 224


class ImageClassifier(VisionHandler):
    """ImageNet's preparation: shortest side 256, the middle 224 by 224, mean and standard deviation."""

    topk = 5

    def image_processing(self, image: Any) -> Any:
        numpy, torch = importlib.import_module("numpy"), importlib.import_module("torch")
        image = image.convert("RGB")
        width, height = image.size
        short, long = min(width, height), max(width, height)
        size = (_SHORTEST, int(_SHORTEST * long / short))
        image = image.resize(size if width <= height else size[::-1], resample=2)  # bilinear, as torchvision resizes
        width, height = image.size
        top, left = round((height - _SIDE) / 2), round((width - _SIDE) / 2)
        image = image.crop((left, top, left + _SIDE, top + _SIDE))
        pixels = numpy.asarray(image, dtype=numpy.float32) / 255
        scaled = (pixels - numpy.float32(_MEAN)) / numpy.float32(_STD)
        return torch.from_numpy(numpy.ascontiguousarray(scaled.transpose(2, 0, 1)))

    def set_max_result_classes(self, topk: int) -> None:
        self.topk = topk

    def get_max_result_classes(self) -> int:
        return self.topk

    def postprocess(self, data: Any) -> Any:
        torch = importlib.import_module("torch")
        scores = torch.nn.functional.softmax(torch.as_tensor(data), dim=1)
        probabilities, classes = torch.topk(scores, min(self.topk, scores.shape[1]), dim=1)
        return map_class_to_label(probabilities.tolist(), self.mapping, classes.tolist())
