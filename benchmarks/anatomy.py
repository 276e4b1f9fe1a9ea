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
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.inside import Inside, Transport
from benchmarks.load import wrk
from benchmarks.processes import Server, free_port, raise_priority
from setsail.binding import bind
from setsail.catalog import Metadata, ModelMetadata
from setsail.messages import ModelRef, Rows
from setsail.protocols.curl import CURL
from setsail.protocols.values import dump
from setsail.server.interpreter import settle
from setsail.serving.house import House

CLIENTS = (64, 1)
COMMANDS = {
    "setsail": (
        sys.executable, "-m", "setsail", "serve", "{model}", "--workers", "1", "--port", "{port}", "--admin-port", "-1",
    ),
    "echo": (sys.executable, str(Path(__file__).with_name("peers") / "echo.py")),
}  # fmt: skip


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
    transports = [Transport() for _ in range(clients)]
    inside = Inside(house, transports)

    def turn() -> None:
        for connection in inside.connections:
            connection.get_buffer(-1)[: len(raw)] = raw
            connection.buffer_updated(len(raw))
        inside.loop.turn()

    turns = 3000 if clients == 1 else 600
    fastest = best(turn, turns)
    if any(transport.answers != turns for transport in transports):
        raise SystemExit("a request was not answered in its turn: this needs a small model of one input")
    return fastest / clients


def started(command: Sequence[str], environment: Mapping[str, str], port: int, folder: Path) -> Server:
    made = Server(command, {"OMP_NUM_THREADS": "1", **environment}, folder / f"{port}.log", folder)
    made.answers(port)
    made.prefer()
    return made


def window(server: Server, port: int, raw: bytes, clients: int, seconds: float) -> tuple[float, float, float]:
    """User and system µs a request, and p50 in µs."""
    before = server.user_and_system()
    load = wrk(port, [raw], clients, seconds)
    after = server.user_and_system()
    user, system = ((b - a) / load.requests * 1e6 for a, b in zip(before, after, strict=True))
    return user, system, load.p50_ms * 1000


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
    windows: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    with TemporaryDirectory() as made, ExitStack() as stack:
        servers = []
        for who, command in COMMANDS.items():
            port = free_port()
            filled = [part.format(model=path.absolute(), port=port) for part in command]
            server = started(filled, {"PORT": str(port), "WORKERS": "1"}, port, Path(made))
            stack.callback(server.stop)
            servers.append((who, server, port))
        for number in range(rounds):
            for who, server, port in servers[:: 1 if number % 2 else -1]:
                for clients in CLIENTS:
                    windows.setdefault((who, clients), []).append(window(server, port, raw, clients, seconds))
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
