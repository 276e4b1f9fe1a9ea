"""What a takeover costs the requests that are running: p50 and p99 while versions come and go, against quiet times.

Threads ask a house without pause. Quiet phases and phases in which a polled repository takes over version after version
alternate, so that whatever else the machine does falls on both. Prints one table; exits 1 if any request failed.
Read the ratios: the microseconds are this machine's. The models are tree ensembles of the size given, so that loading
one is real work beside the requests.

    python benchmarks/takeover.py [--threads 2] [--takeovers 10] [--trees 200] [--rows 8] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Tensor, Tensors
from setsail.packing import PackOptions, pack
from setsail.serving.house import House
from setsail.serving.repository import Repository

POLL = 0.1


@dataclass
class Hammer:
    """Threads that ask without pause; each keeps (when, how long) of every request."""

    house: House
    request: Request
    threads: int
    times: list[list[tuple[float, float]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> list[threading.Thread]:
        self.times = [[] for _ in range(self.threads)]
        workers = [threading.Thread(target=self._work, args=(kept,)) for kept in self.times]
        for worker in workers:
            worker.start()
        return workers

    def _work(self, kept: list[tuple[float, float]]) -> None:
        while not self.stop.is_set():
            begun = time.perf_counter()
            try:
                self.house.answer(self.request)
            except SetsailError as fault:
                self.faults.append(str(fault))
            kept.append((begun, time.perf_counter() - begun))


def packed_model(folder: Path, trees: int) -> Path:
    X, y = load_breast_cancer(return_X_y=True)
    model = RandomForestClassifier(n_estimators=trees, random_state=0, n_jobs=1).fit(X, y)
    path = folder / "packed.setsail"
    pack(model, Intent(example=X[:64]), PackOptions(name="cancer", output=path)).close()
    return path


def put(packed: bytes, root: Path, version: int) -> None:
    """A version appears as a careful operator makes it: written beside, then renamed."""
    part = root / "cancer" / f".{version}.part"
    part.write_bytes(packed)
    part.rename(root / "cancer" / f"{version}.setsail")


def measure(packed: bytes, root: Path, options: argparse.Namespace) -> tuple[Hammer, list[tuple[str, float, float]]]:
    """Run the phases. Returns the hammer with all its times, and (phase, from, to)."""
    rows = load_breast_cancer(return_X_y=True)[0][: options.rows]
    (root / "cancer").mkdir()
    put(packed, root, 1)
    phases: list[tuple[str, float, float]] = []
    with House() as house:
        repository = Repository(house, root, poll=POLL)
        repository.open()
        name = house.table.find(ModelRef("cancer")).loaded.runner.signature.inputs[0].name
        hammer = Hammer(house, Request(ModelRef("cancer"), Tensors((Tensor(name, rows),))), options.threads)
        workers = hammer.start()
        time.sleep(0.5)
        for version in range(2, options.takeovers + 2):
            begun = time.perf_counter()
            put(packed, root, version)
            house.wait(lambda table, v=version: table.models["cancer"].default == v, 60)
            (root / "cancer" / f"{version - 1}.setsail").unlink()
            house.wait(lambda table, v=version: table.get("cancer", v - 1).state == "gone", 60)
            ended = time.perf_counter()
            phases.append(("takeover", begun, ended))
            time.sleep(ended - begun)
            phases.append(("quiet", ended, time.perf_counter()))
        hammer.stop.set()
        for worker in workers:
            worker.join()
        repository.close()
    return hammer, phases


def table(hammer: Hammer, phases: list[tuple[str, float, float]]) -> dict[str, dict[str, float]]:
    times = np.array([pair for kept in hammer.times for pair in kept])
    result = {}
    for phase in ("quiet", "takeover"):
        inside = np.zeros(len(times), dtype=bool)
        for name, begun, ended in phases:
            if name == phase:
                inside |= (times[:, 0] >= begun) & (times[:, 0] < ended)
        micros = times[inside, 1] * 1e6
        p50, p99, p999 = np.percentile(micros, [50, 99, 99.9])
        result[phase] = {
            "requests": float(inside.sum()),
            "p50_us": p50,
            "p99_us": p99,
            "p99.9_us": p999,
            "max_us": micros.max(),
        }
    result["ratio"] = {k: result["takeover"][k] / result["quiet"][k] for k in result["quiet"]}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("threads", 2), ("takeovers", 10), ("trees", 200), ("rows", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        packed = packed_model(folder, options.trees).read_bytes()
        (folder / "models").mkdir()
        hammer, phases = measure(packed, folder / "models", options)
    result = table(hammer, phases)
    if options.json:
        print(json.dumps({"failed": len(hammer.faults), **result}))
    else:
        print(f"{options.takeovers} takeovers, {options.threads} threads, {len(packed) / 1e6:.1f} MB a version, "
              f"{len(hammer.faults)} failed requests")  # fmt: skip
        print(f"{'':10}" + "".join(f"{k:>12}" for k in result["quiet"]))
        for phase, row in result.items():
            print(f"{phase:10}" + "".join(f"{v:12.2f}" if phase == "ratio" else f"{v:12.0f}" for v in row.values()))
    return 1 if hammer.faults else 0


if __name__ == "__main__":
    sys.exit(main())
