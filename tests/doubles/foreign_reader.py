"""A reader of another server's configuration, for tests: one word a line is a file to register."""

from __future__ import annotations

from pathlib import Path

from setsail.catalog import Register
from setsail.server.foreign import Foreign


def read(path: Path) -> Foreign:
    names = path.read_text().split()
    return Foreign(
        {"port": 0, "model_store": str(path.parent), "drain_timeout": 7}, asks=tuple(Register(name) for name in names),
        notes=("nothing was said about lemonade",),
    )  # fmt: skip
