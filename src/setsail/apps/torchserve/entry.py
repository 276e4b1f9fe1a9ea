"""An archive of TorchServe as an `Entry`: its files unpacked, its configuration read, its environment found."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from setsail.apps import environments
from setsail.apps.code import Entry
from setsail.convert.mar import Archive, archive
from setsail.errors import SetsailError

__all__ = ["entry"]

_YAML: Final = "setsail.convert.yaml_file"
_REQUIREMENTS: Final = 1 << 20
_REFUSED: Final[Mapping[str, str]] = {  # built-in handlers that nothing of ours stands for
    "text_classifier": "it needs torchtext, which is no longer made; write the archive's own handler, or pack a "
    "transformers directory (docs/frameworks)",
    "object_detector": "its model's boxes have no fixed number; put a class that derives from it into the archive's "
    "own handler.py, and it runs with --trust mar",
    "image_segmenter": "its answer is a mask of each image's size; put a class that derives from it into the archive's "
    "own handler.py, and it runs with --trust mar",
}  # fmt: skip


def entry(path: Path) -> Entry:
    """The code of an archive that has code.

    Raises:
        SetsailError: `source.damaged`; `convert.unsupported` for a built-in handler that we do not have;
            `dependency.missing` while the environment that its requirements ask for was not made.
    """
    found = archive(path)
    if found.built_in in _REFUSED:
        raise SetsailError("convert.unsupported", f"{path.name} has TorchServe's handler {found.built_in!r}",
                           field="handler", value=found.handler, todo=_REFUSED[found.built_in])  # fmt: skip
    config = _config(found)
    made = None
    if found.requirements:
        made = environments.find(found.read(found.requirements, _REQUIREMENTS), path)
    folder = found.unpacked()
    size = _number(found, config, "batchSize", 1)
    options = {"folder": str(folder), "manifest": dict(found.manifest), "config": config, "batch_size": size}
    return Entry(
        "torchserve", folder, path.name, options, _name(found), found.version,
        python=made.python if made is not None else "", readable=made.readable if made is not None else (),
        max_batch=size, delay=_number(found, config, "maxBatchDelay", 100) / 1000 if size > 1 else None,
        digest=found.digest(),
    )  # fmt: skip


def _config(found: Archive) -> dict[str, Any]:
    """`model-config.yaml`, as JSON would have it."""
    if not found.config:
        return {}
    config = import_module(_YAML).parse(found.read(found.config, _REQUIREMENTS), found.config)
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise SetsailError("source.damaged", f"{found.config} of {found.path.name} is no mapping", value=config)
    return config


def _number(found: Archive, config: Mapping[str, Any], key: str, default: int) -> int:
    value = config.get(key, default)
    if type(value) is not int or not 0 <= value < 1 << 31 or (key == "batchSize" and value < 1):
        raise SetsailError("source.damaged", f"{found.config} of {found.path.name} has a bad {key}", field=key,
                           value=value, expected="a whole number")  # fmt: skip
    return value


def _name(found: Archive) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in found.name).strip("-._")
    return kept[:128] or "model"
