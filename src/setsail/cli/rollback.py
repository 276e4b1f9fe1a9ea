"""`setsail rollback`: the route that was in force before."""

from __future__ import annotations

import click

from setsail.cli import remote
from setsail.cli.console import Console
from setsail.cli.options import verb

__all__ = ["command"]


@verb(
    "rollback",
    "Go back to the route of MODEL that was in force before the last change; again, to the one before that. No model "
    "is loaded for it: what it goes back to answers from the next request on.",
    examples=(("setsail rollback credit --why 'errors since noon'", "undo the last change"),),
)
@click.argument("model", metavar="MODEL")
@remote.shared
def command(console: Console, model: str, why: str, url: str) -> None:
    remote.changed(console, url, model, "rollback", why=why)
    console.next(f"setsail route {model}")
