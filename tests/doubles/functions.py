"""Files with functions for tests, and what runs them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from setsail.apps.runner import AppRunner
from setsail.apps.spec import Spec
from setsail.apps.terms import Terms

# A file as a person writes it.
SHOP = '''
"""Prices."""
import os, sys, time
from typing import TypedDict
import numpy as np

print("the shop opens")

class Price(TypedDict):
    price: float
    label: str

def total(x: np.ndarray) -> np.ndarray:
    return x.sum(axis=1)

def price(rooms: int, area: float, town: str | None) -> Price:
    if rooms < 0:
        raise ValueError(f"{rooms} rooms, and the secret is 4711")
    print("pricing", town)
    return {"price": rooms * area, "label": f"{rooms} rooms in {town}"}

def wrong(x: float) -> float:
    return "not a number"

def leave(x: float) -> float:
    sys.exit(3)

def die(x: float) -> float:
    if x > 0:
        os._exit(7)
    return x

def wait(x: float) -> float:
    time.sleep(x)
    return x

kept = []

def keep(x: np.ndarray) -> np.ndarray:
    """Keeps what it was given, and changes it."""
    kept.append(x)
    x += 1
    return kept[0][:, 0]

def pid(x: float) -> int:
    return os.getpid()

def here(x: str) -> str:
    return repr(eval(x))
'''


def write(folder: Path, code: str = SHOP, name: str = "shop.py") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(code, encoding="utf-8")
    return file


def start(file: Path, name: str, terms: Terms | None = None, look: Callable[..., object] = lambda _: None) -> AppRunner:
    return AppRunner(Spec(file, name).entry, terms or Terms(), name, look)


def until(done: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is so; fail when it is not in time."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)
