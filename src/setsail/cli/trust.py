"""The question before code is served: it is run, so somebody must say that they trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from setsail.cli.console import Console
from setsail.errors import SetsailError
from setsail.server.apps import entry_of, is_trusted
from setsail.server.settings import Settings

__all__ = ["asked"]


def asked(console: Console, paths: Sequence[Path], settings: Settings) -> Settings:
    """The settings, with trust in the code that paths mean if a person at a terminal says so.

    Without a terminal nobody is asked, and the server refuses with `source.trust`.
    """
    for path in paths if console.interactive else ():
        try:
            entry = entry_of(path, settings.trust.split(","))
        except SetsailError:  # the server says it again, where faults are told
            continue
        if entry is None or is_trusted(settings, entry.trust):
            continue
        click.echo(f"Serving {entry.title} runs the code in it, in a process of its own.", err=True)
        if not (console.yes or click.confirm("Do you trust where this code comes from?", err=True)):
            break
        settings = replace(settings, trust=",".join(filter(None, (settings.trust, entry.trust))))
    return settings
