"""A model store of TorchServe: archives side by side, each a version of a model (docs/frameworks/torchserve.md).

What becomes of each is a plan that is printed at the start: a program with steps, code in a process of its own, or
refused, with the reason. An artifact `x.setsail` beside `x.mar` stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

from setsail.convert import mar
from setsail.errors import SetsailError
from setsail.serving.management import NAME
from setsail.serving.repository import Found, refuse_twins, stamp
from setsail.serving.repository import scan as artifacts

__all__ = ["archives", "is_one", "notes", "plan", "scan"]

_TARS: Final = (".tar.gz", ".tgz")
_SUFFIX: Final = ".setsail"
_APPS: Final = "setsail.server.apps"


def is_one(path: Path, flavour: str) -> bool:
    """Whether a directory is a model store: one that holds a `.mar`, or with `--as torchserve` any archive."""
    if (path / mar.MANIFEST).is_file():
        return False
    return next(path.glob("*.mar"), None) is not None or (flavour == "torchserve" and any(archives(path)))


def archives(path: Path) -> Iterator[Path]:
    """The archives in a directory, packed or as folders, for which no artifact stands."""
    for place in sorted(path.iterdir()):
        stem = place.name.partition(".tar.gz")[0].removesuffix(".mar").removesuffix(".tgz")
        if place.name.startswith(".") or (path / f"{stem}{_SUFFIX}").is_file():
            continue
        packed = place.name.endswith(".mar") or (place.name.endswith(_TARS) and mar.holds(place))
        if packed or (place / mar.MANIFEST).is_file():
            yield place


def scan(path: Path) -> dict[Path, Found]:
    """What versions a model store holds: of its archives, and the artifacts beside them."""
    found = {place: one for place, one in artifacts(path).items() if place.name.endswith(_SUFFIX)}
    for place in archives(path):
        try:
            about = mar.archive(place)
        except SetsailError as fault:
            found[place] = Found(place, _named(place.name.partition(".")[0]), 1, stamp(place), fault)
            continue
        found[place] = Found(place, _named(about.name), about.version, stamp(place))
    return refuse_twins(found)


def _named(name: str) -> str | None:
    return name if NAME.fullmatch(name) else None


def notes(path: Path, trust: tuple[str, ...]) -> tuple[str, ...]:
    """The plan, a line an archive."""
    return tuple(f"{place.name}: {plan(place, trust)}" for place in archives(path))


def plan(place: Path, trust: tuple[str, ...]) -> str:
    """What becomes of an archive, and the trust that it lacks."""
    try:
        found = mar.archive(place)
        if not mar.handled(found):
            import_module(_APPS).entry_of(place)
    except SetsailError as fault:
        return f"refused: {fault}"
    what = "a program with steps" if mar.handled(found) else "its own code, in a process of its own"
    kind = mar.trust(found)
    return what if kind is None or kind in trust else f"{what}; needs --trust {kind}"
