"""A person's Python file as a module. Only in the child."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final

from setsail.errors import SetsailError

__all__ = ["imported", "last_line", "trace"]

_OURS: Final = os.path.dirname(__file__)


def imported(file: Path) -> ModuleType:
    """Run a file, with its folder in front of everything else that is imported from here on.

    Raises:
        SetsailError: `app.load` for whatever the file raises, with the trace among its facts.
    """
    sys.path[:0] = [str(file.parent)]  # after numpy and ours were imported: a person's random.py is no part of them
    known = file.stem in sys.modules or file.stem in sys.stdlib_module_names
    name = f"app_{file.stem}" if known or not file.stem.isidentifier() else file.stem
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as fault:  # whatever a person's file raises, SystemExit included
        todo = "see the trace above; run the file in a Python of your own"
        if isinstance(fault, PermissionError):
            todo = "the function may read its own folder and Python's: name others with --app-read"
        raise SetsailError("app.load", f"{file.name} cannot be imported: {last_line(fault)}", todo=todo,
                           trace=trace(fault)) from fault  # fmt: skip
    return module


def trace(fault: BaseException) -> str:
    """A traceback that begins with the person's own frames."""
    frames = fault.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith((_OURS, "<frozen importlib")):
        frames = frames.tb_next
    try:
        return "".join(traceback.format_exception(type(fault), fault, frames))
    except Exception:  # its text is a person's own code too
        return type(fault).__name__


def last_line(fault: BaseException) -> str:
    """What a traceback ends with."""
    try:
        return f"{type(fault).__name__}: {fault}"[:500]
    except Exception:
        return type(fault).__name__
