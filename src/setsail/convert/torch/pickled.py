"""A whole module saved by `torch.save(module)`: a pickle, loaded in a child process behind `--trust pickle`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.torch.exporting import quiet
from setsail.convert.torch.labels import with_labels_beside
from setsail.convert.torch.live import convert as convert_live
from setsail.errors import SetsailError

__all__ = ["convert"]


def convert(path: Path, intent: Intent) -> Conversion:
    """Unpickle and convert a module.

    Raises:
        SetsailError: `source.load`, `convert.example` for weights without a module, and what converting a live module
            raises.
    """
    with quiet():
        try:
            module = torch.load(str(path), map_location="cpu", weights_only=False)
        except Exception as fault:  # a pickle raises anything
            raise SetsailError(
                "source.load",
                f"torch cannot load {path.name!r}: {type(fault).__name__}",
                value=str(fault).strip().partition("\n")[0],
                expected="a module whose class can be imported here",
                todo="make its code importable, or use --factory with its weights",
            ) from fault
    if isinstance(module, Mapping):
        raise SetsailError("convert.example", f"{path.name} holds weights without the module they belong to",
                           field="--factory", expected="--factory pkg.mod:fn, a function that returns the module",
                           todo="pass --factory, or save the module with torch.export.save")  # fmt: skip
    if not isinstance(module, torch.nn.Module):
        raise SetsailError("source.load", f"{path.name} holds no module", value=type(module).__name__,
                           expected="a torch.nn.Module")  # fmt: skip
    return with_labels_beside(path, intent, partial(convert_live, module))
