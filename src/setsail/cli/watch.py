"""`setsail watch`: drift, labels and alarms of a running server."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from setsail.cli.console import Console, printable
from setsail.cli.options import check_folder, verb
from setsail.errors import SetsailError
from setsail.server import observing

__all__ = ["command"]

_CLEAR = "\x1b[H\x1b[2J"


@verb(
    "watch",
    "Show what is known of the models of a running server that are watched: rows, windows, alarms, the columns that "
    "differ most from training, and how good answers were where labels came back. URL is the server's admin port. "
    "On a terminal it is shown again and again; otherwise once.",
    examples=(
        ("setsail watch http://127.0.0.1:8081", "live, until Ctrl-C"),
        ("setsail watch http://127.0.0.1:8081 --json", "everything, once, for a machine"),
        ("setsail watch --export prometheus -o alerts.yaml", "alert rules for Prometheus"),
        ("setsail watch --export grafana -o dashboard.json", "a dashboard for Grafana"),
    ),
)
@click.argument("url", metavar="[URL]", required=False)
@click.option("--once", is_flag=True, help="Show it once, on a terminal too.")
@click.option("--interval", metavar="S", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True,
              help="Seconds between two looks.")  # fmt: skip
@click.option("--export", "what", type=click.Choice(tuple(observing.EXPORTS)), help="Write a file for another tool.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    console: Console, url: str | None, once: bool, interval: float, what: str | None, output: Path | None, force: bool
) -> None:
    if what is not None:
        _export(console, what, output, force)
        return
    if url is None:
        raise SetsailError("command.usage", "there is no URL to watch", field="URL",
                           expected="the admin port of a server, as http://127.0.0.1:8081")  # fmt: skip
    told = observing.fetched(url)
    if once or console.json or not sys.stdout.isatty():
        console.result(printable(observing.table(told)), told)
        console.next(f"setsail report {url} -o report.html")
        return
    while True:
        click.echo(_CLEAR + printable(observing.table(told)))
        time.sleep(interval)
        told = observing.fetched(url)


def _export(console: Console, what: str, output: Path | None, force: bool) -> None:
    text = observing.export(what)
    if output is None:
        console.result(text.rstrip("\n"), {"export": what, "text": text}, coloured=False)
        return
    check_folder(output)
    if output.exists() and not force:
        raise SetsailError("artifact.exists", f"{output} exists already", field="-o", value=str(output))
    output.write_text(text, encoding="utf-8")
    console.result(f"{output}: {len(text.encode())} bytes", {"export": what, "file": str(output)})
    console.next({"prometheus": f"promtool check rules {output}",
                  "grafana": f"import {output} in Grafana: Dashboards, New, Import"}[what])  # fmt: skip
