"""`setsail inspect`: what is inside an artifact."""

from __future__ import annotations

from pathlib import Path

import click

from setsail import artifact
from setsail.cli.console import Console
from setsail.cli.options import verb

__all__ = ["command"]


@verb(
    "inspect",
    "Show what is inside FILE, an artifact: its model, inputs and outputs, variants and parity report. Every byte is "
    "checked; nothing is run.",
    examples=(
        ("setsail inspect credit-1.setsail", "for people"),
        ("setsail inspect credit-1.setsail --json", "the manifest and the digest, for programs"),
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def command(console: Console, file: Path) -> None:
    with artifact.read(file) as opened:
        console.result(
            repr(opened),
            {"path": str(file), "size": opened.size, "digest": opened.digest, "manifest": opened.manifest},
        )
