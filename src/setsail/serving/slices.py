"""Rows in slices, where a program takes fewer at once than came; and faults whose rows are then counted from the start.

A step or program that refuses a row says its number. What it saw was a slice, or a batch of a file: the number that the
sender is told is the row's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from setsail.errors import SetsailError
from setsail.runtime import Runner
from setsail.tensors import Array

__all__ = ["further", "run"]

_ROW: Final = re.compile(r"\brow (\d+)\b")


def run(runner: Runner, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Run, in slices of `max_batch` where more rows came. Raises what the runner raises."""
    limit = runner.max_batch
    if limit is None or rows <= limit or not runner.signature.batched:
        return runner.run(inputs)
    parts = []
    for first in range(0, rows, limit):
        try:
            parts.append(runner.run({name: array[first : first + limit] for name, array in inputs.items()}))
        except SetsailError as fault:
            raise further(fault, first) from fault
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def further(fault: SetsailError, first: int, title: str = "") -> SetsailError:
    """The same fault with its row counted on from `first`, the number of the row that was its 0.

    Args:
        title: of what the rows are in, put before what the fault says.
    """
    facts = dict(fault.facts)
    told = isinstance(facts.get("row"), int)
    if told:
        facts["row"] += first
    what = _ROW.sub(lambda match: f"row {int(match[1]) + first}", fault.what) if told or title else fault.what
    moved = SetsailError(fault.code, f"{title}: {what}" if title else what, field=fault.field, expected=fault.expected,
                         todo=fault.todo, **facts)  # fmt: skip
    moved.value = fault.value  # it was shortened when it was raised
    return moved
