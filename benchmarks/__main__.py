"""setsail beside its peers: installs each, starts it, checks its answers, drives it, and writes what came of it.

    python -m benchmarks --quick                 the ratios that setsail promises: about 20 minutes on two cores
    python -m benchmarks                         every peer with every workload it can do: an hour or two
    python -m benchmarks --workloads iris,digits --peers setsail,fastapi,granian --workers 1 --rounds 5

Writes results.json, table.md and plot.svg into --out, after every visit, so an interrupted run leaves what it has.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.figures import rotated
from benchmarks.peers import PEERS
from benchmarks.processes import PRIORITY, raise_priority
from benchmarks.report import machine, written
from benchmarks.visits import Bench, FailedError
from benchmarks.workloads import QUICK, WORKLOADS, Visit


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parsed


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the visits that the promises need")
    parser.add_argument("--workloads", type=_names(list(WORKLOADS)), help=", ".join(WORKLOADS))
    parser.add_argument("--peers", type=_names(list(PEERS)), help=", ".join(PEERS))
    parser.add_argument("--workers", help="worker processes of each server: 1 or 2, or 1,2 for both in turn")
    parser.add_argument("--clients", help="numbers of clients, such as 1,64, instead of each workload's own")
    parser.add_argument("--rounds", type=int, default=3, help="times that every server is started and driven [3]")
    parser.add_argument("--seconds", type=float, default=3, help="of each window; doubled for slow requests [3]")
    parser.add_argument("--warm-up", type=float, default=1, help="seconds of load before the first window [1]")
    parser.add_argument("--full-size", action="store_true", help="the encoder in BERT-base's size")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "setsail-benchmarks",
                        help="where environments and models are kept")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--json", type=Path, help="write results.json here instead")
    parser.add_argument("--no-priority", action="store_true", help="do not raise the priority of this session")
    parser.add_argument("--list", action="store_true", help="print the visits and stop")
    parser.add_argument("--install-only", action="store_true", help="make the environments and models and stop")
    return parser.parse_args(argv)


def planned(options: argparse.Namespace) -> list[Visit]:
    """The visits of one round."""
    workers = [int(number) for number in (options.workers or "2").split(",")]
    clients = tuple(int(number) for number in options.clients.split(",")) if options.clients else ()
    if options.quick:
        visits = list(QUICK)
    else:
        visits = [
            Visit(workload, name, count)
            for workload, row in WORKLOADS.items()
            for name, peer in PEERS.items()
            for count in workers
            if row.kind in peer.wires and (not peer.only or workload in peer.only)
        ]
    chosen = [
        visit
        for visit in visits
        if (not options.workloads or visit.workload in options.workloads)
        and (not options.peers or visit.peer in options.peers)
        and (not options.workers or visit.workers in workers)
    ]
    return [visit._replace(clients=clients) for visit in chosen] if clients else chosen


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    visits = planned(options)
    if options.list:
        for visit in visits:
            clients = visit.clients or WORKLOADS[visit.workload].clients
            print(f"{visit.workload:14} {visit.peer:17} {visit.workers} workers  clients {clients}")
        return 0
    if not sys.platform.startswith("linux"):
        print("this reads /proc, so it needs Linux", file=sys.stderr)
        return 2
    priority = "not asked for" if options.no_priority else raise_priority()
    print(f"priority of this session: {priority or PRIORITY}", file=sys.stderr)
    bench = Bench(
        options.cache, options.seconds, options.warm_up, full_size=options.full_size, priority=priority is None
    )
    bench.install({visit.peer for visit in visits}, {visit.workload for visit in visits}, _said)
    facts = machine() | {"seconds": options.seconds, "full_size": options.full_size, "priority": priority or PRIORITY}
    if options.install_only:
        return 0
    begin = time.monotonic()
    try:
        for turn in range(options.rounds):
            for number, visit in enumerate(rotated(visits, turn)):
                done = turn * len(visits) + number
                spent = time.monotonic() - begin
                left = f", {spent / done * (options.rounds * len(visits) - done) / 60:.0f} min left" if done else ""
                _said(f"[{turn + 1}/{options.rounds}{left}] {visit.workload} {visit.peer} x{visit.workers}: ", end="")
                try:
                    samples = bench.visit(visit, turn)
                except FailedError as why:
                    _said(f"SKIPPED, {why}")
                    continue
                _said("  ".join(f"{row['clients']} clients {row['rate']:,.0f}/s" for row in samples))
                written(bench.document(facts), options.out, options.json)
    except KeyboardInterrupt:
        _said("\ninterrupted: what is done is kept")
    finally:
        if priority is None:
            raise_priority(nice=0)
    written(bench.document(facts), options.out, options.json)
    print((options.out / "table.md").read_text())
    return 0


def _said(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
