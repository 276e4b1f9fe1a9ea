"""Libraries that a package takes for granted of a system, and slim bases lack: taken from a wheel that carries them.

Debian's `libgomp1` is the case: LightGBM's wheel asks for `libgomp.so.1`, which Docker's slim Python has not, and an
image is made without a package manager. Other wheels bring a copy, built for every Linux of their tag; the same file
answers under the name that is asked for. It lies in `/opt/setsail/lib`, where `LD_LIBRARY_PATH` has the loader look.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from setsail.errors import SetsailError
from setsail.targets.container.base import Facts
from setsail.targets.container.runtime import member
from setsail.targets.container.wheels import Wheel, wheels

__all__ = ["Library", "libraries"]


@dataclass(frozen=True, slots=True)
class _Carrier:
    """Where a library is found: a package, its version, and the file in its wheel; and what the file is."""

    package: str
    version: str
    file: re.Pattern[str]
    title: str
    licence: str


@dataclass(frozen=True, slots=True)
class Library:
    """One shared library that an image gets beside its packages.

    Attributes:
        name: under which the loader looks for it. title, licence: for the bill of materials.
        source: the wheel it was taken from, as a package URL.
    """

    name: str
    data: bytes
    title: str
    licence: str
    source: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


# Package -> what its wheel asks of the system beyond the C and C++ libraries that every base with Python has.
_ASKED: Final[Mapping[str, tuple[str, ...]]] = {"lightgbm": ("libgomp.so.1",)}
_CARRIERS: Final[Mapping[str, _Carrier]] = {
    "libgomp.so.1": _Carrier("xgboost-cpu", "3.2.0", re.compile(r"xgboost_cpu\.libs/libgomp-[^/]*\.so\.1[^/]*"),
                             "libgomp", "GPL-3.0-or-later WITH GCC-exception-3.1"),
}  # fmt: skip


def libraries(parts: Sequence[Wheel], facts: Facts) -> tuple[Library, ...]:
    """What the packages of an image ask for and its base has not; all they ask for where no base was seen.

    Raises:
        SetsailError: `ship.fetch` where the wheel with the library cannot be had, or is another than it was.
    """
    asked = {name for part in parts for name in _ASKED.get(part.name, ())} - facts.libraries
    return tuple(_taken(name, facts) for name in sorted(asked))


def _taken(name: str, facts: Facts) -> Library:
    carrier = _CARRIERS[name]
    (wheel,) = wheels({carrier.package: carrier.version}, facts)
    data = member(wheel, carrier.file)
    if data is None:
        raise SetsailError("ship.fetch", f"the wheel of {carrier.package} {carrier.version} has no {name} in it",
                           field="--base", todo="give a base that has it")  # fmt: skip
    return Library(name, data, carrier.title, carrier.licence, f"pkg:pypi/{carrier.package}@{carrier.version}")
