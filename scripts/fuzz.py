"""Fuzz every reader of what a client sends: `python scripts/fuzz.py --minutes 60`.

The targets are in `tests/fuzz/targets.py`. Each runs in a process of its own, which changes good cases at random and
keeps those whose outcome is new; one of fifty is watched, and kept too if it reaches a line of ours that none did
before. How many cases are kept, how many lines were reached and how much memory the process has beside them is told as
they grow. A finding is a case that raises, takes more than 5 seconds of CPU time, or kills the process; or memory that
grew by more than 64 MB after the first fifth of the time. Its bytes are kept, made as small as they get while they do
the same, and printed as a line for `tests/fuzz/test_targets.py`. Ends with 1 if there were any. The same --seed makes
the same cases.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Hashable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "fuzz")]

SOURCE = str(ROOT / "src" / "setsail")
WATCHED = 50  # of so many cases, one
HANG = 5.0  # seconds of CPU time
MOST = 1 << 16  # bytes of a case
KEPT = 4000  # cases with outcomes of their own
MEMORY = 4 << 30
SETTLED, GROWTH = 0.2, 64.0  # of the time, after which a process may not grow by so many MB
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 4096, 16384, 65535, 65536, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)


# -- one process, one target -------------------------------------------------------------------------------------------


def change(case: bytes, target: Any, corpus: list[bytes], rng: random.Random) -> bytes:
    """A case near this one."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if target.parts is not None and rng.random() < 0.5:
            case = change_parts(target.parts(case), target, corpus, rng)
        else:
            case = change_bytes(case, target.words, corpus, rng)
    return case[:MOST]


def change_bytes(case: bytes, words: tuple[bytes, ...], corpus: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(case) + 1)
    end = min(len(case), at + rng.choice((1, 1, 2, 4, 9, 40, 400)))
    kind = rng.randrange(8)
    if kind == 0:
        return case[:at] + bytes([rng.randrange(256)]) + case[at + 1 :]
    if kind == 1:
        return case[:at] + rng.randbytes(rng.randrange(1, 9)) + case[at:]
    if kind == 2:
        return case[:at] + case[end:]
    if kind == 3:
        return case[:end] + case[at:end] * rng.choice((1, 1, 2, 20)) + case[end:]
    if kind == 4:
        other = rng.choice(corpus)
        start = rng.randrange(len(other) + 1)
        return (
            case[:at] + other[start : start + rng.choice((4, 16, 64, 4000))] + case[end if rng.random() < 0.5 else at :]
        )
    if kind == 5 and words:
        return case[:at] + rng.choice(words) + case[end if rng.random() < 0.5 else at :]
    if kind == 6:
        size = rng.choice((1, 2, 3, 4, 8))
        number = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
        return case[:at] + number.to_bytes(size, rng.choice(("big", "little"))) + case[at + size :]
    return case[:at] + str(rng.choice(NUMBERS)).encode() + case[end:]


def change_parts(parts: list[bytes], target: Any, corpus: list[bytes], rng: random.Random) -> bytes:
    at, kind = rng.randrange(len(parts)), rng.randrange(6)
    if kind == 0:
        del parts[at]
    elif kind == 1:
        parts[at:at] = [parts[at]] * rng.choice((1, 1, 3, 60))
    elif kind == 2:
        other = rng.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    elif kind == 3:
        parts.insert(at, rng.choice(target.parts(rng.choice(corpus))))
    elif target.words:
        parts[at] = rng.choice(target.words)
    elif len(parts[at]) >= 9:  # a frame: one octet of its head, or its payload with the length put right
        if kind == 4:
            place = rng.randrange(3, 9)
            parts[at] = (
                parts[at][:place]
                + bytes([rng.choice((0, 1, 3, 4, 5, 8, 9, 255, rng.randrange(256)))])
                + parts[at][place + 1 :]
            )
        else:
            payload = change_bytes(parts[at][9:], (), corpus, rng)
            parts[at] = len(payload).to_bytes(3, "big") + parts[at][3:9] + payload
    return b"".join(parts)


def fault_of(target: Any, case: bytes) -> tuple[str, str] | None:
    """What a case raises, as its type and place, and as text; None for nothing."""
    try:
        target.run(case)
    except Exception as fault:
        frame = traceback.extract_tb(fault.__traceback__)[-1]
        return (
            f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}",
            f"{type(fault).__name__}: {fault}"[:300],
        )
    return None


def smallest(target: Any, case: bytes, place: str) -> bytes:
    """The case without what it does not need for the same fault."""
    size, until = len(case) // 2, time.monotonic() + 20
    while size and time.monotonic() < until:
        at = 0
        while at < len(case) and time.monotonic() < until:
            shorter = case[:at] + case[at + size :]
            found = fault_of(target, shorter)
            if found is not None and found[0] == place:
                case = shorter
            else:
                at += size
        size //= 2
    return case


def child(name: str, seed: int, until: float, board: Path) -> None:
    """Run one target until the time is up. The case in work is on the board, in case this process cannot tell it."""
    from targets import TARGETS

    with contextlib.suppress(ImportError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("error")
    target, rng = TARGETS[name], random.Random(f"{name} {seed}")
    corpus = list(target.seeds())
    outcomes: set[Hashable] = set()
    seen = Coverage()
    places: set[str] = set()
    with board.open("r+b") as file, mmap.mmap(file.fileno(), 16 + MOST) as shown:
        queue, count, told = list(corpus), 0, 0.0
        while (now := time.time()) < until:
            case = queue.pop() if queue else change(rng.choice(corpus), target, corpus, rng)
            shown[8:16] = len(case).to_bytes(8, "little")
            shown[16 : 16 + len(case)] = case
            count += 1
            shown[:8] = count.to_bytes(8, "little")
            try:
                outcome = seen.run(target, case) if queue or count % WATCHED == 0 else target.run(case)
                if (outcome not in outcomes or seen.new) and len(corpus) < KEPT:
                    outcomes.add(outcome)
                    corpus.append(case)
                    if not seen.new:
                        seen.run(target, case)
                seen.new = False
            except Exception:
                place, text = fault_of(target, case) or ("gone when run again", "it did not fail again")
                if place not in places and len(places) < 20:
                    places.add(place)
                    tell({"found": place, "text": text, "case": encoded(smallest(target, case, place))})
            if now - told > 2:
                told = now
                tell(state(count, corpus, seen))
    tell(state(count, corpus, seen))


def state(count: int, corpus: list[bytes], seen: Coverage) -> dict[str, Any]:
    """How far a process is; its memory is told without the cases that it keeps."""
    kept = sum(map(len, corpus)) / 1e6
    return {"count": count, "corpus": len(corpus), "lines": len(seen.lines), "memory": resident() - kept}


def resident() -> float:
    """MB that this process has in memory; 0 where that cannot be had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError):
        return 0.0


class Coverage:
    """Which lines of ours cases have reached. Watching one costs ten times its time."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()
        self.new = False

    def run(self, target: Any, case: bytes) -> Hashable:
        """Run a case; `new` says whether it reached a line that none had."""
        before = len(self.lines)
        sys.settrace(self._enter)
        try:
            outcome: Hashable = target.run(case)
        finally:
            sys.settrace(None)
            self.new = len(self.lines) > before
        return outcome

    def _enter(self, frame: Any, event: str, value: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(SOURCE) else None

    def _line(self, frame: Any, event: str, value: Any) -> Any:
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def tell(news: dict[str, Any]) -> None:
    print(json.dumps(news), flush=True)


def encoded(case: bytes) -> str:
    return base64.b64encode(case).decode()


# -- all of them -------------------------------------------------------------------------------------------------------


class Worker:
    """The process of one target, and what it has told."""

    def __init__(self, name: str, seed: int, until: float, folder: Path) -> None:
        self.name, self.seed, self.until = name, seed, until
        self.settling = time.time() + SETTLED * (until - time.time())
        self.settled = self.memory = 0.0
        self.board, self.log, self.errors = (folder / f"{name}.{kind}" for kind in ("case", "news", "errors"))
        self.count = self.corpus = self.lines = self.read = self.before = 0
        self.findings: list[tuple[str, str, bytes]] = []
        self.start()

    def start(self) -> None:
        self.board.write_bytes(bytes(16 + MOST))
        self.log.write_bytes(b"")
        self.read = self.last = 0
        self.used = 0.0
        command = [sys.executable, __file__, "--child", self.name, "--seed", str(self.seed), "--until", str(self.until),
                   "--board", str(self.board)]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        with self.log.open("ab") as out, self.errors.open("ab") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)

    def look(self) -> bool:
        """Read the news and see to hangs and deaths; whether the process is still at work."""
        ended = self.process.poll()
        news = self.log.read_bytes()
        done = news.rfind(b"\n") + 1
        for line in news[self.read : done].splitlines():
            told = json.loads(line)
            if "found" in told:
                self.findings.append((told["found"], told["text"], base64.b64decode(told["case"])))
            else:
                self.count, self.corpus = self.before + told["count"], told["corpus"]
                self.lines = max(self.lines, told["lines"])
                self.memory = told["memory"]
                if time.time() < self.settling or not self.settled:
                    self.settled = self.memory
        self.read = done
        if ended == 0:
            if self.memory > self.settled + GROWTH:
                self.findings.append(("memory", f"it grew from {self.settled:.0f} to {self.memory:.0f} MB", b""))
            return False
        board = self.board.read_bytes()
        count, size = int.from_bytes(board[:8], "little"), int.from_bytes(board[8:16], "little")
        if ended is not None:
            why = self.errors.read_text(errors="replace").strip().splitlines()[-1:] or [""]
            return self.replace(f"the process ended with {ended}", why[0], board[16 : 16 + size])
        used = cpu_seconds(self.process.pid)
        if count != self.last:
            self.last, self.used = count, used
        elif count and used - self.used > HANG:
            self.process.kill()
            self.process.wait()
            return self.replace("a hang", f"more than {HANG:g} s for one case", board[16 : 16 + size])
        return True

    def replace(self, place: str, text: str, case: bytes) -> bool:
        self.findings.append((place, text, case))
        if len(self.findings) > 20 or time.time() > self.until:
            return False
        self.before, self.seed = self.count, self.seed + 1  # the same seed would end the same way
        self.start()
        return True


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, so that a busy machine makes no hang; where it cannot be had, the clock."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.monotonic()


def run(names: list[str], seconds: float, seed: int, out: Path) -> int:
    began = time.time()
    with tempfile.TemporaryDirectory(prefix="setsail-fuzz-") as folder:
        workers = [Worker(name, seed, began + seconds, Path(folder)) for name in names]
        running, told, known = list(workers), time.time(), dict.fromkeys(names, 0)
        try:
            while running:
                time.sleep(0.2)
                running = [worker for worker in running if worker.look()]
                for worker in workers:
                    for place, text, case in worker.findings[known[worker.name] :]:
                        report(worker.name, place, text, case, out)
                    known[worker.name] = len(worker.findings)
                if time.time() - told > 10 or not running:
                    told = time.time()
                    show(workers, told - began, seconds)
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()
    total = sum(known.values())
    print(f"{sum(w.count for w in workers):,} cases, {total} findings" + (f", kept in {out}" if total else ""))
    return 1 if total else 0


def report(name: str, place: str, text: str, case: bytes, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{zlib.crc32(case):08x}.bin"
    path.write_bytes(case)
    print(f"FOUND in {name}: {place}: {text}\n    ({name!r}, {case[:2000]!r}),  # {place}; {path}", flush=True)


def show(workers: list[Worker], spent: float, seconds: float) -> None:
    parts = []
    for w in workers:
        found = f", {len(w.findings)} FOUND" if w.findings else ""
        parts.append(f"{w.name} {w.count:,} ({w.corpus} kept, {w.lines} lines, {w.memory:.0f} MB{found})")
    print(f"{spent:5.0f} of {seconds:.0f} s: " + ", ".join(parts), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--target", action="append", help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "setsail-fuzz")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--board", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.seed, asked.until, asked.board)
        return 0
    from targets import TARGETS

    for name in asked.target or ():
        if name not in TARGETS:
            parser.error(f"there is no target {name!r}; there are {', '.join(TARGETS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # its processes end with it
    return run(asked.target or list(TARGETS), asked.minutes * 60, asked.seed, asked.out)


if __name__ == "__main__":
    sys.exit(main())
