"""What the console's pages show, out of the documents that machines get."""

from __future__ import annotations

from typing import Any

from setsail.server.console import features, interesting, route_text

HISTORY = [{"revision": 1, "what": "route", "to": "v1 90, v2 10", "who": "cli", "why": "", "when": 1.0}]


def route(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "route": None, "default": 2, "ready": [1, 2], "history": []} | changes


def column(name: str, psi: float, p: float = 0.5, family: str = "inputs", window: Any = (1, 3)) -> dict[str, Any]:
    return {
        "name": name, "family": family, "bins": ["low", "high"], "reference": [3, 1], "window": list(window),
        "scale_1": {"p": p, "psi": psi, "js": 0.0},
    }  # fmt: skip


def test_a_model_without_a_route_is_not_worth_a_row() -> None:
    assert not interesting(route())
    assert interesting(route(history=HISTORY))
    assert route_text(route()) == "v2 (default)"
    assert route_text(route(default=None)) == "none"


def test_a_route_in_a_line() -> None:
    split = {"weights": {"1": 90.0, "2": 10.0}, "sticky": "header:user", "shadows": {}, "canary": None}
    assert route_text(route(route=split)) == "v1 90 %, v2 10 %, by header:user"


def test_columns_that_moved_most_come_first_and_alarms_are_marked() -> None:
    alarms = {"inputs": {"active": True, "features": ["b"]}, "outputs": {"active": False, "features": ["a"]}}
    told = features({"alarms": alarms, "features": [column("a", 0.01), column("b", 0.4, 1e-9), column("c", -0.0002)]})
    assert [(f.name, f.psi, f.p, f.alarm) for f in told] == [
        ("b", "0.400", "1e-09", True), ("a", "0.010", "0.500", False), ("c", "0.000", "0.500", False),
    ]  # fmt: skip


def test_a_histogram_has_both_sides_at_one_scale() -> None:
    (told,) = features({"alarms": {}, "features": [column("a", 0.1)]})
    low, high = told.bars
    assert (low.reference, low.window) == (32, 32 / 3)
    assert (high.reference, high.window) == (32 / 3, 32)
    assert (low.x, high.x, low.width) == (0, 80, 80)
    assert low.title == "low: 75.0% of the reference, 25.0% now"


def test_before_the_first_window_there_is_only_the_reference() -> None:
    untested = column("a", 0.0, window=())
    del untested["scale_1"]
    (told,) = features({"alarms": {}, "features": [untested]})
    assert (told.psi, told.p) == ("–", "–")
    assert [bar.window for bar in told.bars] == [0, 0]
    assert told.bars[0].title == "low: 75.0% of the reference"


def test_a_column_without_rows_has_no_bars() -> None:
    empty = column("a", 0.0, window=()) | {"reference": [0, 0]}
    assert features({"alarms": {}, "features": [empty]})[0].bars == ()
