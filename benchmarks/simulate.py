"""How the scheduler behaves under load, in virtual time: the very objects that the server uses, and no clock.

    python benchmarks/simulate.py [--seconds 2] [--seed 1] [--load TEXT] [--json]

One event loop (a core) reads, decodes and answers; each model's thread (another core) runs what is not inline. A
request costs the loop `REQUEST` seconds, a refusal `REFUSAL`, a batch that goes to the thread `HOP`; everything that
came while the loop was busy is one turn. Run times are drawn around a line, `fixed + row * rows`. The baselines are the
same scheduler with other rules: no batching, and a fixed delay of 2 ms. Exits with 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from heapq import heappop, heappush
from math import inf

from setsail.scheduling import Batch, Rules, RunTimes, Scheduler, Ticket

REQUEST, REFUSAL, HOP = 20e-6, 4e-6, 80e-6
SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Work:
    """A model: what a run of so many rows takes. `tail` is the Pareto exponent of slow runs, 0 for none."""

    name: str
    fixed: float
    row: float
    tail: float = 0.0

    def line(self, rows: int) -> float:
        return self.fixed + self.row * rows

    def draw(self, rows: int, chance: random.Random) -> float:
        seconds = self.line(rows) * chance.lognormvariate(0.0, 0.1)
        return seconds * min(50.0, chance.paretovariate(self.tail)) if self.tail else seconds


@dataclass(frozen=True)
class Coming:
    """One request that will come. `client` is set in a closed loop: its next one comes after the answer."""

    at: float
    rows: int = 1
    client: int = -1


@dataclass
class Outcome:
    """What became of the requests of one run of the simulator."""

    seconds: float
    came: int = 0
    refused: int = 0
    dropped: int = 0
    late: int = 0
    batches: int = 0
    inline: int = 0
    waits: list[tuple[float, float]] = field(default_factory=list)  # when it came, seconds until its answer
    rows: int = 0

    def quantile(self, share: float, since: float = 0.0) -> float:
        waits = sorted(wait for at, wait in self.waits if at >= since)
        return waits[min(len(waits) - 1, int(share * len(waits)))] if waits else inf

    @property
    def rate(self) -> float:
        return len(self.waits) / self.seconds

    @property
    def goodput(self) -> float:
        """Answers in time, a second."""
        return (len(self.waits) - self.late) / self.seconds


class Machine:
    """One event loop and one model, until nothing is left to do."""

    def __init__(self, work: Work, rules: Rules, chance: random.Random, allowed: float = inf) -> None:
        self.work, self.chance, self.allowed = work, chance, allowed
        ladder = {rows: work.line(rows) for rows in SIZES}
        self.scheduler = Scheduler(rules, RunTimes.from_ladder(ladder))
        self._events: list[tuple[float, int, Coming | tuple[Batch, float] | None]] = []
        self._number = 0

    def run(self, load: Iterator[Coming], seconds: float) -> Outcome:
        outcome = Outcome(seconds)
        self._next(load)
        now, turn = 0.0, 0
        while self._events:
            now = begin = max(now, self._events[0][0])
            turn += 1
            self.scheduler.turn(turn)
            while self._events and self._events[0][0] <= begin:  # all that came while the loop was busy
                _, _, what = heappop(self._events)
                if isinstance(what, Coming):
                    if what.client < 0:
                        self._next(load)
                    now = self._come(what, now, outcome)
                elif what is not None:
                    batch, took = what
                    self.scheduler.done(batch, took, now)
                    now = self._answer(batch, now, outcome)
            now = self._pump(now, outcome)
        assert self.scheduler.waiting_rows == self.scheduler.waiting_bytes == self.scheduler.running == 0
        assert outcome.came == outcome.refused + outcome.dropped + len(outcome.waits), "a request was lost"
        return outcome

    def _next(self, load: Iterator[Coming]) -> None:
        for coming in load:
            self._at(coming.at, coming)
            if coming.client < 0:
                return  # an open loop is drawn one by one, a closed one at once

    def _at(self, when: float, what: Coming | tuple[Batch, float] | None) -> None:
        self._number += 1
        heappush(self._events, (when, self._number, what))

    def _come(self, coming: Coming, now: float, outcome: Outcome) -> float:
        outcome.came += 1
        deadline = coming.at + self.allowed
        if self.scheduler.admit(100 * coming.rows, now, deadline, coming.rows) is not None:
            outcome.refused += 1
            return now + REFUSAL
        self.scheduler.put(Ticket(coming.rows, 100 * coming.rows, "k", coming.at, deadline, payload=coming))
        return now + REQUEST

    def _pump(self, now: float, outcome: Outcome) -> float:
        while (what := self.scheduler.take(now)) is not None:
            if isinstance(what, float):
                self._at(what, None)
                return now
            outcome.dropped += len(what.dropped)
            if not what.tickets:
                continue
            outcome.batches += 1
            outcome.rows += what.rows
            took = self.work.draw(what.rows, self.chance)
            if what.inline:
                outcome.inline += 1
                now += took
                self.scheduler.done(what, took, now)
                now = self._answer(what, now, outcome)
            else:
                self._at(now + HOP + took, (what, took))
        return now

    def _answer(self, batch: Batch, now: float, outcome: Outcome) -> float:
        for ticket in batch.tickets:
            coming = ticket.payload
            outcome.waits.append((coming.at, now - coming.at))
            outcome.late += now > ticket.deadline
            if coming.client >= 0 and now < outcome.seconds:
                self._at(now, Coming(now, coming.rows, coming.client))
        return now


# -- loads -------------------------------------------------------------------------------------------------------------


def closed(clients: int) -> Iterator[Coming]:
    """Clients that send their next request when they have the answer."""
    return (Coming(0.0, client=number) for number in range(clients))


def poisson(
    rate: float, seconds: float, chance: random.Random, rows: Callable[[], int] = lambda: 1
) -> Iterator[Coming]:
    at = chance.expovariate(rate)
    while at < seconds:
        yield Coming(at, rows())
        at += chance.expovariate(rate)


def bursts(rate: float, seconds: float, chance: random.Random) -> Iterator[Coming]:
    """The same mean rate in a tenth of the time: 20 ms of tenfold load, 180 ms of nothing."""
    for coming in poisson(rate, seconds, chance):
        yield Coming(0.2 * (coming.at // 0.2) + 0.1 * (coming.at % 0.2))


def flood(rate: float, seconds: float, chance: random.Random) -> Iterator[Coming]:
    """Half the peak, then ten times the peak for half of the time, then half the peak again."""
    begin, end = seconds / 4, seconds * 3 / 4
    at = 0.0
    while at < seconds:
        at += chance.expovariate(rate * (10 if begin <= at < end else 0.5))
        yield Coming(at)


def pareto_rows(chance: random.Random) -> Callable[[], int]:
    return lambda: min(256, int(chance.paretovariate(1.2)))


# -- what is compared --------------------------------------------------------------------------------------------------

WORKS = {
    work.name: work
    for work in (
        Work("tiny", 14e-6, 0.1e-6),  # iris: batches cost nothing
        Work("trees", 25e-6, 6e-6),  # 200 boosted trees
        Work("encoder", 4e-3, 1e-3),  # gains from batches, far too long for the loop
        Work("slow", 0.0, 2e-3),  # 2 ms a row, and nothing gained by batches
    )
}
POLICIES: dict[str, dict[str, float]] = {
    "setsail": {},
    "batch 1": {"max_batch": 1},
    "2 ms delay": {"max_delay": 0.002},
}


@dataclass(frozen=True)
class Row:
    """One line of the table; seconds are milliseconds here."""

    load: str
    work: str
    policy: str
    rate: float
    goodput: float
    p50: float
    p99: float
    refused: float
    batch: float
    inline: float
    after: float = 0.0  # p99 once a flood is over


def measured(load: str, work: Work, policy: str, seconds: float, seed: int) -> Row:
    """Run one load on one model under one policy."""
    chance = random.Random(seed)
    rules, allowed, since = dict(POLICIES[policy]), inf, 0.0
    peak = _peak(work, "setsail", seconds, seed) if load in ("flood", "heavy tail") else 0.0
    batched = 1 / (max(work.line(32), 32 * REQUEST) / 32)
    if load.startswith("closed"):
        coming = closed(int(load.split()[1]))
    elif load == "poisson":
        coming = poisson(0.5 * batched, seconds, chance)
    elif load == "bursts":
        coming = bursts(0.15 * batched, seconds, chance)
    elif load == "heavy tail":
        work = Work(work.name, work.fixed, work.row, tail=2.0)
        coming = poisson(peak * 0.06, seconds, chance, pareto_rows(chance))
    else:
        target = budget(work)
        rules["latency_target"], allowed, since = target, 2 * target, seconds * 3 / 4 + 0.05 * seconds
        coming = flood(peak, seconds, chance)
    outcome = Machine(work, Rules(**rules), chance, allowed).run(coming, seconds)  # type: ignore[arg-type]
    if load == "flood":  # the figures of the flood itself
        begin, end = seconds / 4, seconds * 3 / 4
        inside = [(at, wait) for at, wait in outcome.waits if begin <= at < end]
        flooded = Outcome(end - begin, waits=inside, late=sum(wait > allowed for _, wait in inside))
    else:
        flooded = outcome
    return Row(
        load, work.name, policy, flooded.rate, flooded.goodput, 1e3 * flooded.quantile(0.5),
        1e3 * flooded.quantile(0.99), (outcome.refused + outcome.dropped) / max(1, outcome.came),
        outcome.rows / max(1, outcome.batches), outcome.inline / max(1, outcome.batches),
        1e3 * outcome.quantile(0.99, since) if load == "flood" else 0.0,
    )  # fmt: skip


def budget(work: Work) -> float:
    """What an operator would ask for: five runs of a batch of eight."""
    return 5 * (work.line(8) + HOP)


def _peak(work: Work, policy: str, seconds: float, seed: int) -> float:
    """Requests a second that the model can answer: 64 clients that never wait."""
    return Machine(work, Rules(**POLICIES[policy]), random.Random(seed)).run(closed(64), seconds).rate  # type: ignore[arg-type]


LOADS = ("closed 1", "closed 64", "poisson", "bursts", "heavy tail", "flood")


def table(seconds: float, seed: int, only: str = "") -> list[Row]:
    """All rows. A flood of what a loop answers in microseconds is the sockets' business, so it is not in here."""
    return [
        measured(load, work, policy, seconds, seed)
        for load in LOADS
        if only in load
        for work in WORKS.values()
        if load != "flood" or work.line(1) >= 0.002
        for policy in POLICIES
    ]


def broken(rows: list[Row], seconds: float, seed: int) -> list[str]:
    """Promises that the table does not keep."""
    found = {(row.load, row.work, row.policy): row for row in rows}
    faults = []
    for (load, name, policy), row in found.items():
        alone = found[load, name, "batch 1"]
        where = f"{load}, {name}"
        if policy != "setsail":
            continue
        if load == "closed 1" and row.p50 > 1.01 * alone.p50:
            faults.append(f"{where}: p50 {row.p50:.3f} ms, batch 1 has {alone.p50:.3f}")
        if load == "closed 64" and row.rate < 0.97 * alone.rate:
            faults.append(f"{where}: {row.rate:.0f}/s, batch 1 has {alone.rate:.0f}")
        if load == "flood":
            work = WORKS[name]
            peak = _peak(work, policy, seconds, seed)
            if row.goodput < 0.9 * peak:
                faults.append(f"{where}: goodput {row.goodput:.0f}/s of a peak of {peak:.0f}")
            if row.p99 > 3e3 * budget(work):
                faults.append(f"{where}: p99 {row.p99:.1f} ms of a budget of {1e3 * budget(work):.1f}")
            if row.after > 1e3 * budget(work):
                faults.append(f"{where}: p99 {row.after:.1f} ms after the flood")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="virtual seconds of each load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--load", default="", help=f"only loads with this text: {', '.join(LOADS)}")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = table(given.seconds, given.seed, given.load)
    faults = broken(rows, given.seconds, given.seed)
    if given.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "broken": faults}))
        return bool(faults)
    print(f"{'load':<11}{'model':<9}{'policy':<11}{'answers/s':>10}{'in time/s':>10}{'p50 ms':>9}{'p99 ms':>9}"
          f"{'refused':>9}{'batch':>7}{'inline':>8}{'after ms':>9}")  # fmt: skip
    for row in rows:
        print(f"{row.load:<11}{row.work:<9}{row.policy:<11}{row.rate:>10,.0f}{row.goodput:>10,.0f}{row.p50:>9.3f}"
              f"{row.p99:>9.3f}{row.refused:>9.1%}{row.batch:>7.1f}{row.inline:>8.0%}{row.after:>9.1f}")  # fmt: skip
    for fault in faults:
        print("broken:", fault, file=sys.stderr)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
