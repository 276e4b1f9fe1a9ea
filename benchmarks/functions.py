"""What it costs that a function runs in a process of its own: the same function, the same rows, on both sides of the
border, in turn, in one run.

    python benchmarks/functions.py            measure, and print the table of docs/functions.md

`in-process` is the function behind the same checks of its hints in the server's process, which setsail never does. A
request is one row of JSON over a connection that stays open; a call is a runner's. Times are medians of all rounds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from setsail.apps.calling import Function
from setsail.apps.runner import AppRunner
from setsail.apps.spec import Spec
from setsail.apps.terms import Terms
from setsail.runtime import Weights
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.serving.leases import Facts, Loaded

CODE = '''
from typing import Annotated
import numpy as np

WEIGHTS = np.linspace(-1, 1, 30)

def score(x: Annotated[np.ndarray, "float64[N,30]"]) -> np.ndarray:
    """A linear model of 30 columns."""
    return 1 / (1 + np.exp(-(x @ WEIGHTS)))
'''


class Inside:
    """The function in this process, as a model of a house."""

    name, version, source, down = "inside", 1, "in-process", ""
    max_batch, weights = None, Weights()

    def __init__(self, file: Path) -> None:
        spec = spec_from_file_location("score", file)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        self._function = Function(module.score)
        self.signature = self._function.signature

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._function.run(inputs)

    def rest(self, inputs: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...

    def open(self, look: Callable[[Any], object]) -> Loaded:
        return Loaded(self, Facts("in-process", {}, "inside", "", {1: 1e-5}, invariant=True))


def timed(call: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        begun = perf_counter()
        call()
        found.append(perf_counter() - begun)
    return found


def asker(url: str, model: str) -> Callable[[], None]:
    connection = http.client.HTTPConnection(url.partition("//")[2])
    body = json.dumps({"x": [round(0.01 * i, 2) for i in range(30)]}).encode()

    def ask() -> None:
        connection.request("POST", f"/predict/{model}", body)
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        reply.read()

    return ask


def measured(file: Path, rounds: int, times: int) -> dict[str, tuple[list[float], list[float]]]:
    """Name of a measurement -> seconds in-process and isolated."""
    inside, isolated = Inside(file), AppRunner(Spec(file, "score").entry, Terms(), "calls", lambda _: None)
    sides: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
    for rows in (1, 64, 4096):
        x = {"x": np.random.default_rng(0).standard_normal((rows, 30))}
        sides[f"call, {rows} rows ({x['x'].nbytes:,} bytes)"] = (
            lambda x=x: inside.run(x), lambda x=x: isolated.run(x),
        )  # fmt: skip
    found: dict[str, tuple[list[float], list[float]]] = {}
    with Server(Settings(port=0, admin_port=-1, trust="app")) as server:
        server.open(Path(f"{file}:score"))
        server.house.load(inside)
        server.start()
        sides["request, 1 row of JSON"] = (asker(server.url, "inside"), asker(server.url, "score"))
        for name, (one, other) in sides.items():
            timed(one, times // 4), timed(other, times // 4)
            both: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                both[0].extend(timed(one, times))
                both[1].extend(timed(other, times))
            found[name] = both
    isolated.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--times", type=int, default=200, help="calls of one side in a round")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "score.py"
        file.write_text(CODE, encoding="utf-8")
        found = measured(file, given.rounds, given.times)
    print("| | in-process | isolated | ratio | more |\n|---|---|---|---|---|")
    for name, (inside, isolated) in found.items():
        one, other = median(inside) * 1e6, median(isolated) * 1e6
        print(f"| {name} | {one:,.0f} µs | {other:,.0f} µs | {other / one:.1f} | {other - one:,.0f} µs |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
