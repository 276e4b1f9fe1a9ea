"""Configuration files of other servers: which reader reads which, and what every reader makes of one.

`--config FILE` takes our own TOML, or a file in a flavour's own format, known by its name, else by `--as`. A reader is
a function `read(path) -> Foreign` in a module of this folder, imported when such a file is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from setsail.catalog import Control

__all__ = ["FORMATS", "Foreign", "Format", "read"]


class Foreign(Struct, frozen=True):
    """What a file of another server says, in our terms.

    Attributes:
        settings: rows of `settings.py` by their Python names; variables of the environment and flags beat them. Ports
            go into `ports` ("8080=9080": the flavour's own number, then the one to use), addresses into `host` (data)
            and `admin_host` (management).
        paths: what to open besides the PATHs of the command line, each with the name to serve it under, if any.
        asks: what to do once those are open, in this order, as if a client with control had asked: `Configure`,
            `Register`, `SetDefault`. A fault of one ends the start.
        notes: what was understood and does not carry over, a sentence each; `setsail serve` prints them.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[tuple[Path, str | None], ...] = ()
    asks: tuple[Control, ...] = ()
    notes: tuple[str, ...] = ()


class Format(Struct, frozen=True):
    """A format: whose it is, how its files are called, and its reader, as `module:function`."""

    flavour: str
    suffixes: tuple[str, ...]
    reader: str


FORMATS: Final = (
    Format("torchserve", (".properties",), "setsail.server.foreign.torchserve:read"),
    Format("tfserving", (".config", ".pbtxt"), "setsail.server.foreign.tfserving:read"),
    Format("mlserver", (".json",), "setsail.server.foreign.mlserver:read"),
)


def read(path: Path, flavour: str = "") -> Foreign | None:
    """What a file of another server says; None for one of ours, TOML. Its flavour is part of its settings.

    Args:
        flavour: who is to be imitated; a file whose name says nothing is read as that server's.

    Raises:
        SetsailError: `setting.value` for what the reader cannot make sense of.
    """
    named = [row for row in FORMATS if path.suffix in row.suffixes]
    asked = [row for row in FORMATS if row.flavour == flavour and path.suffix != ".toml"]
    for row in (*named, *asked):
        module, _, name = row.reader.partition(":")
        found: Foreign = getattr(import_module(module), name)(path)
        return replace(found, settings={"as_": row.flavour} | dict(found.settings))
    return None
