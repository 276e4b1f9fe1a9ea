"""A live `torch.nn.Module`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

import torch

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.torch import torchscript
from setsail.convert.torch.assembly import (
    Exporter,
    Model,
    assemble,
    device_of,
    dtype_of_parameters,
    evaluating,
    refuse_llm,
)
from setsail.convert.torch.exporting import export
from setsail.convert.torch.naming import arguments, forward_names
from setsail.convert.torch.quantised import export_in_the_open, is_dynamic
from setsail.convert.torch.static import has_static

__all__ = ["convert"]

_RANGES: Final = "rows are asked one at a time: the quantised layers take their range from all rows of a call"


def convert(module: Any, intent: Intent) -> Conversion:
    """Convert a module. It is put in eval mode for that and left as it was.

    Raises:
        SetsailError: `convert.example`, `convert.input`, `convert.run`, `convert.unsupported`, `source.llm`.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return torchscript.convert_module(module, intent)
    if isinstance(module, torch.nn.DataParallel):
        module = module.module
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    refuse_llm(type(module).__name__)
    names, required = forward_names(module.forward)
    with evaluating(module):
        known = arguments(names, required, intent, dtype_of_parameters(module))
        model = Model(module, device_of(module), keywords=bool(names))
        told: list[str] = []
        exporter: Exporter = partial(export, module, keywords=bool(names))
        if is_dynamic(module) or has_static(module):
            exporter = partial(export_in_the_open, module, bool(names), told)
        converted = assemble(model, known, exporter, intent, type(module).__name__,
                             alone=_RANGES if is_dynamic(module) else "")  # fmt: skip
    return replace(converted, notes=(*converted.notes, *dict.fromkeys(told)))
