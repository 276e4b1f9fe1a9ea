"""`setsail prepare`: the environment that somebody's code asks for, made before it is served."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from setsail.apps import environments
from setsail.cli.console import Console
from setsail.cli.options import verb
from setsail.convert import mar, recognise
from setsail.errors import SetsailError

__all__ = ["command"]

_LARGEST = 1 << 20


@verb(
    "prepare",
    "Make the environment that the requirements of SRC ask for: a TorchServe archive (.mar), or a model store of them. "
    "Packages are downloaded and installed, which can run their code; serving never does that.",
    examples=(("setsail prepare reader.mar", "once, then: setsail serve reader.mar --trust mar"),
              ("setsail prepare model_store/", "for every archive that has requirements")),
)  # fmt: skip
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
def command(console: Console, source: Path) -> None:
    rows = []
    for path in _archives(source):
        found = mar.archive(path)
        if not found.requirements:
            rows.append({"source": str(path), "environment": None, "made": False})
            continue
        with console.stages() as stages:
            stages(f"making the environment of {path.name}")
            made, there = environments.make(found.read(found.requirements, _LARGEST))
        rows.append({"source": str(path), "environment": str(made.folder), "made": not there})
    lines = [f"{row['source']}: {row['environment'] or 'it has no requirements'}" for row in rows]
    console.result("\n".join(lines), {"prepared": rows})
    console.next(f"setsail serve {source} --trust mar")


def _archives(source: Path) -> list[Path]:
    if source.is_dir() and not (source / mar.MANIFEST).is_file():
        found = list(import_module("setsail.server.foreign.model_store").archives(source))
        if found:
            return found
    if recognise(source).format not in ("mar", "mar-handler"):
        raise SetsailError("source.unknown", f"{source.name} asks for no environment", field="SRC", value=str(source),
                           expected="an archive of TorchServe (.mar)")  # fmt: skip
    return [source]
