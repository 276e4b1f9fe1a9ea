"""`setsail pack`: a trained model in, an artifact out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from setsail import packing, rows
from setsail.artifact import Artifact
from setsail.artifact.rendering import bytes_text
from setsail.cli.console import Console, Stages, printable
from setsail.cli.options import check_folder, verb
from setsail.convert import FRAMEWORKS, Source, recognise
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.messages import Body
from setsail.serving.model import body_of
from setsail.signature import Signature, TensorSpec

__all__ = ["command"]

_KINDS: Final = ("pickle", "torchscript", "factory", "mar", "app", "pyfunc", "r")  # contract.md §2
_SUFFIX: Final = ".setsail"
_REFERENCE_ROWS: Final = 1_000_000
_PATH: Final = click.Path(path_type=Path)


@verb(
    "pack",
    "Convert SRC, a model file or directory of any known format, hold the result against the source model, and write "
    "one artifact. Nothing is written unless they agree. A directory of models (TorchServe's, Triton's, MLServer's, "
    "TensorFlow Serving's, or files side by side) becomes a repository with -o REPO/.",
    examples=(
        ("setsail pack model.ubj", "a booster says all about itself"),
        ("setsail pack net.pt2 --name digits -o digits.setsail", "choose the name and the file"),
        ("setsail pack model.joblib --trust pickle --example rows.csv", "a pickle from a source you trust"),
        ("setsail pack model_store/ -o models/", "a whole directory of models into a repository"),
        ("setsail pack weights.safetensors --factory mynet:make --trust factory --input 'x:float32[*,10]'",
         "weights, and the function that builds their module"),
    ),
)  # fmt: skip
@click.argument("source", metavar="SRC", type=_PATH)
@click.option("-o", "--output", metavar="FILE|REPO/", type=click.Path(),
              help="Default: NAME-VERSION.setsail in this folder. A folder becomes a repository.")  # fmt: skip
@click.option("--name", metavar="N", help="Name of the model. Default: the file's.")
@click.option("--version", metavar="K", type=click.IntRange(1), default=1, show_default=True, help="Its version.")
@click.option("--example", metavar="FILE", type=_PATH, help="Rows as the model takes them (csv, json, npy, parquet …).")
@click.option("--input", "inputs", metavar="SPEC", multiple=True,
              help='An input as "name:dtype[dims]", e.g. "x:float32[*,10]". Repeatable.')  # fmt: skip
@click.option("--reference", metavar="FILE", type=_PATH, help="Training rows; drift is later measured against them.")
@click.option("--labels", metavar="A,B,C", help="Class labels instead of the model's own.")
@click.option("--framework", type=click.Choice(FRAMEWORKS), help="Whose model it is, where the file does not say.")
@click.option("--factory", metavar="PKG.MOD:FN", help="Function that builds the module weights belong to.")
@click.option("--weights", metavar="FILE", type=_PATH, help="Weights for the factory's module.")
@click.option(
    "--signature", metavar="NAME", help="Which signature of a SavedModel is the default one. Default: serving_default."
)
@click.option("--tolerance", metavar="T", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="Multiplies the parity rule, 1e-4 + 1e-3 |value|.")  # fmt: skip
@click.option("--samples", type=click.Choice(("synthetic", "example", "none")), default="synthetic", show_default=True,
              help="Rows kept in the artifact: drawn ones, at most 64 of the example's as well, or none.")  # fmt: skip
@click.option(
    "--trust", type=click.Choice(_KINDS), multiple=True, help="Format whose loading may run code. Repeatable."
)
@click.option("--no-sandbox", "sandbox", flag_value=False, default=True,
              help="Load trusted code also where the network cannot be cut off.")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output file.")
def command(console: Console, source: Path, **given: Any) -> int:
    repository = _is_repository(source, given["output"])
    given["output"] = Path(given["output"]) if given["output"] is not None else None
    if given["output"] is not None:
        check_folder(given["output"])
    intent = Intent(
        example=_example(given["example"]),
        inputs=tuple(map(TensorSpec.parse, given["inputs"])),
        labels=tuple(label.strip() for label in given["labels"].split(",")) if given["labels"] else (),
        framework=given["framework"],
        factory=given["factory"],
        weights=str(given["weights"]) if given["weights"] else None,
        signature=given["signature"],
    )
    with console.stages() as stages:
        options = packing.PackOptions(
            **{key: given[key] for key in ("name", "version", "output", "force", "tolerance", "samples", "trust")},
            sandbox=given["sandbox"],
            reference=_reference(given["reference"]),
            ask=_question(console, stages),
            progress=stages,
        )
        if repository:
            target, options = given["output"], replace(options, output=None)
            moved = import_module("setsail.server.migration").migrate(source, target, intent, options)
        else:
            made = packing.pack(source, intent, options)
    if repository:
        return _print_migration(console, target, moved)
    with made:
        _print(console, made)
    return 0


def _is_repository(source: Path, output: str | None) -> bool:
    """Whether what is made is a folder of models. What holds several cannot be one file."""
    told = output is not None and (output.endswith(("/", os.sep)) or Path(output).is_dir())
    if told or not source.exists():
        return told
    several = _holds_several(source)
    if not several and output is not None and Path(output).suffix != _SUFFIX and _holds_one(source):
        return True  # `-o repo` is what it would be with a second model beside the first
    if not several:
        return False
    if output is None or Path(output).suffix == _SUFFIX:
        raise SetsailError("command.usage", f"{source} holds several models", field="-o", value=output,
                           expected="a folder, which becomes a repository",
                           todo=f"move all of them: setsail pack {source} -o REPO/")  # fmt: skip
    return True


def _holds_several(source: Path) -> bool:
    try:
        recognise(source)
    except SetsailError as fault:
        return fault.code == "source.unknown" and bool(import_module("setsail.server.stores").is_store(source))
    return False


def _holds_one(source: Path) -> bool:
    """Whether a directory has one model file in it, rather than being one model."""
    return source.is_dir() and recognise(source).path != source


def _example(path: Path | None) -> Any:
    return None if path is None else rows.example(path)


def _reference(path: Path | None) -> Callable[[Signature], Body] | None:
    if path is None:
        return None
    training = rows.example(path, limit=_REFERENCE_ROWS)
    return lambda signature: body_of(signature, training)


def _question(console: Console, stages: Stages) -> Callable[[Source], bool]:
    """Show what a scan of the file saw; on a terminal, ask. Elsewhere nobody accepts but the flag `--trust`."""

    def ask(source: Source) -> bool:
        stages.pause()
        findings = str(source.findings or "nothing to scan").splitlines()
        seen = f"{source.describe()}: loading it can run code. What it names:\n  " + "\n  ".join(findings)
        if not console.interactive:
            console.note(printable(seen))
            return False
        click.echo(printable(seen), err=True)  # also with --quiet: nobody can answer what was not shown
        return console.yes or click.confirm("Do you trust where this file comes from?", err=True)

    return ask


def _print_migration(console: Console, target: Path, moved: Any) -> int:
    """A line a model, and the reasons of those that could not be moved. Returns the exit code."""
    lines = []
    for one in moved.moved:
        shown = str(one.path) if one.fault is None else f"{one.place.name}: {one.fault}"
        lines.append(f"{one.name} {one.version}  {'FAILED' if one.fault else one.state}  {shown}")
        lines += [f"    {one.note}"] if one.note and not console.quiet else []
    done = len(moved.moved) - len(moved.failed)
    lines.append(f"{done} of {len(moved.moved)} versions are in {target}")
    trust = "".join(f" --trust {kind}" for kind in moved.trust)
    following = (f"setsail serve {target}" + (f" --as {moved.flavour}" if moved.flavour else "") + trust,)
    counts = {state: sum(one.state == state for one in moved.moved) for state in ("packed", "copied", "kept", "failed")}
    document = {"repository": str(target), **counts, "models": [one.to_json() for one in moved.moved],
                "notes": moved.notes, "next": following}  # fmt: skip
    console.result(printable("\n".join(lines)), document)
    for text in moved.notes:
        console.note(f"note: {text}")
    if done:
        console.next(*following)
    return 1 if moved.failed else 0


def _print(console: Console, made: Artifact) -> None:
    path = made.path
    following = (f"setsail serve {path}", f"setsail inspect {path}", f"setsail predict {path} -i rows.csv")
    text = str(path)
    if not console.quiet:
        text = f"{path}  {bytes_text(made.size)}  sha256 {made.digest[:12]}…\n{made.parity}"
        text += "".join(f"\nsignature {name}\n{other.parity}" for name, other in made.others.items())
    console.result(
        text,
        {
            "path": str(path), "digest": made.digest, "size": made.size, "name": made.name, "version": made.version,
            "framework": made.framework, "estimator": made.estimator, "kind": made.kind,
            "signature": made.signature.to_json(), "parity": made.parity.to_json(), "notes": made.notes,
            "others": {
                name: {"signature": other.signature.to_json(), "parity": other.parity.to_json()}
                for name, other in made.others.items()
            },
            "next": following,
        },
    )  # fmt: skip
    for text in made.notes:
        console.note(f"note: {text}")
    console.next(*following)
