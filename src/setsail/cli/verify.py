"""`setsail verify`: is an artifact whole, safe to load, and does it still answer as it did?"""

from __future__ import annotations

from pathlib import Path

import click

from setsail import packing
from setsail.cli.console import Console
from setsail.cli.options import verb

__all__ = ["command"]


@verb(
    "verify",
    "Check every byte of FILE, put its programs through the safety gate, and replay its stored samples in a child "
    "process. Exits with 1 when an answer differs from the one the source model gave.",
    examples=(("setsail verify credit-1.setsail", "after copying it, or before loading a stranger's"),),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def command(console: Console, file: Path) -> int:
    with console.stages() as stages:
        stages(f"reading {file} and replaying its samples")
        found = packing.verify(file)
    console.result(str(found), found.to_json())
    if found.passed:
        console.next(f"setsail serve {file}")
    return 0 if found.passed else 1
