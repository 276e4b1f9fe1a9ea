"""What each wire costs: CPU of a request in every form of every wire, beside the plain one's or OIP's ModelInfer.

    python -m benchmarks.wires [--rounds 100] [--write] [--profile "MLflow, CSV"]

Sixty-four connections a form are driven through their asyncio protocol by a loop of our own, over TCP on loopback, as
in `observability.py`: what is timed, in seconds of this process's CPU, is what a server spends on reading, answering
and writing. The forms take turns, and each round gives one ratio a form: the median of these is told, so that a machine
that is slower for a while is slower for all. The requests are those that tests hold the server to
(`doubles/speakers`): one row of iris, of which a linear model says three numbers.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, Final

import numpy as np

from benchmarks.inside import Loop
from benchmarks.observability import Wire
from setsail.catalog import Metadata
from setsail.messages import ModelRef
from setsail.monitor.meter import Meter
from setsail.scheduling import Rules
from setsail.server.connection import Connection
from setsail.server.dispatch import Desk
from setsail.server.plane import Plane
from setsail.server.settings import Settings
from setsail.serving.house import House
from setsail.serving.intake import Intake
from setsail.serving.turns import Turns

ROOT: Final = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "doubles"))  # where the forms are written down

from speakers import SPEAKERS, Ask, Heard, Speaker  # noqa: E402

CLIENTS: Final = 64
TURNS: Final = 6  # of every client, a round
MOST: Final = 1.3
REST, GRPC = "plain, rows", "OIP gRPC, raw"  # what a ratio is to
_ANSWER: Final = 60  # bytes: all answers have more, and what HTTP/2 says beside them has fewer
FIGURES: Final = Path(__file__).with_name("wires.json")


class Bench:
    """A whole server but its sockets."""

    def __init__(self, path: Path) -> None:
        self.loop: Any = Loop()
        settings, meter = Settings(port=0), Meter()
        self.house = House()
        self.house.load(path, "iris")
        desk = Desk(self.house, meter=meter, max_body=settings.max_body)
        desk.intake = Intake(lambda: self.house.table, Turns(self.loop), rules=Rules(inline_seconds=1.0), meter=meter)
        self.plane = Plane(desk, settings, self.loop)


class End(Wire):
    """A transport that HTTP/2 is content with, too."""

    def write(self, data: bytes) -> None:
        self.owed = self.owed and len(data) < _ANSWER
        self.server.send(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class Side:
    """The clients of one form."""

    def __init__(self, bench: Bench, speaker: Speaker, asked: Ask) -> None:
        self.loop, self.asked, self.speaker = bench.loop, asked, speaker
        said = speaker.say(asked)
        said = said._replace(path=said.path.removesuffix("?model_name=iris"))  # it is the only model here
        self.grpc, self.stream = said.grpc, -1
        self.raw = b"" if said.grpc else _http1(said.path, dict(said.headers), said.body)
        self.connections = [Connection(bench.plane) for _ in range(CLIENTS)]
        self.wires = [End() for _ in self.connections]
        for connection, wire in zip(self.connections, self.wires, strict=True):
            connection.connection_made(wire)  # type: ignore[arg-type]
            wire.client.settimeout(20)
        if said.grpc:
            self._open(said.path, said.body)

    def _open(self, path: str, message: bytes) -> None:
        """Say hello on every connection; after the first call, header blocks are all of remembered fields."""
        from hpack import Encoder

        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "h"),
                  ("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "a-client")]  # fmt: skip
        encoder = Encoder()
        first, self.block = encoder.encode(fields), encoder.encode(fields)
        self.data = b"\0" + len(message).to_bytes(4, "big") + message
        window = (1 << 30).to_bytes(4, "big")
        hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(8, 0, 0, window)
        for connection, wire in zip(self.connections, self.wires, strict=True):
            wire.client.send(hello)
            connection.buffer_updated(wire.server.recv_into(connection.get_buffer(-1)))
            wire.client.recv(1 << 16)
        block, self.block = self.block, first
        self.turn()
        self.block = block

    def request(self) -> bytes:
        if not self.grpc:
            return self.raw
        return _frame(1, 4, self.stream, self.block) + _frame(0, 1, self.stream, self.data)

    def turn(self) -> float:
        """One request of every client, and their answers: the server's CPU seconds."""
        self.stream += 2
        raw = self.request()
        for wire in self.wires:
            wire.client.send(raw)
            wire.owed = True
        began = process_time()
        for connection, wire in zip(self.connections, self.wires, strict=True):
            connection.buffer_updated(wire.server.recv_into(connection.get_buffer(-1)))
        self.loop.turn()
        while any(wire.owed for wire in self.wires) or self.loop.due:
            self.loop.turn()
        seconds = process_time() - began
        self.heard = [wire.client.recv(1 << 16) for wire in self.wires]
        for told in self.heard:
            if not told.startswith(b"HTTP/1.1 200 ") and not (self.grpc and _data(told)):
                raise SystemExit(f"{self.speaker.name} was not answered: {told[:300]!r}")
        return seconds

    def answer(self) -> np.ndarray[Any, Any]:
        """What the last turn's first client was told, as numbers."""
        told = self.heard[0]
        if self.grpc:
            heard = Heard(0, {}, _data(told)[5:])
        else:
            head, _, body = told.partition(b"\r\n\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
            heard = Heard(200, headers, body)
        return self.speaker.hear(self.asked, heard)["prediction"]

    def seconds(self) -> float:
        """Of a request."""
        self.turn()  # what the other forms pushed out of the caches comes back
        return sum(self.turn() for _ in range(TURNS)) / TURNS / CLIENTS


def _http1(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: h", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _data(told: bytes) -> bytes:
    """What the DATA frames hold."""
    found, at = b"", 0
    while at + 9 <= len(told):
        size = int.from_bytes(told[at : at + 3], "big")
        if told[at + 3] == 0:
            found += told[at + 9 : at + 9 + size]
        at += 9 + size
    return found


def packed(folder: Path) -> Path:
    """A linear model of three outputs over iris, with names for its columns."""
    import pandas as pd
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LinearRegression

    import setsail

    X, y = load_iris(return_X_y=True)
    table = pd.DataFrame(X, columns=["sepal_length", "sepal_width", "petal_length", "petal_width"])
    setsail.pack(
        LinearRegression().fit(table, np.eye(3)[y]), table, name="iris", output=folder / "iris.setsail"
    ).close()
    return folder / "iris.setsail"


def sides(bench: Bench) -> dict[str, Side]:
    """Every form, answered and compared with the plain one."""
    signature = bench.house.answer(Metadata(ModelRef("iris"))).signature
    asked = Ask("iris", signature, {signature.inputs[0].name: np.array([[5.1, 3.5, 1.4, 0.2]])})
    made = {
        name: Side(bench, speaker, asked) for name, speaker in SPEAKERS.items() if speaker.can(signature, asked.inputs)
    }
    for side in made.values():
        for _ in range(20):
            side.turn()
    truth = made[REST].answer()
    for name, side in made.items():
        if side.answer().tolist() != truth.tolist():
            raise SystemExit(f"{name} answers {side.answer()} where {REST} answers {truth}")
    return made


def measured(made: dict[str, Side], rounds: int) -> dict[str, dict[str, float]]:
    """Of each form: microseconds of a request, and the ratio to its measure, which is the plain form or ModelInfer."""
    names = list(made)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            spent[name].append(made[name].seconds())
    found = {}
    for name in names:
        base = spent[GRPC if made[name].grpc else REST]
        ratio = median(one / other for one, other in zip(spent[name], base, strict=True))
        found[name] = {"microseconds": round(median(spent[name]) * 1e6, 2), "ratio": round(ratio, 2)}
    return found


def profile(side: Side) -> None:
    watch = cProfile.Profile()
    watch.enable()
    for _ in range(100):
        side.turn()
    watch.disable()
    pstats.Stats(watch).sort_stats("tottime").print_stats(18)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="keep the figures for docs/wires/README.md")
    parser.add_argument("--profile", help="a form, whose functions are told by their time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = sides(Bench(packed(Path(folder))))
        if options.profile:
            profile(made[options.profile])
            return 0
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 50, 50)  # as a server does
        found = measured(made, options.rounds)
    for name, row in found.items():
        late = "  more than it may" if row["ratio"] > MOST else ""
        print(f"{name:28} {row['microseconds']:8.2f} us  {row['ratio']:5.2f} x{late}", flush=True)
    if options.write:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if any(row["ratio"] > MOST for row in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
