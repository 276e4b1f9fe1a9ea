"""Where the microseconds of a small request go: the kernel, our own code, the model, and what nobody can save.

    python -m benchmarks.anatomy MODEL.setsail [--rounds 4] [--seconds 2] [--json]

Three measurements in one run. *Servers*: this one with one worker and a bare asyncio protocol that answers a constant
(`peers/echo.py`), driven in turn by wrk; user and system time of each a request, and the p50 of one client. *In
process*: the same requests through the same connections with a list for a socket, so that nothing but our own code and
the model runs; the fastest of many turns. *The model*: its runner in a loop. What the servers' user time is above the
in-process figure is spent fetching objects and code that other work has pushed out of the caches.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.load import wrk
from benchmarks.observability import Loop
from benchmarks.processes import raise_priority
from setsail.binding import bind
from setsail.catalog import Metadata, ModelMetadata
from setsail.messages import ModelRef, Rows
from setsail.monitor.meter import Meter
from setsail.protocols.curl import CURL
from setsail.protocols.values import dump
from setsail.scheduling import Rules
from setsail.server.connection import Connection
from setsail.server.dispatch import Desk
from setsail.server.interpreter import settle
from setsail.server.plane import Plane
from setsail.server.settings import Settings
from setsail.serving.house import House
from setsail.serving.intake import Intake
from setsail.serving.turns import Turns

CLIENTS = (64, 1)
TICK = os.sysconf("SC_CLK_TCK")
ECHO = Path(__file__).with_name("peers") / "echo.py"


class Nowhere:
    """A transport without a socket."""

    written = 0

    def get_extra_info(self, name: str) -> None: ...
    def write(self, data: bytes) -> None:
        self.written += 1

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def request(meta: ModelMetadata) -> bytes:
    """One row as Open Inference Protocol's JSON."""
    path, body = CURL["open-inference"](meta, meta.name)
    raw = dump(body)
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


def best(call: Callable[[], object], times: int) -> float:
    """Seconds of the fastest call: whatever else the machine did, it cannot have made one faster."""
    fastest = float("inf")
    for _ in range(times):
        begun = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - begun)
    return fastest


def in_process(house: House, raw: bytes, clients: int) -> float:
    """Seconds a request of our own code and the model."""
    loop, meter = Loop(), Meter()
    desk = Desk(house, meter=meter, max_body=1 << 20)
    desk.intake = Intake(lambda: house.table, Turns(loop), rules=Rules(), meter=meter)
    plane = Plane(desk, Settings(), loop)  # type: ignore[arg-type]
    connections, transports = [Connection(plane) for _ in range(clients)], [Nowhere() for _ in range(clients)]
    for connection, transport in zip(connections, transports, strict=True):
        connection.connection_made(transport)

    def turn() -> float:
        before, begun = sum(t.written for t in transports), time.perf_counter()
        for connection in connections:
            connection.get_buffer(-1)[: len(raw)] = raw
            connection.buffer_updated(len(raw))
        loop.turn()
        seconds = time.perf_counter() - begun
        # After a run that something else made slow the model goes to its thread for a while: those turns end later.
        while sum(t.written for t in transports) - before < clients:
            seconds = float("inf")
            time.sleep(0.001)
            loop.turn()
        return seconds

    return min(turn() for _ in range(3000 if clients == 1 else 600)) / clients


class Process:
    """A server under test, and its user and system seconds."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        raise_priority(self.process.pid)

    def seconds(self) -> tuple[float, float]:
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(parts[11]) / TICK, int(parts[12]) / TICK

    def window(self, raw: bytes, clients: int, seconds: float) -> tuple[float, float, float]:
        """User and system µs a request, and p50 in µs."""
        before = self.seconds()
        load = wrk(self.port, [raw], clients, seconds)
        after = self.seconds()
        user, system = ((b - a) / load.requests * 1e6 for a, b in zip(before, after, strict=True))
        return user, system, load.p50_ms * 1000

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def served(path: Path) -> Process:
    command = [
        sys.executable,
        "-m",
        "setsail",
        *shlex.split(f"serve {path} --workers 1 --port 0 --admin-port -1 --json"),
    ]
    made = Process(command, {"OMP_NUM_THREADS": "1"}, 0)
    assert made.process.stdout is not None
    made.port = urlsplit(json.loads(made.process.stdout.readline())["url"]).port or 0
    return made


def echo(port: int) -> Process:
    made = Process([sys.executable, str(ECHO)], {"PORT": str(port), "WORKERS": "1"}, port)
    time.sleep(1)
    return made


def measured(path: Path, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with House() as house:
        house.load(path)
        name = next(iter(house.table.models))
        meta: ModelMetadata = house.answer(Metadata(ModelRef(name)))
        raw = request(meta)
        loaded = house.table.find(ModelRef(name)).loaded
        assert loaded is not None
        settle()
        for clients in CLIENTS:
            loaded.line = None  # it belongs to a loop
            row = meta.example[meta.signature.inputs[0].name]
            inputs = bind(meta.signature, Rows([row] * clients))
            found[f"{clients} clients"] = {
                "in process": in_process(house, raw, clients) * 1e6,
                "model": best(lambda given=inputs: loaded.runner.run(given), 2000) / clients * 1e6,  # type: ignore[misc]
            }
    gc.unfreeze()
    ours, bare = served(path), echo(18099)
    try:
        windows: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        for number in range(rounds):
            for who, server in (("setsail", ours), ("echo", bare))[:: 1 if number % 2 else -1]:
                for clients in CLIENTS:
                    windows.setdefault((who, clients), []).append(server.window(raw, clients, seconds))
    finally:
        ours.close()
        bare.close()
    for (who, clients), taken in windows.items():
        for part, values in zip(("user", "system", "p50"), zip(*taken, strict=True), strict=True):
            found[f"{clients} clients"][f"{who} {part}"] = median(values)
    return found


COLUMNS = (
    "setsail user", "setsail system", "in process", "model", "echo user", "echo system", "setsail p50", "echo p50",
)  # fmt: skip


def table(found: dict[str, dict[str, float]]) -> str:
    lines = ["| µs a request | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for clients, row in found.items():
        lines.append(f"| {clients} | " + " | ".join(f"{row[name]:.1f}" for name in COLUMNS) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    raise_priority()
    found = measured(args.model, args.rounds, args.seconds)
    print(json.dumps(found) if args.json else table(found))


if __name__ == "__main__":
    main()
