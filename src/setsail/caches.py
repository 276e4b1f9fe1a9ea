"""Where things that can be made again are kept: packed sources, verdicts of trial runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["folder"]


def folder(kind: str) -> Path:
    """`SETSAIL_CACHE`, else the platform's cache folder; made with mode 0700 on first use."""
    base = os.environ.get("SETSAIL_CACHE")
    if base is None:
        home = Path.home()
        native = {"win32": home / "AppData/Local", "darwin": home / "Library/Caches"}.get(sys.platform, home / ".cache")
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or native) / "setsail")
    path = Path(base) / kind
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
