"""What verbs share: the class that prints examples under the help, the three flags of every verb, a check of -o."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from setsail.cli.console import Console
from setsail.errors import SetsailError

__all__ = ["Verb", "check_folder", "verb"]


class Verb(click.Command):
    """A command with examples; every help text ends with lines that can be typed."""

    examples: Sequence[tuple[str, str]] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for line, meaning in self.examples:
                formatter.write(f"  # {meaning}\n  {line}\n")


def verb(
    name: str, summary: str, *, examples: Sequence[tuple[str, str]]
) -> Callable[[Callable[..., int | None]], Verb]:
    """Make a function `(console, …) -> exit code or None` a verb.

    Args:
        summary: the help text above the options.
        examples: (command line, what it does).
    """

    def decorate(function: Callable[..., int | None]) -> Verb:
        @functools.wraps(function)
        def called(*args: Any, as_json: bool, quiet: bool, yes: bool, **given: Any) -> int | None:
            return function(Console(as_json, quiet, yes), *args, **given)

        for option in (_YES, _QUIET, _JSON):
            called = option(called)
        made: Verb = click.command(name, cls=Verb, help=summary)(called)
        made.examples = examples
        return made

    return decorate


def check_folder(output: Path) -> None:
    """Refuse an output whose folder is not there, before any work is done."""
    if not output.parent.is_dir():
        raise SetsailError("command.usage", f"there is no folder {output.parent}", field="-o", value=str(output),
                           todo="make it first")  # fmt: skip


_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
_QUIET = click.option("--quiet", "-q", is_flag=True, help="Print the result only.")
_YES = click.option("--yes", "-y", is_flag=True, help="Answer questions with yes.")
