"""Code as models of a server: from settings and a path to something a house opens.

Imported when code is served and not before: a server of artifacts has nothing of it. A path is code when it names a
function (`app.py:predict`), or when what it holds is of a format of ENTRIES and that row's function says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from setsail import catalog
from setsail.apps.code import Entry
from setsail.apps.runner import AppRunner
from setsail.apps.spec import Spec, is_spec
from setsail.apps.terms import Terms
from setsail.errors import SetsailError
from setsail.server.settings import Settings
from setsail.serving.leases import Facts, Loaded
from setsail.serving.samples import example

__all__ = ["ENTRIES", "App", "app", "entry_of", "instead", "is_trusted", "kind_of"]

# Format of `convert/formats.py` -> `module:function`, path -> Entry; or None for a model that is to be packed.
ENTRIES: Final[Mapping[str, str]] = {
    "mar-handler": "setsail.apps.torchserve.entry:entry",
    "mlflow-pyfunc": "setsail.apps.pyfunc_entry:entry",
    "sagemaker-script": "setsail.apps.scripts.entry:entry",
    "azure-script": "setsail.apps.scripts.entry:entry",
}
# What would be packed, but only with trust in a format that was not given: the format it is as code.
AS_CODE: Final[Mapping[str, str]] = {"mlflow": "mlflow-pyfunc"}
# A file whose path means that the folder around it is code, whatever else it could be: the format it is then.
_MARKS: Final[Mapping[str, str]] = {"MLmodel": "mlflow-pyfunc"}
_DAMAGED: Final = ("source.damaged", "source.missing")
_ARTIFACT: Final = ".setsail"


@dataclass(frozen=True)
class App:
    """See `serving.hosting.Hosted`."""

    entry: Entry
    terms: Terms
    name: str
    version: int = 1

    @property
    def source(self) -> str:
        return self.entry.title

    def on(self, terms: catalog.Terms) -> App:
        """With the batches that were asked for; one request a call is what nobody asked for."""
        if terms.batch_size <= 1:
            return self
        options = {**self.entry.options, "batch_size": terms.batch_size}
        entry = replace(self.entry, options=options, max_batch=terms.batch_size, delay=terms.max_delay_ms / 1000)
        return replace(self, entry=entry)

    def open(self, look: Callable[[Any], object]) -> Loaded:
        """Start its process. Raises `app.load`, `app.hints` or `source.sandbox`."""
        entry = self.entry
        digest = entry.digest or hashlib.sha256(entry.place.read_bytes()).hexdigest()
        runner = AppRunner(entry, self.terms, self.name, look)
        # Rows of one call never see each other, or are one array by the code's own word; so requests may share it.
        facts = Facts(f"Python {runner.python}", example(runner.signature, None), entry.kind, digest, runner.ladder(),
                      invariant=True, apart=True, delay=entry.delay)  # fmt: skip
        return Loaded(runner, facts)


def is_trusted(settings: Settings, kind: str) -> bool:
    """Whether code of a `--trust` kind may be run."""
    return kind in _listed(settings.trust)


def entry_of(path: Path, trust: Collection[str] = ()) -> Entry | None:
    """The code that a PATH means; None where it is an artifact, a model to be packed, or a repository.

    Args:
        trust: the kinds that are given. A model that can be packed or run as code is what they allow.

    Raises:
        SetsailError: `source.missing`, and what is wrong with code of a format that is known.
    """
    if is_spec(path):
        named: Entry = Spec.parse(path).entry
        return named
    found = _code(path, trust)
    if found is None:
        return None
    name, place = found
    module, _, function = ENTRIES[name].partition(":")
    entry: Entry | None = getattr(import_module(module), function)(place)
    return entry


def kind_of(path: Path, trust: Collection[str] = ()) -> str | None:
    """The `--trust` kind that a path of code takes; None where it is none. Nothing is unpacked, nor looked for."""
    found = _code(path, trust)
    return None if found is None else import_module("setsail.convert").FORMATS[found[0]].trust


def instead(path: Path, fault: SetsailError, trust: Collection[str] = ()) -> Path | None:
    """What is served of a model that cannot be packed, but can be run as code: a path that means so.

    Args:
        fault: why it cannot be packed. What is damaged is no code either.
        trust: the kinds that are given.

    Returns:
        None where there is no such way, or nobody trusts it; then the fault's advice tells of it.
    """
    try:
        form = AS_CODE.get(import_module("setsail.convert").recognise(path).format) if path.is_dir() else None
        mark = next((path / name for name, other in _MARKS.items() if other == form), None)
        if mark is None or fault.code in _DAMAGED or entry_of(mark) is None:
            return None
    except SetsailError:
        return None
    kind = import_module("setsail.convert").FORMATS[form].trust
    if kind in trust:
        return mark
    fault.todo = f"{fault.todo}, or serve it as it is with --trust {kind}"
    return None


def _code(path: Path, trust: Collection[str]) -> tuple[str, Path] | None:
    """The format of code at a path, and where it is."""
    if not ENTRIES or path.suffix == _ARTIFACT or not path.exists():
        return None
    if path.name in _MARKS and path.is_file():
        return _MARKS[path.name], path.parent
    convert = import_module("setsail.convert")
    try:
        found = convert.recognise(path)
    except SetsailError:  # whoever packs it says what is wrong
        return None
    name = found.format
    other = AS_CODE.get(name)
    if other and found.trust is not None and found.trust not in trust and convert.FORMATS[other].trust in trust:
        name = other
    return (name, found.path) if name in ENTRIES else None


def app(path: Path, name: str | None, settings: Settings) -> App | None:
    """The code that a PATH means, on the operator's terms; None where it means none.

    Raises:
        SetsailError: `source.trust` unless `--trust` names its kind; `dependency.missing` while the environment that it
            asks for was not made; what `entry_of` raises.
    """
    entry = entry_of(path, _listed(settings.trust))
    if entry is None:
        return None
    if not is_trusted(settings, entry.trust):
        raise SetsailError("source.trust", f"serving {entry.title} runs the code in it", field="--trust",
                           expected=f"--trust {entry.trust}",
                           todo=f"if you trust the file, add --trust {entry.trust}")  # fmt: skip
    if entry.requirements and not settings.app_python:  # an interpreter that was named has what is needed
        made = import_module("setsail.apps.environments").find(entry.requirements, path)
        entry = replace(entry, python=made.python, readable=(*entry.readable, *made.readable))
    terms = Terms(
        python=settings.app_python, sandbox=settings.app_sandbox == "on", network=settings.app_network == "on",
        seconds=settings.app_timeout, start_seconds=settings.app_start_timeout, memory=settings.app_memory,
        environment=_listed(settings.app_env), readable=_listed(settings.app_read), threads=settings.threads,
    )  # fmt: skip
    return App(entry, terms, name or entry.name, entry.version)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
