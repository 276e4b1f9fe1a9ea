"""Weights with a factory: `--factory pkg.mod:fn` builds the module, a data-only file fills it.

The factory is code of the person's, imported and called in a child process behind `--trust factory`. The weights are
data: safetensors, or a `.pt` state dict read with `weights_only=True`; nothing in them can run.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.torch.exporting import quiet
from setsail.convert.torch.labels import with_labels_beside
from setsail.convert.torch.live import convert as convert_live
from setsail.errors import SetsailError

__all__ = ["build", "convert", "read_weights"]

_SHOWN: Final = 6


def convert(path: Path, intent: Intent) -> Conversion:
    """Convert weights (with `intent.factory`), or a Python file with a factory (with `intent.weights`).

    Raises:
        SetsailError: `convert.example` without a factory, `source.load` where factory or weights fail, and what
            converting a live module raises.
    """
    path, factory = Path(path), intent.factory
    weights: Path | None = path
    if path.suffix == ".py":
        weights = Path(intent.weights) if intent.weights else None
        factory = f"{path}:{factory}" if factory and ":" not in factory else factory
    if not factory:
        raise SetsailError("convert.example", f"{path.name} holds weights without the module they belong to",
                           field="--factory", expected="--factory pkg.mod:fn, a function that returns the module",
                           todo="pass --factory, or save the module with torch.export.save")  # fmt: skip
    module = build(factory)
    if weights is not None:
        _fill(module, read_weights(weights), weights.name)
    bare = replace(intent, factory=None, weights=None)
    return with_labels_beside(path, bare, partial(convert_live, module))


def build(factory: str) -> torch.nn.Module:
    """Call `pkg.mod:fn` (or `file.py:fn`), which must return a module. Raises `source.load`."""
    place, _, name = factory.rpartition(":")
    if not place or not name:
        raise SetsailError("source.load", "a factory is written pkg.mod:fn", field="--factory", value=factory,
                           expected="pkg.mod:fn or file.py:fn")  # fmt: skip
    try:
        function = _function(place, name)
        module = function()
    except Exception as fault:  # the person's code raises anything
        raise SetsailError("source.load", f"the factory failed: {type(fault).__name__}", field="--factory",
                           value=str(fault), expected="a function without arguments that returns the module",
                           todo="call it in Python to see where") from fault  # fmt: skip
    if not isinstance(module, torch.nn.Module):
        raise SetsailError("source.load", "the factory returned no torch.nn.Module", field="--factory",
                           value=type(module).__name__, expected="a torch.nn.Module")  # fmt: skip
    return module


def _function(place: str, name: str) -> Callable[[], Any]:
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(f"no Python file {place}")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded
        spec.loader.exec_module(loaded)
    else:
        loaded = importlib.import_module(place)
    function: Callable[[], Any] = getattr(loaded, name)
    return function


def read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """A state dict from a data-only file. Raises `source.load`; never unpickles anything but tensors."""
    try:
        with quiet():
            if path.suffix == ".safetensors" or not _is_torch(path):
                return dict(safetensors.torch.load_file(str(path)))
            found = torch.load(str(path), map_location="cpu", weights_only=True)
    except FileNotFoundError as fault:
        raise SetsailError("source.missing", f"there are no weights at {path}", field="--weights",
                           value=str(path)) from fault  # fmt: skip
    except Exception as fault:  # a damaged file raises anything
        raise SetsailError("source.load", f"{path.name} is no file of plain weights", field="--weights",
                           value=str(fault).strip().partition("\n")[0],
                           expected="safetensors, or torch.save(module.state_dict(), …)") from fault  # fmt: skip
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]  # a training checkpoint
    if not isinstance(found, Mapping) or not all(map(_is_weight, found.values())):
        raise SetsailError("source.load", f"{path.name} holds no state dict", field="--weights",
                           value=type(found).__name__, expected="a mapping of names to tensors")  # fmt: skip
    return found


def _is_weight(value: Any) -> bool:
    """A tensor, or what quantised layers keep: a dtype, and a tensor with its bias."""
    packed = isinstance(value, tuple) and all(v is None or isinstance(v, torch.Tensor) for v in value)
    return packed or isinstance(value, torch.Tensor | torch.dtype)


def _is_torch(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
    return head.startswith((b"PK\x03\x04", b"\x80"))


def _fill(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Load strictly: a weight missing or left over means another module."""
    own = module.state_dict()
    missing, unexpected = [k for k in own if k not in weights], [k for k in weights if k not in own]
    if missing or unexpected:
        parts = [f"{what} {', '.join(keys[:_SHOWN])}{', …' if len(keys) > _SHOWN else ''}"
                 for what, keys in (("missing", missing), ("unexpected", unexpected)) if keys]  # fmt: skip
        packed = any("_packed_params" in key or key.endswith("zero_point") for key in unexpected)
        raise SetsailError(
            "source.load",
            f"the weights in {name} are not those of the module: {'; '.join(parts)}",
            field="--weights",
            expected="exactly the module's own names",
            todo="the weights are quantised: let the factory return the module as it was quantised, by "
            "quantize_dynamic(module, …) or convert(prepare(module))"
            if packed
            else "use the factory of these weights",
            missing=missing,
            unexpected=unexpected,
        )
    state = OrderedDict(weights)
    # the versions of layers, which quantised ones read their weights by
    state._metadata = getattr(weights, "_metadata", None) or own._metadata  # type: ignore[attr-defined]
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as fault:
        line = str(fault).strip().splitlines()[-1].strip()
        raise SetsailError("source.load", f"the weights in {name} have other shapes than the module",
                           field="--weights", value=line, expected="the module's own shapes",
                           todo="use the factory of these weights") from fault  # fmt: skip
