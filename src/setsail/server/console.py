"""What the console's pages show beside models: routes between versions, and drift of each column.

Everything here is made of the documents that the admin port also gives machines (`/v1/routes`, `/v1/watch`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

__all__ = ["Bar", "Feature", "features", "interesting", "route_text"]

WIDTH, HEIGHT = 160, 32  # of a column's histogram, in CSS pixels
_SMALL: Final = 1e-3


class Bar(Struct, frozen=True):
    """One bin of a column: where it stands, and how high the reference and the last window are in it, in pixels."""

    x: float
    width: float
    reference: float
    window: float
    title: str


class Feature(Struct, frozen=True):
    """A column as the page shows it. `psi` is the bias-corrected effect of the last window, `p` of its test."""

    name: str
    family: str
    psi: str
    p: str
    alarm: bool
    bars: tuple[Bar, ...]


def interesting(document: Mapping[str, Any]) -> bool:
    """Whether a model's route is more than its default version."""
    return document["route"] is not None or bool(document["history"])


def route_text(document: Mapping[str, Any]) -> str:
    """Where bare requests go, in a line: `v1 90 %, v2 10 %, by header:user`."""
    route = document["route"]
    if route is None:
        return "none" if document["default"] is None else f"v{document['default']} (default)"
    parts = [f"v{version} {weight:g} %" for version, weight in route["weights"].items()]
    return ", ".join(parts + ([f"by {route['sticky']}"] if route["sticky"] else []))


def features(report: Mapping[str, Any]) -> list[Feature]:
    """The columns of a version that is watched, those that moved most first."""
    alarmed = {(family, name) for family, alarm in report["alarms"].items() if alarm["active"]
               for name in alarm["features"]}  # fmt: skip
    told = sorted(report["features"], key=lambda f: -f.get("scale_1", {}).get("psi", 0.0))
    return [_feature(one, (one["family"], one["name"]) in alarmed) for one in told]


def _feature(told: Mapping[str, Any], alarm: bool) -> Feature:
    last = told.get("scale_1")
    psi, p = ("–", "–") if last is None else (f"{round(last['psi'], 3) + 0.0:.3f}", _probability(last["p"]))
    return Feature(told["name"], told["family"], psi, p, alarm, _bars(told))


def _probability(p: float) -> str:
    return f"{p:.3f}" if p >= _SMALL else f"{p:.0e}"


def _bars(told: Mapping[str, Any]) -> tuple[Bar, ...]:
    """The reference's and the window's shares of each bin, beside each other."""
    reference, window = _shares(told["reference"]), _shares(told["window"])
    most = max([*reference, *window], default=0.0)
    if not most:
        return ()
    step = WIDTH / len(reference)
    bars = []
    for at, (title, share) in enumerate(zip(told["bins"], reference, strict=True)):
        now = window[at] if window else 0.0
        text = f"{title}: {share:.1%} of the reference" + (f", {now:.1%} now" if window else "")
        bars.append(Bar(at * step, step, HEIGHT * share / most, HEIGHT * now / most, text))
    return tuple(bars)


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts] if total else []
