"""What libraries say while they convert: silenced, because what matters of it comes back as an error of ours."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterable, Iterator

__all__ = ["silenced"]


@contextlib.contextmanager
def silenced(loggers: Iterable[str]) -> Iterator[None]:
    """No warnings, and of these loggers nothing below critical; afterwards their levels are what they were."""
    before = {name: logging.getLogger(name).level for name in loggers}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
