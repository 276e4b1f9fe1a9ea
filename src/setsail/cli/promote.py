"""`setsail promote`: one version answers everything from now on."""

from __future__ import annotations

import click

from setsail.cli import remote
from setsail.cli.console import Console
from setsail.cli.options import verb

__all__ = ["command"]


@verb(
    "promote",
    "Have one VERSION of MODEL answer every request that names none: the canary's, where none is said. "
    "`setsail rollback MODEL` takes it back at once, as long as the old version is loaded.",
    examples=(
        ("setsail promote credit", "the canary has done well enough"),
        ("setsail promote credit v2 --why 'checked by hand'", "this version, with a reason for the audit line"),
    ),
)
@click.argument("model", metavar="MODEL")
@click.argument("version", metavar="[VERSION]", required=False)
@remote.shared
def command(console: Console, model: str, version: str | None, why: str, url: str) -> None:
    remote.changed(console, url, model, "promote", version, why=why)
    console.next(f"setsail rollback {model}")
