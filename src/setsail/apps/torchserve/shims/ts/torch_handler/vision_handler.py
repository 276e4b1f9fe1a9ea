"""`VisionHandler`: images in. `image_processing` makes a tensor of one Pillow image; torchvision's transforms do."""

from __future__ import annotations

import base64
import importlib
import io
from abc import ABC
from typing import Any

from .base_handler import BaseHandler

__all__ = ["VisionHandler"]


class VisionHandler(BaseHandler, ABC):
    """Derive from it and set `image_processing`."""

    image_processing: Any = None

    def preprocess(self, data: Any) -> Any:
        """A batch of images: files as bytes or in base64, or nested lists of numbers."""
        torch, pillow = importlib.import_module("torch"), importlib.import_module("PIL.Image")
        images = []
        for row in data:
            image = row.get("data") or row.get("body")
            if isinstance(image, str):
                image = base64.b64decode(image)
            if isinstance(image, bytearray | bytes):
                image = self.image_processing(pillow.open(io.BytesIO(image)))
            else:
                image = torch.FloatTensor(image)
            images.append(image)
        return torch.stack(images).to(self.device)
