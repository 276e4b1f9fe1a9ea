"""`setsail canary`: a new version gets some of the requests, and the server decides whether it gets all."""

from __future__ import annotations

import click

from setsail.cli import remote
from setsail.cli.console import Console
from setsail.cli.options import verb

__all__ = ["command"]


@verb(
    "canary",
    "Give VERSION of MODEL a part of the requests, and judge it against the version that answers now. The server goes "
    "back by itself as soon as the canary is shown to be worse, and promotes it as soon as it is shown not to be "
    "worse than allowed. A canary that is no worse is stopped with probability --alpha at most, however often it is "
    "looked at.",
    examples=(
        ("setsail canary credit v2 --weight 10", "a tenth of the requests, judged by errors"),
        ("setsail canary credit v2 --weight 5 --budget 0.05", "answers slower than 50 ms count against it too"),
        ("setsail canary credit v2 --weight 10 --manual", "tell what it comes to, and do nothing"),
        ("setsail route credit", "how it stands"),
    ),
)
@click.argument("model", metavar="MODEL")
@click.argument("version", metavar="[VERSION]", required=False)
@click.option("--weight", metavar="PERCENT", type=float, default=10.0, show_default=True, help="Its part.")
@click.option("--sticky", metavar="header:NAME|input:NAME|none", help="What keeps a client on its version.")
@click.option("--alpha", metavar="P", type=float, default=0.01, show_default=True,
              help="How often, at most, one that is no worse is stopped; and of the bound that promotes.")  # fmt: skip
@click.option("--allowed", metavar="SHARE", type=float, default=0.01, show_default=True,
              help="How much larger the share of errors may be.")  # fmt: skip
@click.option("--budget", metavar="SECONDS", type=float, default=0.0, show_default=True,
              help="Answers that take longer count against a version; 0 judges no latency.")  # fmt: skip
@click.option("--labels", is_flag=True, help="Judge by feedback too, and promote nothing without it.")
@click.option("--manual", is_flag=True, help="Only tell what it comes to.")
@remote.shared
def command(
    console: Console, model: str, version: str | None, weight: float, sticky: str | None, alpha: float,
    allowed: float, budget: float, labels: bool, manual: bool, why: str, url: str,
) -> None:  # fmt: skip
    remote.changed(
        console, url, model, "canary", version, percent=weight, sticky=remote.sticky(sticky), alpha=alpha,
        allowed=allowed, budget=budget, labels=labels, automatic=not manual, why=why,
    )  # fmt: skip
    console.next(f"setsail route {model}", f"setsail rollback {model}")
