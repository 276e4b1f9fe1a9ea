"""What is live: a pipeline of transformers, or a bare model."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.torch import convert as convert_module
from setsail.convert.torch.exporting import quiet
from setsail.convert.transformers import images
from setsail.convert.transformers.heads import task_of
from setsail.convert.transformers.loading import Parts, of_texts
from setsail.convert.transformers.model import assemble
from setsail.errors import SetsailError

__all__ = ["convert"]


def convert(model: Any, intent: Intent) -> Conversion:
    """Convert a pipeline with its tokenizer or image processor; a bare model goes like any PyTorch module.

    Raises:
        SetsailError: `convert.unsupported` for a pipeline of another task or what is neither, by name; what converting
            a directory or a module raises.
    """
    if isinstance(model, transformers.PreTrainedModel):
        return convert_module(model, intent)
    if not isinstance(model, transformers.Pipeline):
        raise SetsailError("convert.unsupported", f"{type(model).__name__} is no model", value=type(model).__name__,
                           expected="a Pipeline, or a PreTrainedModel",
                           todo="save_pretrained the model and its tokenizer, and pack the directory",
        )  # fmt: skip
    inner = model.model
    task = task_of(type(inner).__name__)
    first = next(inner.parameters())
    if first.dtype != torch.float32 or first.device.type != "cpu":
        raise SetsailError("convert.unsupported", "the pipeline's model is not of float32 on the CPU",
                           value=f"{first.dtype}, {first.device}", expected="torch.float32, cpu",
                           todo="call pipeline.model.float().cpu()")  # fmt: skip
    with quiet():
        if inner.main_input_name == "pixel_values":
            channels = int(getattr(inner.config, "num_channels", 3))
            parts = Parts(inner, task, images.pictures(model.image_processor, channels))
        else:
            parts = Parts(inner, task, of_texts(model.tokenizer, inner, None))
        return assemble(parts, intent)
