"""`setsail shadow`: a version that answers nobody sees what the others answer."""

from __future__ import annotations

import click

from setsail.cli import remote
from setsail.cli.console import Console
from setsail.cli.options import verb
from setsail.errors import SetsailError

__all__ = ["command"]


@verb(
    "shadow",
    "Send VERSION of MODEL a copy of every request that another version has answered. Its answers go nowhere: they are "
    "held against the first ones and counted (`setsail route MODEL`, and in the metrics). Copies never wait in "
    "front of requests; under load they are dropped.",
    examples=(
        ("setsail shadow credit v2", "how often would version 2 have answered the same?"),
        ("setsail shadow credit --end", "no more copies"),
    ),
)
@click.argument("model", metavar="MODEL")
@click.argument("version", metavar="[VERSION]", required=False)
@click.option("--end", is_flag=True, help="Send no more copies.")
@remote.shared
def command(console: Console, model: str, version: str | None, end: bool, why: str, url: str) -> None:
    if end == (version is not None):
        raise SetsailError("command.usage", "say a version, or --end", field="VERSION",
                           todo="for example: setsail shadow credit v2")  # fmt: skip
    number = remote.changed(console, url, model, "shadow", version, why=why)
    console.next(f"setsail route {model}" if end else f"setsail canary {model} v{number} --weight 10")
