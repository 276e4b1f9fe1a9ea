"""`app.py:predict`: which function of which file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from setsail.errors import SetsailError

__all__ = ["Spec", "is_spec"]

_TEXT: Final = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")


class Spec(NamedTuple):
    """A function by file and name."""

    file: Path
    name: str

    @classmethod
    def parse(cls, text: str | Path) -> Spec:
        """Read it. Raises `app.load` for another text, `source.missing` where there is no such file."""
        match = _TEXT.fullmatch(str(text))
        if match is None:
            raise SetsailError(
                "app.load", "this does not name a function", field="PATH", value=str(text), expected="FILE.py:FUNCTION",
                todo="name a file and a function: app.py:predict",
            )  # fmt: skip
        file = Path(match["file"])
        if not file.is_file():
            raise SetsailError("source.missing", f"there is no file {file}", field="PATH", value=str(text))
        return cls(file.absolute(), match["name"])

    def __str__(self) -> str:
        return f"{self.file.name}:{self.name}"


def is_spec(path: Path) -> bool:
    """Whether a PATH is meant as a function. A file that really has such a name is a file."""
    return _TEXT.fullmatch(str(path)) is not None and not path.exists()
