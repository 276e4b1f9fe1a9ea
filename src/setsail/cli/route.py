"""`setsail route`: which version of a model answers, on a server that runs."""

from __future__ import annotations

import click

from setsail.cli import remote
from setsail.cli.console import Console
from setsail.cli.options import verb
from setsail.errors import SetsailError

__all__ = ["command"]


@verb(
    "route",
    "Say which versions of MODEL answer requests that name none, by weights, or (without weights) show what is in "
    "force. Requests that name a version or a label go where they say, as ever. The change is one swap in every worker "
    "of the server, and `setsail rollback MODEL` takes it back.",
    examples=(
        ("setsail route credit v1=90 v2=10", "nine requests in ten to version 1"),
        ("setsail route credit v1=90 v2=10 --sticky header:x-user", "every user stays on his version"),
        ("setsail route credit v1=50 v2=50 --sticky input:customer_id", "by the value of an input"),
        ("setsail route credit", "what is in force, and what was"),
        ("setsail route credit --clear", "no route: the default version answers"),
    ),
)
@click.argument("model", metavar="MODEL")
@click.argument("weights", metavar="[VERSION=WEIGHT]...", nargs=-1)
@click.option("--sticky", metavar="header:NAME|input:NAME|none", help="What keeps a client on its version.")
@click.option("--clear", is_flag=True, help="End the route.")
@remote.shared
def command(
    console: Console, model: str, weights: tuple[str, ...], sticky: str | None, clear: bool, why: str, url: str
) -> None:
    if clear and (weights or sticky):
        raise SetsailError("command.usage", "--clear takes no weights and no key", field="--clear",
                           todo="clear the route, or say a new one")  # fmt: skip
    if clear:
        told = remote.change(url, model, "clear", why=why)
    elif weights:
        told = remote.change(url, model, "", weights=_weights(weights), sticky=remote.sticky(sticky), why=why)
    elif sticky:
        raise SetsailError("command.usage", "--sticky needs weights", field="--sticky", value=sticky,
                           todo="say the weights again, such as v1=90 v2=10")  # fmt: skip
    else:
        told = remote.routes(url, model)
    remote.described(console, told)
    console.next(f"setsail rollback {model}" if clear or weights else f"setsail route {model} v1=90 v2=10")


def _weights(given: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in given:
        name, _, weight = text.partition("=")
        number = str(remote.number_of(name))
        try:
            value = float(weight)
        except ValueError:
            raise SetsailError("route.value", "a weight cannot be read", field="VERSION=WEIGHT", value=text,
                               expected="v1=90") from None  # fmt: skip
        if number in found:
            raise SetsailError("route.value", f"version {number} is there twice", field="VERSION=WEIGHT", value=text)
        found[number] = value
    return found
