"""A dimension of a metric: a name and a value."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Dimension"]


class Dimension(NamedTuple):
    name: str
    value: str
