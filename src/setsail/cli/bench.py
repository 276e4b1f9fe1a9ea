"""`setsail bench`: how fast a model is served, measured from outside."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import click

from setsail import artifact
from setsail.cli.console import Bar, Console
from setsail.cli.options import verb
from setsail.errors import SetsailError
from setsail.loadtest import rendering
from setsail.loadtest.bench import MODES, Plan, measure
from setsail.loadtest.inputs import from_artifact, from_file, made_up
from setsail.loadtest.report import Phase, Report
from setsail.loadtest.subject import Subject
from setsail.loadtest.targets import Started, metadata, place
from setsail.loadtest.wires import WIRES
from setsail.server.opening import resolve
from setsail.signature import DEFAULT

__all__ = ["command"]

_KEY: Final = "SETSAIL_API_KEY"


class _Numbers(click.ParamType[tuple[int, ...]]):
    """`1,8,64`."""

    name = "numbers"

    def convert(self, value: object, param: object, ctx: object) -> tuple[int, ...]:
        parts = str(value).split(",")
        if not all(p.strip().isascii() and p.strip().isdigit() and 0 < int(p) <= 10_000 for p in parts):
            self.fail(f"{value!r} is no list of numbers such as 1,8,64")
        return tuple(sorted({int(p) for p in parts}))


class _Modes(click.ParamType[tuple[str, ...]]):
    """`closed,open`."""

    name = "modes"

    def convert(self, value: object, param: object, ctx: object) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in str(value).split(","))
        if not set(parts) <= set(MODES):
            self.fail(f"{value!r} is no list out of {', '.join(MODES)}")
        return parts


@verb(
    "bench",
    "Measure TARGET: an artifact or a model file, for which `setsail serve` is started on a free port, or the URL of "
    "any server of the Open Inference Protocol. Closed loop: clients that wait for their answers. Open loop: requests "
    "at random times, as from many users, and the highest rate that keeps a p99. Offline: large batches. An API key "
    f"is taken from {_KEY}.",
    examples=(
        ("setsail bench credit-1.setsail", "everything, in about a minute"),
        ("setsail bench credit-1.setsail --workers 1 --wire v2-binary --mode closed", "one process, binary tensors"),
        ("setsail bench http://127.0.0.1:8080/v2/models/credit --rows rows.csv", "a server that runs, with your rows"),
        ("setsail bench credit-1.setsail --target-p99 10 --json", "for a machine to compare"),
        ("setsail bench price-1.setsail --signature regress", "another of the model's signatures"),
    ),
)
@click.argument("target", metavar="TARGET")
@click.option("--wire", type=click.Choice(list(WIRES)), default="v2", show_default=True, help="How requests are sent.")
@click.option("--mode", "modes", metavar="M,M", type=_Modes(), default=",".join(MODES), show_default=True,
              help="What is measured.")  # fmt: skip
@click.option("--clients", metavar="N,N", type=_Numbers(), default="1,8,64", show_default=True,
              help="Clients of the closed loop, one measurement each.")  # fmt: skip
@click.option("--seconds", metavar="S", type=click.FloatRange(0.05, 3600), default=5.0, show_default=True,
              help="Length of one measurement.")  # fmt: skip
@click.option("--rate", metavar="R", type=click.FloatRange(0, min_open=True),
              help="Requests a second of the open loop, instead of looking for the highest.")  # fmt: skip
@click.option("--target-p99", metavar="MS", type=click.FloatRange(0, min_open=True),
              help="Milliseconds within which 99 of 100 requests must be answered; default: ten times the p50 of the "
                   "fewest clients, and 5 at least.")  # fmt: skip
@click.option("--rows", "rows_file", metavar="FILE", type=click.Path(path_type=Path),
              help="Rows to send, instead of the artifact's samples or made-up ones.")  # fmt: skip
@click.option("--signature", metavar="NAME", default=DEFAULT, show_default=True,
              help="Which of the model's signatures is asked; of a URL, one of /v1/models/NAME/metadata.")  # fmt: skip
@click.option("--workers", metavar="N", type=click.IntRange(0), default=0,
              help="Processes of the server that is started; 0 is one a core.")  # fmt: skip
def command(
    console: Console, target: str, wire: str, modes: tuple[str, ...], clients: tuple[int, ...], seconds: float,
    rate: float | None, target_p99: float | None, rows_file: Path | None, signature: str, workers: int,
) -> int:  # fmt: skip
    asked = "" if signature == DEFAULT else signature
    if asked and not WIRES[wire].named:
        raise SetsailError("command.usage", f"the wire {wire} has no word for a signature", field="--signature",
                           value=signature, todo="pass another --wire")  # fmt: skip
    if "open" in modes and "closed" not in modes and rate is None:
        raise SetsailError("command.usage", "an open loop alone needs its rate", field="--rate",
                           todo="pass --rate, or measure the closed loop as well")  # fmt: skip
    plan = Plan(wire, clients, seconds, modes, rate or 0.0, (target_p99 or 0.0) / 1000)
    with _end_on_sigterm(), _subject(console, target, rows_file, workers, asked) as subject, _Shown(console) as shown:
        report = measure(subject, plan, shown)
    plain = not (sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower())
    console.result(rendering.text(report, plain=plain), report.to_json())
    console.next(_next(target, report, workers, asked))
    return 130 if report.interrupted else 1 if report.unequal else 0


@contextmanager
def _subject(console: Console, target: str, rows_file: Path | None, workers: int, asked: str) -> Iterator[Subject]:
    """What is measured; a server that was started for it ends with it."""
    if "://" in target:
        headers = _headers()
        where, signature = metadata(place(target), headers, asked)
        inputs = from_file(signature, rows_file) if rows_file else made_up(signature)
        yield Subject(where, signature, inputs, headers, asked=asked)
        return
    with console.stages() as stages:
        opening = resolve(Path(target), progress=stages)
        if opening.note:
            console.note(opening.note)
        with artifact.read(opening.path) as opened:
            meant = opened.under(asked or DEFAULT)
            signature = meant.signature
            inputs = from_file(signature, rows_file) if rows_file else from_artifact(meant)
        stages(f"starting the server of {opening.path.name}")
        started = Started(opening.path, workers)
    with started:
        line = " ".join(started.command)
        yield Subject(started.place, signature, inputs, _headers(), started.pid, line, workers, asked)


def _headers() -> Mapping[str, str]:
    return {"Authorization": f"Bearer {os.environ[_KEY]}"} if os.environ.get(_KEY) else {}


@contextmanager
def _end_on_sigterm() -> Iterator[None]:
    """SIGTERM ends in good order: the server that was started must not be left behind."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _next(target: str, report: Report, workers: int, asked: str) -> str:
    again = f"setsail bench {target}" + (f" --signature {asked}" if asked else "")
    if report.interrupted:
        return f"{again} --seconds 1"
    if "://" in target:
        rate = report.best_rate
        return f"{again} --rate {max(1, round(rate * 0.8))} --seconds 60" if rate else f"{again} --wire v2-binary"
    return f"setsail serve {target}" + (f" --workers {workers}" if workers else "")


class _Shown:
    """Progress: a bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Bar | None = None

    def phase(self, title: str) -> None:
        self.close()
        if sys.stderr.isatty():
            self._bar = self._console.bar(title, beside_output=False).__enter__()
        else:
            self._console.note(f"{title} …")

    def update(self, fraction: float, rows: int) -> None:
        if self._bar is not None:
            self._bar.update(fraction, rows)

    def done(self, phase: Phase) -> None:
        self.close()
        self._console.note(f"{click.style('✓', fg='green')} {rendering.line(phase)}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
