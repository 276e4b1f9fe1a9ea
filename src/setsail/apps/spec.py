"""`app.py:predict`: which function of which file."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any, Final, NamedTuple

from setsail.errors import SetsailError

__all__ = ["INSIDE", "Spec", "is_spec"]

INSIDE: Final = "SETSAIL_APP"  # in the environment of a process that has a function: which one

_CODE: Final = "setsail.apps.code"  # it knows tensors, and whoever only asks for a name waits for numpy
_TEXT: Final = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")


class Spec(NamedTuple):
    """A function by file and name."""

    file: Path
    name: str

    @classmethod
    def parse(cls, text: str | Path) -> Spec:
        """Read it. Raises `app.load` for another text, `source.missing` where there is no such file."""
        if INSIDE in os.environ:
            raise SetsailError("app.load", "the file of a function serves it on import", value=os.environ[INSIDE],
                               todo='call serve below: if __name__ == "__main__":')  # fmt: skip
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

    @classmethod
    def of(cls, function: FunctionType) -> Spec:
        """Where a function of this process is. Raises `app.load` where another process would not find it."""
        file = Path(function.__code__.co_filename)
        if function.__qualname__ != function.__name__ or not function.__name__.isidentifier() or file.suffix != ".py":
            raise SetsailError("app.load", "a function is served from its file, where it must stand at the top level",
                               value=function.__qualname__, expected="def in a .py file",
                               todo="write it to a file and import it from there")  # fmt: skip
        return cls.parse(f"{file}:{function.__name__}")

    @property
    def path(self) -> Path:
        """As a PATH of the command line."""
        return Path(f"{self.file}:{self.name}")

    @property
    def entry(self) -> Any:
        """As code that runs: `code.Entry`."""
        options = {"file": str(self.file), "name": self.name}
        return import_module(_CODE).Entry("function", self.file, str(self), options, self.name)

    def __str__(self) -> str:
        return f"{self.file.name}:{self.name}"


def is_spec(path: Path) -> bool:
    """Whether a PATH is meant as a function. A file that really has such a name is a file."""
    return _TEXT.fullmatch(str(path)) is not None and not path.exists()
