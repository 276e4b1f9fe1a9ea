"""Functions as models of a server: from settings and `app.py:predict` to something a house opens.

Imported when a function is served and not before: a server of artifacts has nothing of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from setsail.apps.runner import AppRunner
from setsail.apps.spec import Spec
from setsail.apps.terms import Terms
from setsail.errors import SetsailError
from setsail.server.settings import Settings
from setsail.serving.leases import Facts, Loaded
from setsail.serving.samples import example

__all__ = ["TRUST", "App", "app", "is_trusted"]

TRUST: Final = "app"


@dataclass(frozen=True)
class App:
    """See `serving.hosting.Hosted`."""

    spec: Spec
    terms: Terms
    name: str
    version: int = 1

    @property
    def source(self) -> str:
        return str(self.spec)

    def open(self, look: Callable[[Any], object]) -> Loaded:
        """Start its process. Raises `app.load`, `app.hints` or `source.sandbox`."""
        digest = hashlib.sha256(self.spec.file.read_bytes()).hexdigest()
        runner = AppRunner(self.spec, self.terms, self.name, look)
        # Rows of one call never see each other, or are one array by the function's own word; so requests may share it.
        facts = Facts(f"Python {runner.python}", example(runner.signature, None), "function", digest, runner.ladder(),
                      invariant=True, apart=True)  # fmt: skip
        return Loaded(runner, facts)


def is_trusted(settings: Settings) -> bool:
    """Whether functions may be run."""
    return TRUST in _listed(settings.trust)


def app(path: Path, name: str | None, settings: Settings) -> App:
    """The function that a PATH names, on the operator's terms.

    Raises:
        SetsailError: `source.trust` unless `--trust app` was given; `source.missing`.
    """
    spec = Spec.parse(path)
    if not is_trusted(settings):
        raise SetsailError("source.trust", f"serving {spec} runs the code in it", field="--trust",
                           expected=f"--trust {TRUST}", todo=f"if you trust the file, add --trust {TRUST}")  # fmt: skip
    terms = Terms(
        python=settings.app_python, sandbox=settings.app_sandbox == "on", network=settings.app_network == "on",
        seconds=settings.app_timeout, start_seconds=settings.app_start_timeout, memory=settings.app_memory,
        environment=_listed(settings.app_env), readable=_listed(settings.app_read), threads=settings.threads,
    )  # fmt: skip
    return App(spec, terms, name or spec.name)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
