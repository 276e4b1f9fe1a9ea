"""`setsail ship`: an artifact as something that a platform runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from setsail import artifact, targets
from setsail.cli.console import Console, Stages, printable
from setsail.cli.options import verb
from setsail.targets import Option, Plan

__all__ = ["command"]

_KINDS = {str: None, int: int, float: float, Path: click.Path(path_type=Path)}


@verb(
    "ship",
    "Turn FILE, an artifact, into something that a platform runs. Shows what will be written, in MB, with warnings; "
    "what is written is tried on the stored samples, and nothing is left of it where it answers otherwise.\n\n\b\n"
    + "\n".join(f"{name}: {targets.of(name).SUMMARY}" for name in targets.TARGETS),
    examples=(
        ("setsail ship credit-1.setsail --to browser -o site", "a static page that runs the model in the browser"),
        ("setsail ship credit-1.setsail --to browser -o site --force --yes", "the same again, asking nothing"),
        ("setsail ship credit-1.setsail --to container --base python.tar -o image", "an image, without a daemon"),
        (
            "setsail ship credit-1.setsail --to kubernetes -o k8s --image example/credit:1 --bench report.json",
            "manifests, a Helm chart and KServe objects, sized by what setsail bench measured",
        ),
        ("setsail ship credit-1.setsail --to ray -o ray --replicas 4 --nodes 2", "an application for Ray Serve"),
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice(tuple(targets.TARGETS)), help="What to write.")
@click.option("-o", "--output", metavar="DIR", required=True, type=click.Path(path_type=Path),
              help="Folder to write; made when it is not there.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a folder that was shipped before.")
def command(console: Console, file: Path, to: str, output: Path, force: bool, **given: Any) -> None:
    chosen = {name: value for name, value in given.items() if value not in (None, (), False)}
    with artifact.read(file) as opened, console.stages() as stages:
        shipped = targets.ship(opened, to, output, chosen, force=force, stage=stages,
                               told=lambda plan: _ask(console, stages, output, plan))  # fmt: skip
    console.result(printable(str(shipped)), shipped.to_json())
    console.next(*shipped.next)


def _ask(console: Console, stages: Stages, output: Path, plan: Plan) -> None:
    """Show the plan; a person at a terminal may say no."""
    stages.pause()
    lines = [(piece.name, "" if piece.size is None else targets.megabytes(piece.size), piece.what)
             for piece in plan.pieces]  # fmt: skip
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(2)]
    shown = [f"  {name:<{widths[0]}}  {size:>{widths[1]}}  {what}".rstrip() for name, size, what in lines]
    shown += [f"warning: {warning}" for warning in plan.warnings]
    console.note(printable("\n".join([f"{output}:", *shown])))
    if console.interactive and not (console.yes or click.confirm("Write it?", default=True, err=True)):
        raise click.Abort


def _flags() -> dict[str, list[tuple[str, Option]]]:
    """Option name -> the targets that have it."""
    found: dict[str, list[tuple[str, Option]]] = {}
    for name in targets.TARGETS:
        for option in targets.of(name).OPTIONS:
            found.setdefault(option.name, []).append((name, option))
    return found


def _flag(name: str, having: list[tuple[str, Option]]) -> Any:
    """One flag of the command line; where several targets have it, its help has a line of each."""
    first = having[0][1]
    told = " ".join(f"[{'/'.join(t for t, o in having if o.help == text)}] {text}" + _default(having, text)
                    for text in dict.fromkeys(o.help for _, o in having))  # fmt: skip
    flag = f"--{name.replace('_', '-')}"
    if first.kind is bool:
        return click.option(flag, name, is_flag=True, help=told)
    choices = tuple(dict.fromkeys(choice for _, o in having for choice in o.choices))
    kind = click.Choice(choices) if choices else _KINDS[first.kind]
    return click.option(flag, name, type=kind, multiple=first.many, help=told)


def _default(having: list[tuple[str, Option]], text: str) -> str:
    default = next(o.default for _, o in having if o.help == text)
    return "" if default in (None, (), False, "") else f" Default: {default}."


# Each option of a target is one more parameter of the verb.
for _name, _having in _flags().items():
    _made: Any = _flag(_name, _having)(lambda: None)
    command.params += _made.__click_params__
