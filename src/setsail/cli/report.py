"""`setsail report`: what is watched as one page to keep or to send."""

from __future__ import annotations

from pathlib import Path

import click

from setsail.cli.console import Console
from setsail.cli.options import check_folder, verb
from setsail.errors import SetsailError
from setsail.server import observing

__all__ = ["command"]


@verb(
    "report",
    "Write a page of everything that is known of watched models: alarms, every column against the reference, labels "
    "that came back. SOURCE is the admin port of a running server, or a file that `setsail watch URL --json` was kept "
    "in. The page is one file and opens without a network.",
    examples=(
        ("setsail report http://127.0.0.1:8081 -o report.html", "of a running server"),
        ("setsail report monday.json -o monday.html", "of what was kept"),
    ),
)
@click.argument("source", metavar="SOURCE")
@click.option("-o", "--output", metavar="FILE", default="report.html", show_default=True,
              type=click.Path(path_type=Path), help="The page to write.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(console: Console, source: str, output: Path, force: bool) -> None:
    check_folder(output)
    if output.exists() and not force:
        raise SetsailError("artifact.exists", f"{output} exists already", field="-o", value=str(output))
    told = observing.fetched(source)
    text = observing.page(told)
    output.write_text(text, encoding="utf-8")
    versions = sum(len(found) for found in told["models"].values())
    console.result(f"{output}: {versions} versions, {len(text.encode()) / 1e3:.0f} kB",
                   {"file": str(output), "versions": versions})  # fmt: skip
    console.next(f"open {output} in a browser")
