"""Flats to let, with categories of every kind that a data frame has, and holes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["CODES", "FLATS", "LEVELS", "RENT", "asked"]

_RNG = np.random.default_rng(7)
_N = 400
LEVELS = {"town": ["Aachen", "Bonn", "Celle", "Dessau", "Essen", "Fulda"], "rooms": [10, 20, 30]}


def _flats() -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    frame = pd.DataFrame({
        "town": _RNG.choice(LEVELS["town"], _N),
        "area": _RNG.normal(70, 20, _N).round(1),
        "rooms": _RNG.choice(LEVELS["rooms"], _N),
    })  # fmt: skip
    worth = dict(zip(LEVELS["town"], (3, -2, 1.5, 0, -4, 2), strict=True))
    rent = frame["town"].map(worth) + frame["area"] / 20 + (frame["rooms"] == 20) * 2 + _RNG.normal(0, 0.2, _N)
    frame["town"], frame["rooms"] = frame["town"].astype("category"), frame["rooms"].astype("category")
    frame.loc[::17, "town"] = np.nan
    frame.loc[::13, "area"] = np.nan
    return frame, rent.to_numpy()


FLATS, RENT = _flats()
# The same with the categories' numbers in their place, as who trains on matrices has them.
CODES = np.column_stack([
    FLATS["town"].cat.codes.astype(float).where(FLATS["town"].notna()), FLATS["area"], FLATS["rooms"].cat.codes,
])  # fmt: skip


def asked(*, unseen: bool) -> pd.DataFrame:
    """Rows as they come later: other categories in another order, some missing, `unseen` ones if it is said."""
    towns = ["Fulda", "Essen", None, "Aachen", "Celle", "Zwickau" if unseen else "Bonn", "Essen"]
    rooms = [30, 20, 20, 10, 30, 10, 40 if unseen else 30]
    areas = [50.5, 71.0, 33.3, np.nan, 120.0, 80.0, 64.2]
    return pd.DataFrame({"town": pd.Categorical(towns), "area": areas, "rooms": pd.Categorical(rooms)})
