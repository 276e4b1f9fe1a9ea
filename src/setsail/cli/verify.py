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
    "process. Exits with 1 when an answer differs from the one the source model gave; packages that differ are told, "
    "and change no exit code.",
    examples=(
        ("setsail verify credit-1.setsail", "after copying it, or before loading a stranger's"),
        (
            "setsail verify credit-1.setsail --environment",
            "what has changed since it was packed, here and at pip's index",
        ),
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--environment", is_flag=True,
              help="Compare packages, platform and processor with those it was packed with, and ask pip's index "
                   "whether the recorded versions are still there.")  # fmt: skip
def command(console: Console, file: Path, environment: bool) -> int:
    with console.stages() as stages:
        stages(f"reading {file} and replaying its samples")
        found = packing.verify(file, environment=True) if environment else packing.verify(file)
    console.result(str(found), found.to_json())
    if found.passed:
        console.next(f"setsail serve {file}")
    return 0 if found.passed else 1
