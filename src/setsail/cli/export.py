"""`setsail export`: the program of an artifact as plain files."""

from __future__ import annotations

from pathlib import Path

import click

from setsail import artifact, packing
from setsail.cli.console import Console
from setsail.cli.options import verb

__all__ = ["command"]


@verb(
    "export",
    "Write one variant of FILE, an artifact, as plain files that other tools read, with its signature beside them "
    "(signature.json).",
    examples=(
        ("setsail export credit-1.setsail --to onnx -o credit-onnx", "an .onnx file, with its weights beside it"),
        ("setsail export credit-1.setsail --to xgboost -o credit-ubj", "where the artifact keeps the native form"),
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice(tuple(packing.TARGETS)), help="What to write.")
@click.option("-o", "--output", metavar="DIR", required=True, type=click.Path(path_type=Path),
              help="Folder to write into; made when it is not there.")  # fmt: skip
def command(console: Console, file: Path, to: str, output: Path) -> None:
    with artifact.read(file) as opened:
        written = packing.export(opened, to, output)
    console.result("\n".join(map(str, written)), {"folder": str(output), "files": [str(path) for path in written]})
    console.next(f"less {output / 'signature.json'}")
