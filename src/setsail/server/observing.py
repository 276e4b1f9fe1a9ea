"""What an observer of a running server needs: its board over HTTP, a page to keep, and files for other tools.

The page (`setsail report`) is one file with its plots in it, and opens without a network. The files of `EXPORTS` are
in the wheel as they are: alert rules for Prometheus and a dashboard for Grafana, over the names of `docs/metrics.md`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

from setsail.errors import SetsailError

__all__ = ["EXPORTS", "export", "fetched", "page", "table"]

EXPORTS: Final[Mapping[str, str]] = {"grafana": "dashboard.json", "prometheus": "alerts.yaml"}
_SECONDS: Final = 10.0
_LARGEST: Final = 64 << 20
_FAMILIES: Final = ("inputs", "outputs", "joint", "concept")


def export(name: str) -> str:
    """A file of `EXPORTS`."""
    return (files("setsail.server") / "observing_files" / EXPORTS[name]).read_text(encoding="utf-8")


def fetched(source: str) -> dict[str, Any]:
    """What is known: of a server by its admin URL, or as it was kept in a file.

    Raises:
        SetsailError: `watch.source` when nobody answers there, or something else does.
    """
    try:
        if "://" in source:
            opener = build_opener(ProxyHandler({}))
            with opener.open(source.rstrip("/") + "/v1/watch", timeout=_SECONDS) as reply:
                text = reply.read(_LARGEST)
        else:
            text = Path(source).read_bytes()
        told = json.loads(text)
        if not isinstance(told["models"], dict):
            raise TypeError("models is no object")
    except HTTPError as fault:
        raise _refused(source, f"it answers {fault.code}") from fault
    except (URLError, OSError, ValueError, KeyError, TypeError) as fault:
        raise _refused(source, str(getattr(fault, "reason", fault))) from fault
    kept: dict[str, Any] = told
    return kept


def _refused(source: str, why: str) -> SetsailError:
    return SetsailError("watch.source", f"what is watched cannot be read: {why}", field="source", value=source,
                        expected="the admin URL of a server, as http://127.0.0.1:8081")  # fmt: skip


# -- for a terminal ------------------------------------------------------------------------------------------------


def table(told: Mapping[str, Any]) -> str:
    """A few lines a version: traffic, alarms, the columns that differ most, labels."""
    lines: list[str] = []
    for model, versions in told["models"].items():
        for version, one in versions.items():
            lines += [f"{model} version {version}", *_version(one), ""]
    return "\n".join(lines).rstrip() or "nothing is watched: pack with --reference ROWS, or serve with --watch all"


def _version(one: Mapping[str, Any]) -> list[str]:
    skipped = f" ({one['skipped_rows']:,} not noted)" if one["skipped_rows"] else ""
    lines = [f"  rows       {one['rows']:,}{skipped}, {one['windows']} windows, {one['window_rows']} rows in the next"]
    alarms = [f"{family} FAILED since {_clock(one['alarms'][family]['since'])}" + _named(one["alarms"][family])
              for family in _FAMILIES if one["alarms"][family]["active"]]  # fmt: skip
    lines.append(f"  drift      {'; '.join(alarms) or 'none'}")
    ranked = sorted((f for f in one["features"] if "scale_1" in f), key=lambda f: -f["scale_1"]["psi"])
    for feature in ranked[:5]:
        last = feature["scale_1"]
        lines.append(f"    {feature['name']:<28.28} PSI {last['psi']:+.3f}  p {last['p']:.2g}")
    labels = one["labels"]
    if labels["results"]:
        counts = ", ".join(f"{many} {result}" for result, many in sorted(labels["results"].items()))
        lines.append(f"  labels     {counts}")
        measures = ", ".join(f"{name} {_number(value)}" for name, value in labels["measures"].items())
        lines.append(f"  quality    {measures or 'nothing yet'}")
    return lines + [f"  note       {note}" for note in one["notes"]]


def _named(alarm: Mapping[str, Any]) -> str:
    return f": {', '.join(alarm['features'][:3])}" if alarm["features"] else ""


def _clock(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


# -- for a file ----------------------------------------------------------------------------------------------------


def page(told: Mapping[str, Any]) -> str:
    """The report as HTML: everything that is known, with a plot a column. Nothing is loaded from elsewhere.

    Raises:
        SetsailError: `watch.source` when it is not what `fetched` gives.
    """
    pages = Environment(
        loader=PackageLoader("setsail.server", "observing_files"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters |= {"clock": _clock, "number": _number, "bars": bars, "line": line, "share": _share}
    try:
        versions = [(model, version, one) for model, found in told["models"].items() for version, one in found.items()]
        return pages.get_template("report.html").render(at=told["at"], rule=told["rule"], versions=versions)
    except (UndefinedError, KeyError, TypeError, ValueError, AttributeError) as fault:
        raise _refused("the report", str(fault)) from fault


def _share(value: float) -> str:
    return f"{value:.2g}"


def bars(feature: Mapping[str, Any], width: float = 320.0, height: float = 90.0) -> list[dict[str, Any]]:
    """Two bars a bin, of the reference and of the last window, as shares: rectangles of a plot of this size."""
    old, new = _shares(feature["reference"]), _shares(feature["window"] or [0] * len(feature["reference"]))
    top = max(*old, *new, 1e-9)
    step = width / len(old)
    drawn = []
    for at, (a, b, title) in enumerate(zip(old, new, feature["bins"], strict=True)):
        for kind, value, shift in (("reference", a, 0.08), ("window", b, 0.5)):
            tall = height * value / top
            drawn.append({
                "kind": kind, "x": round((at + shift) * step, 2), "y": round(height - tall, 2),
                "width": round(step * 0.42, 2), "height": round(tall, 2), "title": f"{title}: {kind} {value:.1%}",
            })  # fmt: skip
    return drawn


def _shares(counts: Sequence[float]) -> list[float]:
    whole = sum(counts)
    return [count / whole if whole else 0.0 for count in counts]


def line(history: Sequence[Mapping[str, float]], key: str, width: float = 640.0, height: float = 80.0) -> str:
    """The points of a line over the windows, from nothing to the largest value (0.1 at least)."""
    values = [max(0.0, row[key]) for row in history]
    top = max(*values, 0.1) if values else 0.1
    step = width / max(1, len(values) - 1)
    return " ".join(f"{at * step:.1f},{height - height * value / top:.1f}" for at, value in enumerate(values))
