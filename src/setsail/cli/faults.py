"""From any exception to the one error that is printed, and its printing."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from setsail.cli.console import printable, write_document
from setsail.errors import SetsailError

__all__ = ["DEBUG", "Tell", "as_error"]

DEBUG: Final = "SETSAIL_DEBUG"


def as_error(fault: BaseException) -> SetsailError:
    """An exception as an error of the table: usage, a refusal of the operating system, Ctrl-C, or a bug."""
    if isinstance(fault, SetsailError):
        return fault
    if isinstance(fault, KeyboardInterrupt | click.Abort):
        return SetsailError("command.interrupted", "interrupted")
    if isinstance(fault, click.ClickException):
        context = getattr(fault, "ctx", None)
        path = context.command_path if context is not None else "setsail"
        return SetsailError("command.usage", fault.format_message().rstrip("."), todo=f"see {path} --help")
    if isinstance(fault, ModuleNotFoundError) and fault.name:
        return _missing(fault.name.partition(".")[0])
    if isinstance(fault, OSError):
        name = fault.filename if isinstance(fault.filename, str) else None
        reason = fault.strerror or type(fault).__name__
        return SetsailError("command.system", f"{name}: {reason}" if name else reason, field=name)
    if isinstance(fault, MemoryError):
        return SetsailError("command.system", "there is not enough memory")
    lines = str(fault).strip().splitlines() or [""]
    return SetsailError("command.fault", f"{type(fault).__name__}: {lines[0]}".rstrip(": "))


def _missing(package: str) -> SetsailError:
    """A package that nobody on the way knew to ask for: of an extra, or of the core."""
    extra = import_module("setsail.convert.formats").EXTRAS.get(package)
    line = f'pip install "setsail[{extra}]"' if extra else "pip install --force-reinstall setsail"
    return SetsailError("dependency.missing", f"{package} is not installed", field=package, todo=f"run: {line}",
                        command=line)  # fmt: skip


class Tell:
    """Prints an error the way the command line asked for, before that line may even have been understood."""

    def __init__(self, args: Sequence[str]) -> None:
        self._json = "--json" in args

    def fault(self, error: SetsailError, cause: BaseException) -> int:
        """Print it. Returns the exit code."""
        if os.environ.get(DEBUG) and not isinstance(cause, click.ClickException | click.Abort):
            traceback.print_exception(cause, file=sys.stderr)
        if self._json:
            write_document({"error": error.to_json()})
            return error.kind.exit
        return self.error(error)

    def error(self, error: SetsailError) -> int:
        """Print it for people, on standard error. Returns the exit code."""
        if error.code == "command.interrupted":
            click.echo("interrupted", err=True)
            return error.kind.exit
        report = error.facts.get("report")
        if isinstance(report, dict):
            click.echo(str(import_module("setsail.parity").ParityReport.from_json(report)), err=True)
        click.echo(
            f"{click.style('error:', fg='red', bold=True)} {printable(_clauses(error))} [{error.code}]", err=True
        )
        command = error.facts.get("command")
        if isinstance(command, str):
            click.echo(f"  to install it:\n{command}", err=True)
        else:
            hint = printable(error.todo[:1].upper() + error.todo[1:])
            click.echo(f"  {click.style('hint:', bold=True)} {hint}", err=True)
        return error.kind.exit


def _clauses(error: SetsailError) -> str:
    parts = [error.what]
    if error.value is not None:
        parts.append(f"got {error.value}")
    if error.expected is not None:
        parts.append(f"expected {error.expected}")
    return "; ".join(parts)
