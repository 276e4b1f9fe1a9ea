"""`setsail prepare`: the environment that somebody's code asks for, made before it is served."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from setsail.apps import environments
from setsail.cli.console import Console
from setsail.cli.options import verb
from setsail.convert import FORMATS, mar, recognise
from setsail.errors import SetsailError
from setsail.server import apps, stores

__all__ = ["command"]

_LARGEST: Final = 1 << 20
_ARCHIVES: Final = ("mar", "mar-handler")
_SCRIPTS: Final = ("sagemaker-script", "azure-script")


@verb(
    "prepare",
    "Make the environment that the requirements of SRC ask for: a TorchServe archive (.mar), a folder or model.tar.gz "
    "of SageMaker's or Azure ML's with a script, or a directory of them. Packages are downloaded and installed, which "
    "can run their code; serving never does that.",
    examples=(("setsail prepare reader.mar", "once, then: setsail serve reader.mar --trust mar"),
              ("setsail prepare model/", "code/requirements.txt, then: setsail serve model/ --trust app"),
              ("setsail prepare model_store/", "for everything in it that has requirements")),
)  # fmt: skip
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
def command(console: Console, source: Path) -> None:
    rows, kinds = [], set()
    for path, kind, requirements in _asked(source):
        kinds.add(kind)
        if not requirements:
            rows.append({"source": str(path), "environment": None, "made": False})
            continue
        with console.stages() as stages:
            stages(f"making the environment of {path.name}")
            made, there = environments.make(requirements)
        rows.append({"source": str(path), "environment": str(made.folder), "made": not there})
    lines = [f"{row['source']}: {row['environment'] or 'it has no requirements'}" for row in rows]
    console.result("\n".join(lines), {"prepared": rows})
    console.next(f"setsail serve {source}" + "".join(f" --trust {kind}" for kind in sorted(kinds)))


def _asked(source: Path) -> Iterator[tuple[Path, str, bytes]]:
    """Code, the trust that it takes, and its requirements; empty where it has none."""
    for path in _code(source):
        form = recognise(path).format
        if form in _ARCHIVES:
            found = mar.archive(path)
            yield path, "mar", found.read(found.requirements, _LARGEST) if found.requirements else b""
        elif form in _SCRIPTS:
            entry = apps.entry_of(path)
            yield path, FORMATS[form].trust or "", entry.requirements if entry is not None else b""
        else:
            raise SetsailError("source.unknown", f"{path.name} asks for no environment", field="SRC", value=str(path),
                               expected="an archive of TorchServe (.mar), or a script's folder")  # fmt: skip


def _code(source: Path) -> list[Path]:
    """The source itself, or everything with code in a directory of models."""
    if source.is_dir() and not (source / mar.MANIFEST).is_file():
        found = list(import_module("setsail.server.foreign.model_store").archives(source))
        if not found and stores.is_store(source):
            inside = stores.read(source, lambda path, **_: path).found
            found = [one.source for _, one in inside if one.problem is None and apps.kind_of(one.source)]
        if found:
            return found
    return [source]
