"""A package that pip installs without a network: one module, `tiny`, with one word."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["WORD", "tiny_wheel"]

WORD = "from its own environment"


def tiny_wheel(folder: Path) -> str:
    """Write the wheel, and give the line of `requirements.txt` that asks for it."""
    wheel, about = folder / "tiny-1.0-py3-none-any.whl", "tiny-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("tiny.py", f"WORD = {WORD!r}\n")
        packed.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        packed.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr(f"{about}/RECORD", "")
    return f"tiny @ {wheel.as_uri()}\n"
