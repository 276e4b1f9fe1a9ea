"""Export: take the program out of an artifact, for a tool that wants the plain file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from setsail.artifact import Artifact
from setsail.errors import SetsailError

__all__ = ["TARGETS", "export"]

# What `--to` takes -> the variant format it writes.
TARGETS: Final[Mapping[str, str]] = {"onnx": "onnx", "xgboost": "xgboost-ubj", "lightgbm": "lightgbm-text"}


def export(opened: Artifact, to: str, folder: Path) -> list[Path]:
    """Write a variant's files, its signature and its steps into a folder. Returns what was written.

    Raises:
        SetsailError: `setting.value` for an unknown target, `convert.unsupported` when the artifact has no such
            variant, `artifact.exists` when a file is there already.
    """
    if to not in TARGETS:
        raise SetsailError("setting.value", "there is no such export", field="--to", value=to,
                           expected=", ".join(TARGETS))  # fmt: skip
    found = [v for v in opened.variants if v.format == TARGETS[to]]
    if not found:
        have = ", ".join(f"{v.id} ({v.format})" for v in opened.variants)
        raise SetsailError("convert.unsupported", f"{opened.name} has no {to} variant", field="--to", value=to,
                           expected=have, todo="export one of the variants it has")  # fmt: skip
    contents: dict[str, bytes] = {name: bytes(data) for name, data in opened.files(found[0].id).items()}
    signature = opened.signature.to_json() | opened.processing.to_json()
    contents |= {name: bytes(data) for name, data in opened.processing.files.items()}
    contents["signature.json"] = json.dumps(signature, indent=2, ensure_ascii=False).encode() + b"\n"
    folder.mkdir(parents=True, exist_ok=True)
    for name in contents:
        if (folder / name).exists():
            raise SetsailError("artifact.exists", f"{folder / name} exists already", field="-o",
                               todo="choose another folder")  # fmt: skip
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in contents]
