"""The trial run of a program (`runtime/trial.py`), in a child: packing and serving both ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from setsail.errors import SetsailError
from setsail.isolation.parent import call
from setsail.isolation.settings import JSON

__all__ = ["try_out"]


def try_out(arguments: Mapping[str, JSON], folder: Path) -> None:
    """Run `setsail.runtime.trial:run`; its network is cut where that can be had.

    Args:
        arguments: as `runtime.trial.arguments` makes them; their tensor files are in `folder`.

    Raises:
        SetsailError: `dependency.missing`, or `program.trial` for whatever else went wrong in the child.
    """
    try:
        call("setsail.runtime.trial:run", arguments, folder, require_network_cut=False)
    except SetsailError as fault:
        if fault.code == "dependency.missing":
            raise
        variant = arguments["variant"]
        name = variant["id"] if isinstance(variant, Mapping) else variant
        lines = {"lines": fault.facts["lines"]} if fault.facts.get("lines") else {}
        told = SetsailError("program.trial", f"variant {name!r} failed its trial run: {fault.what}", **lines)
        told.value = fault.value  # short where it is a value, whole where it is the child's last line
        raise told from fault
