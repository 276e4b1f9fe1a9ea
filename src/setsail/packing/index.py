"""What a package index has of recorded versions today: there, yanked, or gone.

The index is pip's own: PIP_INDEX_URL, else pip's configuration files, else the public one. It is asked in the JSON form
of its simple API (PEP 691), for the recorded packages and nothing else, with a short patience: where nobody answers,
that is said, and nothing is concluded.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from setsail.packing.environment import normal

__all__ = ["Answers", "Fate", "address", "ask"]

_DEFAULT: Final = "pip._internal.models.index"  # where pip keeps the address that it asks by itself
_FORM: Final = "application/vnd.pypi.simple.v1+json"
_PATIENCE: Final = 5.0  # seconds for one answer
_ALTOGETHER: Final = 45.0
_LARGEST: Final = 64 << 20
_MOST: Final = 500  # packages; a record has tens
_AT_ONCE: Final = 8
_ENDINGS: Final = (".tar.gz", ".tar.bz2", ".zip", ".whl")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recorded version: `there`, `yanked`, `gone` (the package is there), `unlisted` (it is not)."""

    name: str
    version: str
    state: str
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "state": self.state, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Answers:
    """What the index said. `url` is without credentials; `fault` says why nothing, or not everything, is known."""

    url: str
    fates: tuple[Fate, ...] = ()
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"url": self.url, "reachable": bool(self.fates), "fault": self.fault or None,
                "versions": [fate.to_json() for fate in self.fates]}  # fmt: skip

    def __str__(self) -> str:
        if not self.fates:
            return f"the package index was not asked: {self.fault}"
        there = sum(fate.state == "there" for fate in self.fates)
        lines = [f"{self.url} has {there} of {len(self.fates)} recorded versions"]
        lines += [f"  {fate.name:<20} {fate.version}  {_TOLD[fate.state]}{': ' if fate.reason else ''}{fate.reason}"
                  for fate in self.fates if fate.state != "there"]  # fmt: skip
        return "\n".join([*lines, *([f"  not all were asked: {self.fault}"] if self.fault else [])])


_TOLD: Final[Mapping[str, str]] = {
    "yanked": "was yanked",
    "gone": "is there no longer",
    "unlisted": "is of a package that is not on this index",
}


def ask(packages: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> Answers:
    """Look the recorded versions up. Raises nothing: an index that cannot be asked is an answer."""
    if environment.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on"):
        return Answers("", fault="PIP_NO_INDEX says not to")
    url = address(environment)
    shown = _shown(url)
    if not url:
        return Answers("", fault="no index is configured: set PIP_INDEX_URL")
    if urlsplit(url).scheme not in ("http", "https"):
        return Answers(shown, fault=f"{shown} is no index of the web")
    end = monotonic() + _ALTOGETHER
    names = sorted(packages)[:_MOST]
    if not names:
        return Answers(shown, fault="no packages were recorded")
    found: dict[str, Fate] = {}
    faults: list[str] = []

    def look(name: str) -> None:
        if monotonic() > end or (faults and not found):  # the first failure of all: nobody is there
            return
        try:
            found[name] = _fate(name, packages[name], _page(url, name))
        except (OSError, ValueError) as fault:
            faults.append(_why(fault))

    look(names[0])  # alone, so that a machine without a network waits once
    if found:
        with ThreadPoolExecutor(_AT_ONCE, "setsail-index") as pool:
            list(pool.map(look, names[1:]))
    fault = faults[0] if faults else "" if len(found) == len(names) else "it took too long"
    return Answers(shown, tuple(found[name] for name in names if name in found), fault)


def address(environment: Mapping[str, str] = os.environ) -> str:
    """The URL of pip's index; "" where none is configured and there is no pip to have one of its own."""
    return (environment.get("PIP_INDEX_URL") or _configured(environment) or _default()).rstrip("/")


def _default() -> str:
    try:
        return str(import_module(_DEFAULT).PyPI.simple_url)
    except (ImportError, AttributeError):
        return ""


def _configured(environment: Mapping[str, str]) -> str:
    """As pip reads its files: what comes later beats what came before."""
    home = Path(environment.get("HOME") or Path.home())
    own = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", own / "pip/pip.conf", Path(sys.prefix) / "pip.conf"]
    if named := environment.get("PIP_CONFIG_FILE"):
        files = [] if named == os.devnull else [*files, Path(named)]
    found = ""
    for file in files:
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(file, encoding="utf-8")
        except (ConfigError, OSError, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            found = parser.get(section, "index-url", fallback=found)
    return found.strip()


def _shown(url: str) -> str:
    """A URL without user and password."""
    split = urlsplit(url)
    return urlunsplit((split.scheme, split.netloc.rpartition("@")[2], split.path, "", ""))


# -- one package --------------------------------------------------------------------------------------------------


def _page(url: str, name: str) -> Mapping[str, Any] | None:
    """What the index has of a package; None where it has nothing. Raises OSError or ValueError."""
    request = urllib.request.Request(f"{_shown(url)}/{quote(name)}/", headers={"Accept": _FORM})
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    if at:
        token = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:
            if not reply.headers.get_content_type().endswith("+json"):
                raise ValueError("the index does not speak JSON (PEP 691)")
            body = json.loads(reply.read(_LARGEST))
    except urllib.error.HTTPError as fault:
        with fault:
            if fault.code in (404, 410):
                return None
            raise ValueError(f"the index answers {fault.code}") from fault
    if not isinstance(body, dict) or not isinstance(body.get("files"), list):
        raise ValueError("the index answers something else than a project's files")
    return body


def _fate(name: str, version: str, page: Mapping[str, Any] | None) -> Fate:
    """A build of one's own (`2.13.0+cpu`) is there as what it was built of."""
    if page is None:
        return Fate(name, version, "unlisted")
    for wanted in dict.fromkeys((version, version.partition("+")[0])):
        files = [file for file in page["files"] if isinstance(file, dict) and wanted in _versions(file, name)]
        yanked = [file.get("yanked") for file in files]
        if files and all(yanked):
            reason = next((text for text in yanked if isinstance(text, str)), "")
            return Fate(name, version, "yanked", _plain(reason))
        if files:
            return Fate(name, version, "there")
    return Fate(name, version, "gone")


def _versions(file: Mapping[str, Any], name: str) -> Iterator[str]:
    """The version in a file's name: `numpy-2.4.6-cp311-….whl`, `numpy-2.4.6.tar.gz`."""
    text = str(file.get("filename", ""))
    ending = next((end for end in _ENDINGS if text.endswith(end)), None)
    if ending is None:
        return
    stem = text.removesuffix(ending)
    if ending == ".whl":
        yield stem.split("-")[1] if "-" in stem else ""
    else:
        project, _, version = stem.rpartition("-")
        if normal(project) == normal(name):
            yield version


def _why(fault: Exception) -> str:
    reason = getattr(fault, "reason", None)
    return _plain(str(reason or fault or type(fault).__name__))


def _plain(text: str) -> str:
    """A stranger's text on one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200].strip()
