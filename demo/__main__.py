"""Train, pack, serve, ask, compare; then a second version, drift, and a browser.

Exits 0 when every answer is the source model's own and all the rest went as it should, 1 otherwise.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import setsail
from demo.afterwards import afterwards
from demo.models import TRAINERS, Trained
from demo.wires import FILES, WIRES, Client, Inputs
from setsail.parity import ABSOLUTE, RELATIVE

REPEATS = 30


def main() -> int:
    console, started = Console(), perf_counter()
    with tempfile.TemporaryDirectory(prefix="setsail-demo-") as folder:
        zoo: dict[str, tuple[Trained, setsail.Artifact]] = {}
        for name, train in TRAINERS.items():
            trained = train()
            console.rule(f"[bold]{trained.title}", align="left")
            zoo[name] = (trained, packed(console, name, trained, Path(folder)))
        console.rule("[bold]One server, every wire", align="left")
        artifacts = [artifact for _, artifact in zoo.values()]
        with setsail.serve(*artifacts, port=0, admin_port=0, block=False) as server:
            console.print(f"every wire at {server.url}, docs at {server.admin_url}/docs")
            agreed = asked(console, server.url, zoo)
            for artifact in artifacts:
                artifact.close()
        agreed &= afterwards(console, zoo["cancer"][0], Path(folder))
    verdict = (
        "[green]every answer is the source model's own" if agreed else "[red]some answers differ, or an alarm was wrong"
    )
    console.print(f"{verdict}[/] ({len(zoo)} models) in {perf_counter() - started:.0f} s")
    return 0 if agreed else 1


def packed(console: Console, name: str, trained: Trained, folder: Path) -> setsail.Artifact:
    def progress(line: str) -> None:
        console.print(f"[dim]{line}", highlight=False)

    file = folder / f"{name}.setsail"
    model = trained.model(folder) if trained.around else trained.model
    artifact = setsail.pack(model, trained.example, name=name, output=file, progress=progress, **trained.options)
    if trained.around:
        progress("putting its steps around it")
        artifact = trained.around(artifact, file)
    console.print(f"{file.name}: {file.stat().st_size / 1024:.0f} KiB, {artifact.signature}", highlight=False)
    console.print(str(artifact.parity), highlight=False)
    return artifact


def asked(console: Console, url: str, zoo: dict[str, tuple[Trained, setsail.Artifact]]) -> bool:
    """Ask every model over every wire, print the table, say whether all agreed."""
    table = Table(
        "model",
        "wire",
        "answer",
        "source model",
        "1 row",
        "agree",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
    )
    client, good = Client(url), True
    for name, (trained, artifact) in zoo.items():
        signature, truth = artifact.signature, trained.scores(trained.rows)
        inputs = columns(artifact, trained.rows)
        one: Inputs = {k: v[:1] for k, v in inputs.items()}
        for wire, ask in (WIRES | (FILES if signature.inputs[0].content else {})).items():
            served = np.asarray(ask(client, name, signature, inputs, trained.output), dtype=float)
            agrees = rows_that_agree(served, truth)
            seconds = []
            for _ in range(REPEATS):
                begin = perf_counter()
                ask(client, name, signature, one, trained.output)
                seconds.append(perf_counter() - begin)
            good &= agrees == len(truth)
            colour = "green" if agrees == len(truth) else "red"
            table.add_row(name, wire, trained.shown(served[0]), trained.shown(truth[0]),
                          f"{median(seconds) * 1000:.2f} ms", f"[{colour}]{agrees}/{len(truth)}")  # fmt: skip
        table.add_section()
    client.connection.close()
    console.print(table)
    return good


def columns(artifact: setsail.Artifact, rows: object) -> dict[str, np.ndarray]:
    """The rows as the signature's inputs: one array, or one for each column of a frame."""
    inputs = artifact.signature.inputs
    if len(inputs) == 1:
        return {inputs[0].name: np.asarray(rows)}
    return {spec.name: rows[spec.name].to_numpy() for spec in inputs}  # type: ignore[index]


def rows_that_agree(served: np.ndarray, truth: np.ndarray) -> int:
    """By the parity rule of packing, row by row."""
    if served.shape != truth.shape:
        return 0
    close = np.abs(served - truth) <= ABSOLUTE + RELATIVE * np.abs(truth)
    return int(close.reshape(len(truth), -1).all(axis=1).sum())


if __name__ == "__main__":
    sys.exit(main())
