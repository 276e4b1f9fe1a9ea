"""The question before a function is served: its file is run, so somebody must say that they trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from setsail.cli.console import Console
from setsail.server.apps import TRUST, is_trusted
from setsail.server.settings import Settings

__all__ = ["asked"]


def asked(console: Console, paths: Sequence[Path], settings: Settings) -> Settings:
    """The settings, with trust in functions if a person at a terminal says so.

    Without a terminal nobody is asked, and the server refuses with `source.trust`.
    """
    if is_trusted(settings) or not console.interactive:
        return settings
    names = ", ".join(str(path) for path in paths)
    click.echo(f"Serving {names} runs the code in it, in a process of its own.", err=True)
    if console.yes or click.confirm("Do you trust where this code comes from?", err=True):
        return replace(settings, trust=",".join(filter(None, (settings.trust, TRUST))))
    return settings
