"""`setsail export`: the model of an artifact as files that other tools read."""

from __future__ import annotations

from pathlib import Path

import click

from setsail import artifact, packing
from setsail.cli.console import Console
from setsail.cli.options import verb
from setsail.signature import DEFAULT

__all__ = ["command"]


@verb(
    "export",
    "Write the model of FILE, an artifact, as files that other tools read, with its signature and steps beside them "
    "(signature.json). What is written is loaded and run on the stored samples first; where it answers otherwise, or "
    "the form cannot be had from the artifact, nothing is written and the reason is told.",
    examples=(
        ("setsail export credit-1.setsail --to onnx -o credit-onnx", "an .onnx file, with its weights beside it"),
        ("setsail export credit-1.setsail --to mar -o model_store", "for TorchServe; its handler needs onnxruntime"),
        ("setsail export credit-1.setsail --to pt2 -o credit-torch", "for torch.export.load"),
        ("setsail export credit-1.setsail --to savedmodel -o models/credit/1", "for tf.saved_model.load, TF Serving"),
        ("setsail export price-1.setsail --to onnx --signature regress -o price-regress", "another of its signatures"),
        ("setsail export credit-1.setsail --to native -o credit-booster", "the booster's own file, where one is kept"),
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice(tuple(packing.TARGETS)), help="What to write.")
@click.option("-o", "--output", metavar="DIR", required=True, type=click.Path(path_type=Path),
              help="Folder to write into; made when it is not there.")  # fmt: skip
@click.option("--signature", metavar="NAME", default=DEFAULT, show_default=True,
              help="Which of the model's signatures is written.")  # fmt: skip
def command(console: Console, file: Path, to: str, output: Path, signature: str) -> None:
    with artifact.read(file) as opened, console.stages() as stages:
        stages(f"writing {opened.name} as {to}, and running it on the stored samples")
        written = packing.export(opened, to, output, signature)
    console.result(str(written), {"folder": str(output), **written.to_json()})
    if written.left:
        console.note(f"{written.signature} is in it; not in it, but by --signature: {', '.join(written.left)}")
    if to == "mar":
        console.next(f"torchserve --start --model-store {output} --models {written.files[0].name}")
    else:
        console.next(f"less {output / 'signature.json'}")
