"""What measuring costs: CPU of a request with the meter against the same with one that counts nothing, in one process.

    python -m benchmarks.observability MODEL.setsail [--rounds 400]

Connections are driven through their asyncio protocol by a loop of our own, over TCP on loopback: what is timed is what
a server spends on reading, answering and writing, without its client and without waiting. The two sides are measured in
turn, many times, and the differences' median is told, so that neither has the quieter machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.inside import Inside, Transport
from setsail.catalog import Metadata, ModelMetadata
from setsail.messages import ModelRef
from setsail.serving.house import House


class Wire(Transport):
    """A transport over TCP, and the client at its other end."""

    def __init__(self) -> None:
        super().__init__()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.server, _ = listener.accept()
        for end in (self.client, self.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.owed = False

    def write(self, data: bytes) -> None:
        self.owed = False
        self.server.send(data)


class Side:
    """A server with some connections to it."""

    def __init__(self, path: Path, connections: int, *, metered: bool) -> None:
        self.house = House()
        self.house.load(path, "model")
        self.raw = request(self.house)
        self.wires = [Wire() for _ in range(connections)]
        inside = Inside(self.house, self.wires, metered=metered)
        self.loop, self.connections = inside.loop, inside.connections

    def turn(self) -> float:
        """One request of every connection, and their answers: the server's seconds."""
        for wire in self.wires:
            wire.client.send(self.raw)
            wire.owed = True
        began = perf_counter()
        for connection, wire in zip(self.connections, self.wires, strict=True):
            connection.buffer_updated(wire.server.recv_into(connection.get_buffer(-1)))
        self.loop.turn()
        while any(wire.owed for wire in self.wires):  # a fresh model's first runs happen in a thread
            self.loop.turn()
        seconds = perf_counter() - began
        for wire in self.wires:
            if not wire.client.recv(1 << 16).startswith(b"HTTP/1.1 200 "):
                raise SystemExit("a request was not answered: this needs a model of one input")
        return seconds

    def seconds(self, turns: int) -> float:
        """Of a request."""
        for _ in range(1 + turns // 4):
            self.turn()  # what the other side pushed out of the caches comes back
        return sum(self.turn() for _ in range(turns)) / turns / len(self.connections)


def request(house: House) -> bytes:
    """A prediction of one row."""
    meta: ModelMetadata = house.answer(Metadata(ModelRef("model")))
    row: Any = 0.5
    for size in reversed(meta.signature.inputs[0].shape[1:]):
        row = [row] * (size if isinstance(size, int) else 1)
    body = json.dumps({"instances": [row]}).encode()
    head = "POST /v1/models/model:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def measure(path: Path, connections: int, rounds: int) -> tuple[float, float]:
    """Seconds of a request without the meter, and what the meter adds to it."""
    off, on = Side(path, connections, metered=False), Side(path, connections, metered=True)
    turns = max(1, 256 // connections)
    for side in (off, on):
        side.seconds(8 * turns)
    without, added = [], []
    for number in range(rounds):
        pair = {side: side.seconds(turns) for side in ((off, on) if number % 2 else (on, off))}
        without.append(pair[off])
        added.append(pair[on] - pair[off])
    return median(without), median(added)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)  # as a server does
    worst = 0.0
    for connections in (1, 32, 64):
        without, added = measure(options.model, connections, options.rounds)
        worst = max(worst, added / without)
        share = added / without
        print(
            f"{connections:3} at once: {without * 1e6:6.2f} us, metrics add {added * 1e6:5.2f} us, {share:6.2%}",
            flush=True,
        )
    print(f"worst {worst:.2%}")


if __name__ == "__main__":
    main()
