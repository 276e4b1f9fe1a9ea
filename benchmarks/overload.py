"""A server asked for ten times what it can do: what it still does, whom it refuses, and how soon it is itself again.

A small convolutional network that takes milliseconds a row is served with `--latency-target`, so that the scheduler has
a budget to keep. Four phases: the peak (closed loop), a quiet time (open loop at half the peak), the overload (open
loop at `--times` the peak, on far more connections than can be answered), and the quiet time again, from its first
moment on. Goodput is what was answered with a prediction while the clock ran. Prints one table; exits 1 where anything
but a refusal came back.

    python benchmarks/overload.py [--seconds 60] [--times 10] [--target 0.05] [--workers 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

import setsail
from benchmarks.models import Graph
from setsail.loadtest.client import Client
from setsail.loadtest.inputs import from_artifact
from setsail.loadtest.orders import Order, Outcome
from setsail.loadtest.schedules import arrivals
from setsail.loadtest.subject import Subject, requests, target_of
from setsail.loadtest.targets import Started
from setsail.loadtest.wires import WIRES

CONNECTIONS: Final = 1024
CLIENTS: Final = (4, 8, 16)  # of the closed loops whose best rate is the peak
REFUSALS: Final = frozenset(("429", "503"))
QUIET: Final = 5.0  # seconds
FIRST: Final = 1.0  # second after the overload


def network(folder: Path) -> Path:
    """Four convolutions of 64 channels on a 16 x 16 image: a millisecond or two a row, alone or in a batch."""
    from onnx import TensorProto, save_model

    graph = Graph()
    x = graph.conv("image", 1, 64, 3)
    for _ in range(4):
        x = graph.conv(x, 64, 64, 3)
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    graph.add("Identity", graph.linear(x, 64, 10), out="scores")
    proto = graph.finished({"image": (TensorProto.FLOAT, ["N", 1, 16, 16])}, "scores", ["N", 10])
    save_model(proto, str(folder / "network.onnx"))
    rows = np.random.default_rng(1).standard_normal((64, 1, 16, 16), dtype=np.float32)
    path = folder / "network.setsail"
    setsail.pack(folder / "network.onnx", example={"image": rows}, name="network", output=path).close()
    return path


@contextmanager
def client(path: Path, workers: int, target: float) -> Iterator[tuple[Client, int]]:
    """A server of the model, a process that asks it, and how many requests that has."""
    from setsail import artifact

    os.environ["SETSAIL_LATENCY_TARGET"] = str(target)
    with artifact.read(path) as opened, Started(path, workers) as started:
        subject = Subject(started.place, opened.signature, from_artifact(opened), {}, started.pid)
        singles, _, _ = requests(subject, WIRES["v2-binary"])
        with Client(target_of(subject, WIRES["v2-binary"], singles)) as made:
            made.carry_out(Order("ask", 0, len(singles)))
            yield made, len(singles)


def ask(asking: Client, count: int, rate: float, seconds: float, warm: float = 0.0) -> Outcome:
    times = arrivals(rate, warm + seconds, seed=int(rate)).tobytes()
    return asking.carry_out(Order("open", 0, count, CONNECTIONS, seconds, warm, times))


def p99(latencies: Any) -> float:
    return float(np.percentile(latencies, 99)) if len(latencies) else float("nan")


def measured(asking: Client, count: int, seconds: float, times: float, target: float) -> dict[str, Any]:
    peaks = [asking.carry_out(Order("closed", 0, count, clients, QUIET, 1.0)) for clients in CLIENTS]
    peak = max(run.in_time / run.seconds for run in peaks)
    quiet = ask(asking, count, peak / 2, QUIET, 1.0)
    over = ask(asking, count, peak * times, seconds, 1.0)
    after = ask(asking, count, peak / 2, QUIET)
    accepted, calm = np.frombuffer(over.latencies), np.frombuffer(quiet.latencies)
    later = np.frombuffer(after.latencies)
    first = later[: int(peak / 2 * FIRST)]
    others = {code: n for code, n in over.errors.items() if code.split()[0] not in REFUSALS}
    return {
        "peak": peak, "offered": peak * times, "goodput": over.in_time / over.seconds,
        "goodput of the peak": over.in_time / over.seconds / peak,
        "refused": sum(n for code, n in over.errors.items() if code.split()[0] in REFUSALS), "other errors": others,
        "p99 at half the peak": p99(calm), "p99 of the accepted": p99(accepted), "target": target,
        "p99 in the second after": p99(first), "p99 afterwards": p99(later),
        "refused afterwards": sum(after.errors.values()), "client": over.client_cpu,
        "late": p99(np.frombuffer(over.lag)),
    }  # fmt: skip


def report(found: dict[str, Any]) -> str:
    lines = [f"{name:26} {value:12,.3f}" if isinstance(value, float) else f"{name:26} {value!s:>12}"
             for name, value in found.items()]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=10.0)
    parser.add_argument("--target", type=float, default=0.05, help="--latency-target of the server, in seconds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, client(network(Path(folder)), args.workers, args.target) as (
        asking, count,
    ):  # fmt: skip
        found = measured(asking, count, args.seconds, args.times, args.target)
    print(json.dumps(found) if args.json else report(found))
    return 1 if found["other errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
