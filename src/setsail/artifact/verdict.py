"""Which programs have passed the gate and their trial run, on this machine, with this onnxruntime.

Serving an artifact again then needs neither. A verdict is an empty file named by everything it depends on; whoever can
write into the user's cache folder (mode 0700) can already run code as the user.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Final

from setsail import caches
from setsail.variants import Variant

__all__ = ["GATE_VERSION", "key", "known", "remember"]

# Raise it when the gate becomes stricter, so that what an older one let through is looked at again.
GATE_VERSION: Final = 1
_RUNTIMES: Final[Mapping[str, tuple[str, ...]]] = {
    "onnx": ("onnxruntime", "onnxruntime-gpu"),
    "xgboost-ubj": ("xgboost", "xgboost-cpu"),
    "lightgbm-text": ("lightgbm",),
    "catboost-cbm": ("catboost",),
    "litert-tflite": ("ai_edge_litert",),
}


def key(variant: Variant, files: Mapping[str, bytes | memoryview | str]) -> str:
    """What a verdict depends on: the files, which of them is opened as what, the gate and the runtime.

    The entry counts: the same two files with the other one opened are another program.

    Args:
        files: by relative name, the content or its SHA-256 in hexadecimal (`Artifact.digests`).
    """
    digests = {
        name: content if isinstance(content, str) else hashlib.sha256(content).hexdigest()
        for name, content in files.items()
    }
    facts = [GATE_VERSION, _runtime(variant.format), variant.format, variant.entry, variant.precision,
             dict(variant.settings), digests]  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def known(verdict: str) -> bool:
    """Whether the program of this key has passed before."""
    return (caches.folder("verdicts") / verdict).is_file()


def remember(verdict: str) -> None:
    """Keep that it passed. A cache that cannot be written is no error: the program is tried again next time."""
    try:
        os.close(os.open(caches.folder("verdicts") / verdict, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        return


@cache
def _runtime(form: str) -> str:
    """The versions of the packages that may run this format; a package may go by several names.

    Read from the names of the `.dist-info` folders: `importlib.metadata` would say the same, but importing it (and with
    it the mail parser) takes a tenth of a server's start.
    """
    wanted = {package.replace("-", "_"): package for package in _RUNTIMES.get(form, ())}
    found = set()
    for folder in sys.path:
        with suppress(OSError):
            for name in os.listdir(folder or os.curdir):
                package, _, rest = name.partition("-")
                if package in wanted and rest.endswith(".dist-info"):
                    found.add(f"{wanted[package]} {rest.removesuffix('.dist-info')}")
    return ", ".join(sorted(found))
