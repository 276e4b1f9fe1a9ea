"""Archives of TorchServe for tests, as torch-model-archiver writes them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["COUNTING", "archive", "manifest"]

# A handler as people write them: a class with the four parts, that also says what it was given.
COUNTING = """
import json
import os
import time

from ts.torch_handler.base_handler import BaseHandler
from ts.utils.util import PredictionException


class Counting(BaseHandler):
    def initialize(self, context):
        self.initialized = True
        self.sizes = []
        self.folder = context.system_properties["model_dir"]
        self.word = context.model_yaml_config.get("handler", {}).get("word", "none")
        with open(os.path.join(self.folder, "numbers.json")) as file:
            self.numbers = json.load(file)

    def preprocess(self, data):
        self.sizes.append(len(data))
        return [row.get("data", row.get("body")) for row in data]

    def inference(self, data):
        return [self._one(index, value) for index, value in enumerate(data)]

    def _one(self, index, value):
        if value == b"die":
            os._exit(9)
        if value == b"raise":
            raise ValueError("the secret is 4711")
        if value == b"refuse":
            raise PredictionException("nothing of this kind", 422)
        if value == b"slow":
            time.sleep(0.2)
        if value == b"picture":
            self.context.set_response_content_type(index, "image/png")
            return b"\\x89PNG\\xff\\x00"
        if value == b"header":
            self.context.set_response_header(index, "x-said", self.context.get_request_header(index, "X-Asked"))
            self.context.set_response_status(code=201, idx=index)
            return "made"
        kind = type(value).__name__
        return {"kind": kind, "length": len(value) if hasattr(value, "__len__") else None, "word": self.word,
                "sizes": max(self.sizes), "numbers": self.numbers}

    def postprocess(self, data):
        return data
"""


def manifest(name: str, handler: str, version: str = "1.0", **model: str) -> bytes:
    """`MAR-INF/MANIFEST.json`; keys of `model` as there: `serializedFile`, `requirementsFile`, …"""
    body: Mapping[str, Any] = {
        "createdOn": "21/11/2026 12:00:00", "runtime": "python", "archiverVersion": "0.12.0",
        "model": {"modelName": name, "handler": handler, "modelVersion": version, **model},
    }  # fmt: skip
    return json.dumps(body).encode()


def archive(path: Path, handler: str = "handler.py", files: Mapping[str, bytes | str] | None = None, *,
            version: str = "1.0", **model: str) -> Path:  # fmt: skip
    """An archive at a path, in the form that its name says: `.mar` (deflated), `.tar.gz`, or a folder.

    Without `files` its handler is COUNTING.
    """
    name = path.name.partition(".")[0]
    inside = dict(files) if files is not None else {"handler.py": COUNTING, "numbers.json": "[1, 2]"}
    inside["MAR-INF/MANIFEST.json"] = manifest(name, handler, version, **model)
    data = {key: value.encode() if isinstance(value, str) else value for key, value in inside.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path, "w:gz") as tar:
            for key in sorted(data):
                info = tarfile.TarInfo(f"{name}/{key}")
                info.size = len(data[key])
                tar.addfile(info, io.BytesIO(data[key]))
    elif path.suffix == ".mar":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for key, value in data.items():
                packed.writestr(key, value)
    else:
        for key, value in data.items():
            place = path / key
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(value)
    return path
