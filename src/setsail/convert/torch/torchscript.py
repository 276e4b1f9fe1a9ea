"""TorchScript, scripted or traced: a `.pt` file, or a live `ScriptModule`.

Loading TorchScript runs its code, so a file is loaded only in a child process and with `--trust torchscript`.
Torch's newer exporter does not read TorchScript; the older one does, at opset 17.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.torch.assembly import Exporter, Model, assemble, device_of, dtype_of_parameters
from setsail.convert.torch.exporting import quiet, script
from setsail.convert.torch.labels import with_labels_beside
from setsail.convert.torch.naming import arguments
from setsail.convert.torch.quantised import export_in_the_open
from setsail.convert.torch.unscripted import unscripted
from setsail.errors import SetsailError

__all__ = ["convert", "convert_module"]


def convert(path: Path, intent: Intent) -> Conversion:
    """Load and convert a TorchScript file; its inputs come from the example or `--input`.

    Raises:
        SetsailError: `source.load`, and what `convert_module` raises.
    """
    with quiet():
        try:
            module = torch.jit.load(str(path), map_location="cpu")
        except (RuntimeError, ValueError) as fault:
            raise SetsailError("source.load", f"torch cannot load the TorchScript file {path.name!r}",
                               value=str(fault).strip().splitlines()[-1]) from fault  # fmt: skip
    return with_labels_beside(path, intent, partial(convert_module, module))


def convert_module(module: Any, intent: Intent) -> Conversion:
    """Convert a live ScriptModule; every submodule is back in its mode afterwards.

    Raises:
        SetsailError: `convert.example`, `convert.input`, `convert.run`, `convert.unsupported`.
    """
    taken = module.forward.schema.arguments[1:]
    names = tuple(a.name for a in taken)
    required = sum(not a.has_default_value() for a in taken)
    known = arguments(names, required, intent, dtype_of_parameters(module))
    modes = [(inner, inner.training) for inner in module.modules() if hasattr(inner, "training")]
    module.eval()
    try:
        model = Model(module, device_of(module), keywords=False)
        name = getattr(module, "original_name", "ScriptModule")
        with quiet():
            graph = unscripted(module)
        told: list[str] = []
        exporter: Exporter = partial(script, module)
        if graph is not None:
            exporter = partial(export_in_the_open, graph, False, told)
        converted = assemble(model, known, exporter, intent, name)
        return replace(converted, notes=(*converted.notes, *dict.fromkeys(told)))
    finally:
        for inner, mode in modes:
            inner.train(mode)
