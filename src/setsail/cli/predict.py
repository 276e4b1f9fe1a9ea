"""`setsail predict`: a file of rows in, a file of answers out, a batch at a time."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from setsail import rows
from setsail.cli.console import Bar, Console, write_document
from setsail.cli.options import check_folder, verb
from setsail.errors import SetsailError
from setsail.messages import Body, Response
from setsail.rows.files import format_of
from setsail.server.opening import resolve
from setsail.serving.model import Model
from setsail.serving.slices import further
from setsail.signature import DEFAULT, Signature
from setsail.tensors import Array

__all__ = ["command"]

_PATH: Final = click.Path(path_type=Path)


@verb(
    "predict",
    "Answer the rows of a file with MODEL, an artifact or a model file (which is packed into the cache first). Files "
    "of any size are streamed in batches. Without -o the answers go to standard output as CSV, with --json as one "
    "document.",
    examples=(
        ("setsail predict credit-1.setsail -i rows.csv", "answers to the terminal"),
        ("setsail predict credit-1.setsail -i rows.parquet -o scores.parquet", "to a file, written when it is whole"),
        ("setsail predict model.onnx -i rows.npy --json", "a model that was not packed"),
        ("setsail predict price-1.setsail -i rows.csv --signature regress", "another of the model's signatures"),
    ),
)
@click.argument("model", metavar="MODEL", type=_PATH)
@click.option("-i", "--input", "source", metavar="ROWS", required=True, type=_PATH,
              help="A .csv, .json, .jsonl, .npy, .npz or .parquet file.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE", type=_PATH, help="File for the answers; its extension says the format.")
@click.option("--batch-size", metavar="N", type=click.IntRange(1), default=1024, show_default=True,
              help="Rows that are answered at once.")  # fmt: skip
@click.option("--signature", metavar="NAME", default=DEFAULT, show_default=True,
              help="Which of the model's signatures answers.")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def command(
    console: Console, model: Path, source: Path, output: Path | None, batch_size: int, signature: str, force: bool
) -> None:
    if output is not None:
        _check_output(output, force)
    with rows.open_rows(source, batch_size=batch_size) as batches:
        with console.stages() as stages:
            opening = resolve(model, progress=stages)
        if opening.note:
            console.note(opening.note)
        with Model(opening.path) as loaded:
            about: dict[str, Any] = {"model": loaded.name, "version": loaded.version}
            meant = _meant(loaded, signature)
            with console.bar(source.name, beside_output=output is None) as bar:
                asked = partial(loaded.answer, outputs=_wanted(meant, output), signature=signature)
                answers = _answers(asked, batches, bar)
                if output is not None:
                    about["rows"] = rows.write_rows(output, answers, meant.outputs)
                elif console.json:
                    _document(about, answers)
                else:
                    rows.stream_csv(sys.stdout, answers, meant.outputs)
    if output is not None:
        console.result(str(output), {**about, "output": str(output)})
        console.note(f"{batches.rows:,} rows answered")


def _check_output(output: Path, force: bool) -> None:
    """What can be known before the first row is read."""
    format_of(output)
    if output.exists() and not force:
        raise SetsailError("artifact.exists", f"{output} exists already", field="-o", value=str(output))
    check_folder(output)


def _meant(model: Model, name: str) -> Signature:
    found = model.signatures.get(name)
    if found is None:
        raise SetsailError("model.signature", f"model {model.name!r} has no signature {name!r}", field="--signature",
                           value=name, expected=", ".join(model.signatures))  # fmt: skip
    return found


def _wanted(signature: Signature, output: Path | None) -> tuple[str, ...] | None:
    """All outputs, but a .npy file holds one array: there the default one."""
    return signature.defaults if output is not None and format_of(output) == ".npy" else None


def _answers(answer: Callable[[Body], Response], batches: rows.Batches, bar: Bar) -> Iterator[Mapping[str, Array]]:
    done = 0
    for body in batches:
        try:
            outputs = answer(body).outputs
        except SetsailError as fault:
            raise _placed(fault, batches.path, done) from fault
        done = batches.rows
        bar.update(batches.fraction, done)
        yield outputs


def _placed(fault: SetsailError, path: Path, before: int) -> SetsailError:
    """The same fault with its row counted in the whole file, from 0 as on every wire."""
    placed = further(fault, before, path.name)
    placed.facts.setdefault("file", str(path))
    return placed


def _document(about: Mapping[str, Any], answers: Iterator[Mapping[str, Array]]) -> None:
    """One JSON document however many rows there are: they wait on disk until it is certain that all are answered."""
    with tempfile.TemporaryDirectory(prefix="setsail-predict-") as folder:
        file = Path(folder) / "rows.json"
        count = rows.write_rows(file, answers)
        with file.open(encoding="utf-8") as written:
            write_document({**about, "rows": count}, end=', "predictions": ')
            shutil.copyfileobj(written, sys.stdout)
            click.echo("}")
