"""A directory as `save_pretrained` writes it: what is in it, and what of that is never followed.

Nothing here loads a model. A directory can name code to run (`auto_map`), weights elsewhere (adapters), and numbers
only another library reads (quantised weights); each is refused by its name before transformers sees the directory.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from setsail.convert.conversion import Conversion, Intent
from setsail.errors import SetsailError

__all__ = ["Directory", "convert", "convert_pickled", "read", "settings"]

# The files of a directory that transformers reads settings from.
_SETTINGS: Final = (
    "config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json",
)  # fmt: skip
_LARGEST: Final = 64 << 20
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that was looked through.

    Attributes:
        config: `config.json`.
        architecture: the class of transformers that wrote the weights.
        pickled: whether the weights are a pickle (`pytorch_model.bin`).
        modules: `modules.json` of sentence-transformers, or empty.
        apart: "tokenizer" and "processor" -> the folder of their files, where that is another one.
    """

    path: Path
    config: Mapping[str, Any]
    architecture: str
    pickled: bool
    modules: tuple[Mapping[str, Any], ...] = ()
    apart: Mapping[str, Path] = field(default_factory=dict)


def convert(path: Path, intent: Intent, apart: Mapping[str, Path] | None = None) -> Conversion:
    """Convert a directory with safetensors weights. It takes no network and runs no code of the directory's.

    Args:
        apart: see `Directory`.

    Raises:
        SetsailError: `convert.unsupported` for a task, tokenizer or processor we do not have, by name; `source.load`;
            `source.llm`; `convert.input`; what converting a PyTorch module raises.
    """
    return _convert(path, intent, apart or {}, pickled=False)


def convert_pickled(path: Path, intent: Intent, apart: Mapping[str, Path] | None = None) -> Conversion:
    """The same with weights in a pickle, which only a child process may load."""
    return _convert(path, intent, apart or {}, pickled=True)


def _convert(path: Path, intent: Intent, apart: Mapping[str, Path], *, pickled: bool) -> Conversion:
    os.environ |= _OFFLINE  # before the first import of transformers, which reads them once
    directory = read(path, apart)
    if directory.pickled is not pickled:
        raise SetsailError("source.load", f"{path.name} changed while it was read", value=str(path))
    model = importlib.import_module("setsail.convert.transformers.model")
    converted: Conversion = model.convert(directory, intent)
    return converted


def read(path: Path, apart: Mapping[str, Path] | None = None) -> Directory:
    """Look through a directory.

    Args:
        apart: see `Directory`; these folders are looked through like it.

    Raises:
        SetsailError: `convert.unsupported` for what a directory may ask for and never gets; `source.damaged` for
            settings that are no JSON; `source.missing` without weights.
    """
    apart = apart or {}
    found = {name: body for name in _SETTINGS if (body := settings(path / name)) is not None}
    more = [(name, settings(folder / name)) for folder in apart.values() for name in _SETTINGS]
    for name, body in (*found.items(), *more):
        if body is not None and body.get("auto_map"):
            raise SetsailError(
                "convert.unsupported", f"{name} asks for code of its own (auto_map)", field="auto_map",
                value=body["auto_map"], expected="a model that transformers itself has",
                todo="its code is never run; export the model to ONNX where you trust it, then pack the .onnx file",
            )  # fmt: skip
    config = found.get("config.json")
    if config is None:
        raise SetsailError("source.damaged", f"{path.name} has no config.json", field="config.json")
    _refuse_elsewhere(path, config)
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1 or not isinstance(architectures[0], str):
        raise SetsailError("convert.unsupported", "config.json does not name one architecture", field="architectures",
                           value=architectures, expected="the name of one class of transformers",
                           todo="write the directory with save_pretrained")  # fmt: skip
    modules = settings(path / "modules.json", list) or ()
    return Directory(path, config, architectures[0], _pickled(path), tuple(modules), apart)


def settings(path: Path, kind: type[Any] = dict) -> Any:
    """A JSON file of a directory, None where there is none. Raises `source.damaged`."""
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large")
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as fault:
        raise SetsailError("source.damaged", f"{path.name} cannot be read", field=path.name,
                           value=str(fault)) from fault  # fmt: skip
    if not isinstance(body, kind):
        raise SetsailError("source.damaged", f"{path.name} is of another form", field=path.name, value=body,
                           expected=f"a JSON {'list' if kind is list else 'object'}")  # fmt: skip
    return body


def _refuse_elsewhere(path: Path, config: Mapping[str, Any]) -> None:
    if (path / "adapter_config.json").exists():
        raise SetsailError("convert.unsupported", f"{path.name} holds an adapter, not a model",
                           field="adapter_config.json", expected="whole weights",
                           todo="merge it (merge_and_unload), and save_pretrained the model")  # fmt: skip
    if config.get("quantization_config"):
        raise SetsailError("convert.unsupported", "the weights are quantised by another library",
                           field="quantization_config", value=config["quantization_config"],
                           expected="weights as they were trained", todo="pack the model before quantising",
        )  # fmt: skip
    if config.get("use_timm_backbone") or config.get("model_type") in ("timm_wrapper", "timm_backbone"):
        raise SetsailError("convert.unsupported", "the model is timm's, which transformers only wraps",
                           field="model_type", value=config.get("model_type"), expected="a model of transformers",
                           todo="export it to ONNX, then pack the .onnx file")  # fmt: skip


def _pickled(path: Path) -> bool:
    """Whether the weights are a pickle: only where there are no safetensors, as transformers chooses."""
    if any((path / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        return False
    if any((path / name).is_file() for name in ("pytorch_model.bin", "pytorch_model.bin.index.json")):
        return True
    raise SetsailError("source.missing", f"{path.name} has no weights", field=str(path),
                       expected="model.safetensors", todo="write the directory with save_pretrained")  # fmt: skip
