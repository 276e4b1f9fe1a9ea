"""What a directory was saved with, against what is installed here: notes for the artifact."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from setsail.convert import yaml_file
from setsail.convert.mlflow.document import Document
from setsail.errors import SetsailError

__all__ = ["notes"]

_PIN: Final = re.compile(
    r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([A-Za-z0-9.+!_-]{1,64})\s*(?:[;#].*)?$"
)
_MAX: Final = 1 << 20
_IMPORTED_AS: Final = {"scikit-learn": "sklearn", "xgboost-cpu": "xgboost", "tensorflow-cpu": "tensorflow"}


def notes(document: Document, used: Mapping[str, str]) -> list[str]:
    """One for each package that took part in the conversion in another version than the model was saved with.

    Args:
        used: version by package, as the conversion says.
    """
    saved = dict(_pins(document.folder))
    ours = {_plain(name): version for name, version in used.items()}
    found = []
    for name, version in sorted(saved.items()):
        here = ours.get(_plain(_IMPORTED_AS.get(name, name)), ours.get(_plain(name)))
        if here is not None and here.partition("+")[0] != version.partition("+")[0]:
            found.append(f"saved with {name} {version}, converted with {here}")
    python = str((document.pyfunc or {}).get("python_version") or "")
    if re.fullmatch(r"\d+\.\d+(\.\d+)?", python) and python.split(".")[:2] != platform.python_version().split(".")[:2]:
        found.append(f"saved by Python {python}, converted by {platform.python_version()}")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(folder: Path) -> Iterator[tuple[str, str]]:
    """Exact versions, from requirements.txt or else conda.yaml. What is not one is not looked at."""
    for line in _lines(folder):
        if found := _PIN.match(line):
            yield _plain(found[1]), found[2]


def _lines(folder: Path) -> list[str]:
    file = folder / "requirements.txt"
    if file.is_file() and file.stat().st_size <= _MAX:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    if not (folder / "conda.yaml").is_file():
        return []
    try:
        body: Any = yaml_file.read(folder / "conda.yaml")
    except SetsailError:  # advice is not worth refusing a model for
        return []
    wanted = body.get("dependencies") if isinstance(body, dict) else None
    found: list[str] = []
    for entry in wanted if isinstance(wanted, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("pip"), list):
            found += [str(line) for line in entry["pip"]]
        elif isinstance(entry, str):
            found.append(re.sub(r"^([^=<>!]+)=([^=].*)$", r"\1==\2", entry))
    return found
