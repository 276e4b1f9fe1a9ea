"""Printing: results on standard output, everything else on standard error.

`rich` is imported only where a terminal shows a spinner, a bar or colours, so that `setsail serve` starts without it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Final

import click

__all__ = ["Bar", "Console", "Stages", "printable", "write_document"]

_COLOURS: Final[Sequence[tuple[str, str]]] = (
    (r"\bFAILED\b|DANGEROUS", "bold red"), (r"\bok\b|\bpassed\b", "green"), (r"^\S.*", "bold"),
    (r"^  [a-z]+(?=  )", "cyan"),
)  # fmt: skip


def write_document(document: Mapping[str, Any], *, end: str | None = None) -> None:
    """The one JSON document of `--json`, on one line. JSON has no NaN and no infinity: they become null.

    Args:
        end: instead of the closing brace, where the caller goes on with a value too large for memory.
    """
    text = json.dumps(_finite(document), ensure_ascii=False, allow_nan=False)
    click.echo(text if end is None else text[:-1] + end, nl=end is None)


def printable(text: str) -> str:
    """Text that may come out of a stranger's file, without terminal escapes; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


@dataclass(frozen=True, slots=True)
class Console:
    """How one verb talks: `json` silences everything but one document, `quiet` everything but the result."""

    json: bool = False
    quiet: bool = False
    yes: bool = False

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.json

    def result(self, text: str, document: Mapping[str, Any], *, coloured: bool = True) -> None:
        """What the verb was asked for, once: text for people or the document for machines.

        Args:
            coloured: False keeps rich out where every millisecond counts.
        """
        if self.json:
            write_document(document)
        elif coloured and sys.stdout.isatty():
            self._coloured(text)
        else:
            click.echo(text)

    @staticmethod
    def _coloured(text: str) -> None:
        rich = import_module("rich.console").Console(highlight=False, soft_wrap=True)
        shown = import_module("rich.text").Text(text)
        for pattern, style in _COLOURS:
            shown.highlight_regex(f"(?m){pattern}", style)
        rich.print(shown)

    def note(self, text: str) -> None:
        """Something worth knowing that is not the result."""
        if not self.quiet and not self.json:
            click.echo(text, err=True)

    def next(self, *commands: str) -> None:
        """What to type next."""
        if not self.quiet and not self.json:
            click.echo("next:" + "".join(f"\n  {command}" for command in commands), err=True)

    def stages(self) -> Stages:
        return Stages(shown=not (self.quiet or self.json))

    def bar(self, title: str, *, beside_output: bool) -> Bar:
        """A progress bar on a terminal; not where the output goes to the same terminal, which it would garble."""
        crossed = beside_output and sys.stdout.isatty()
        return Bar(title, shown=not (self.quiet or self.json or crossed) and sys.stderr.isatty())


class Stages:
    """Progress in stages: on a terminal a spinner that becomes a line when it is done, else plain lines."""

    def __init__(self, *, shown: bool) -> None:
        self._shown, self._text = shown, ""
        self._spinner: Any = None

    def __call__(self, text: str) -> None:
        if not self._shown:
            return
        if not sys.stderr.isatty():
            click.echo(f"{text} …", err=True)
            return
        self._done()
        self._text = text
        status = import_module("rich.status").Status
        escaped = import_module("rich.markup").escape(text)
        self._spinner = status(escaped, console=import_module("rich.console").Console(stderr=True))
        self._spinner.start()

    def pause(self) -> None:
        """Stop the spinner, to print or ask something."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _done(self) -> None:
        self.pause()
        if self._text:
            click.echo(f"{click.style('✓', fg='green')} {self._text}", err=True)
        self._text = ""

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._done()
        else:
            self.pause()


class Bar:
    """A progress bar of a fraction and a row count; shown on a terminal only."""

    def __init__(self, title: str, *, shown: bool) -> None:
        self._title, self._shown = title, shown
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        if self._shown:
            progress = import_module("rich.progress")
            columns = (
                progress.TextColumn("{task.description}"), progress.BarColumn(), progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[rows]:,} rows"), progress.TimeRemainingColumn(),
            )  # fmt: skip
            console = import_module("rich.console").Console(stderr=True)
            self._bar = progress.Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task(self._title, total=1.0, rows=0)
            self._bar.start()
        return self

    def update(self, fraction: float, rows: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction, rows=rows)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
