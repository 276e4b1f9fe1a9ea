"""Loading files whose framework's loader can run code. Imported by a child process, or for an audited skops file.

This is the only module of setsail that names a pickle loader; `tests/test_no_pickle.py` holds that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import joblib

__all__ = ["joblib_file", "skops_file", "skops_file_trusted"]

_ROOTS: Final = ("sklearn.", "numpy.", "scipy.")


def joblib_file(path: Path) -> Any:
    """Load a pickle or a joblib file: joblib reads both, compressed or not."""
    return joblib.load(path)


def skops_file(path: Path) -> Any:
    """Load a skops file whose schema was found to hold nothing outside scikit-learn, numpy and scipy."""
    from skops import io

    wanted = [t for t in io.get_untrusted_types(file=path) if str(t).startswith(_ROOTS)]
    return io.load(path, trusted=wanted)


def skops_file_trusted(path: Path) -> Any:
    """Load a skops file with every type it names: for a child process, after the person said so."""
    from skops import io

    return io.load(path, trusted=io.get_untrusted_types(file=path))
