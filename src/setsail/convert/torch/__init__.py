"""PyTorch: live modules, exported programs, TorchScript, weights with a factory.

`setsail.convert.torch:convert` takes a live `torch.nn.Module`. Files go to `pt2`, `torchscript`, `factory` and
`pickled`, each with `convert(path, intent)`. Torch is imported only when one of them is called.
"""

from __future__ import annotations

import importlib
from typing import Any

from setsail.convert.conversion import Conversion, Intent

__all__ = ["convert"]


def convert(module: Any, intent: Intent) -> Conversion:
    """Convert a live module; see `live.convert`."""
    converted: Conversion = importlib.import_module("setsail.convert.torch.live").convert(module, intent)
    return converted
