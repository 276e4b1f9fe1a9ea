"""What the browser target would write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.targets import Plan

__all__ = ["plan"]


def plan(opened: Artifact, options: Mapping[str, Any]) -> Plan:
    raise SetsailError("ship.unsupported", f"{opened.name} cannot be run in a browser", field="--to")
