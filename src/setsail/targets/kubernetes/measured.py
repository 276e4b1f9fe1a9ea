"""What `setsail bench` measured of one server, as the resources of one pod.

A pod is to be what was measured: as many processes, and as much CPU as they used at their best rate. Memory is what
they held, with a quarter more to be set aside, and up to the limit also the request bodies that they may hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil, floor
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["assumed", "figures", "read"]

_SHARE: Final = 0.7  # of the best rate, at which another pod is started
_MI: Final = 1 << 20


def read(path: Path, model: str) -> dict[str, Any]:
    """The report of `setsail bench --json`, as values by key.

    Raises:
        SetsailError: `setting.value` where it is none, is of another model, or has no figures of the server.
    """
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise _refused(path, str(fault), "the output of setsail bench FILE --json") from fault
    if not isinstance(report, dict) or not isinstance(report.get("phases"), list):
        raise _refused(path, "no phases", "the output of setsail bench FILE --json")
    if report.get("model") != model:
        raise _refused(path, report.get("model"), f"measurements of {model}")
    return figures(report, path)


def figures(report: Mapping[str, Any], path: Path = Path("report.json")) -> dict[str, Any]:
    """Values by key. Raises `setting.value` where the report does not tell CPU and memory."""
    known = [p for p in report["phases"] if p.get("server_cpu_s_per_1000") and p.get("server_memory_mb")]
    good = [p for p in known if not p.get("errors") and not p.get("unequal") and p.get("kind") != "offline"]
    if not good:
        raise _refused(path, f"{len(known)} of {len(report['phases'])} phases with the server's CPU and memory",
                       "one without errors: measure a file, not a URL, with --mode closed or open")  # fmt: skip
    best = max(good, key=lambda p: p["requests_per_s"])
    rate = report.get("best_rate_per_s") or best["requests_per_s"]
    cores = max(0.05, best["requests_per_s"] * best["server_cpu_s_per_1000"] / 1000)
    workers = report.get("workers") or report.get("cores") or 1
    used = max(p["server_memory_mb"] for p in known)
    held = 128 * _MI
    return {
        "workers": workers, "inflightBytes": held,
        "resources.requests.cpu": f"{ceil(cores * 100) * 10}m", "resources.limits.cpu": str(max(workers, ceil(cores))),
        "resources.requests.memory": f"{_round(used * 1.25)}Mi",
        "resources.limits.memory": f"{_round(used * 1.25 + workers * held / _MI * 2)}Mi",
        "autoscaling.requestsPerSecond": max(1, floor(_SHARE * rate)),
    }  # fmt: skip


def assumed(size: int) -> dict[str, Any]:
    """Memory where nothing was measured: 256 MiB for the server, three times the artifact for its model."""
    request = _round(256 + 3 * size / _MI)
    return {"resources.requests.memory": f"{request}Mi", "resources.limits.memory": f"{request + 512}Mi"}


def _round(mebibytes: float) -> int:
    """Up to a multiple of 64."""
    return ceil(mebibytes / 64) * 64


def _refused(path: Path, value: object, expected: str) -> SetsailError:
    return SetsailError("setting.value", f"{path.name} is no measurement to size a pod by", field="--bench",
                        value=value, expected=expected,
                        todo="run: setsail bench FILE --workers 1 --json > report.json")  # fmt: skip
