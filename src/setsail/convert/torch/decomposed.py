"""Exported programs that were quantised: `convert_pt2e` of torchao, and of PyTorch before it.

Such a program computes in floats, between `quantized_decomposed` operators that round them to a grid. No translator
knows these; PyTorch defines each by plain functions of tensors, which are followed instead.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Decomposed", "is_decomposed", "register"]

_SPACE: Final = "quantized_decomposed"
_DEFINITIONS: Final = "torch.ao.quantization.fx._decomposed"


def register() -> None:
    """Have the operators known, so that a file which names them can be loaded."""
    import_module(_DEFINITIONS)


def is_decomposed(module: Any) -> bool:
    """Whether a graph rounds by these operators."""
    return any(_name(node.target) for node in module.graph.nodes)


def _name(function: Any) -> str:
    """The operator's name; "" for any other function."""
    schema = getattr(function, "_schema", None)
    space, _, name = str(getattr(schema, "name", "")).partition("::")
    return name if space == _SPACE else ""


class _Following(TorchFunctionMode):  # type: ignore[misc]  # torch is not typed here
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _name(func)
        return (getattr(import_module(_DEFINITIONS), name) if name else func)(*args, **(kwargs or {}))


class Decomposed(torch.nn.Module):  # type: ignore[misc]
    """A program with these operators replaced by what they are defined as."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any) -> Any:
        with _Following():
            return self.module(*args)
