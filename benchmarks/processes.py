"""A server's processes: starting them, how long until they answer, what they use, ending them.

Linux only: everything is read from /proc. A server's processes are its first one's descendants and whoever carries our
mark in the environment, because some servers detach theirs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["PRIORITY", "Server", "busy_seconds", "free_port", "own_seconds", "raise_priority"]

PRIORITY = -15
_TICK = os.sysconf("SC_CLK_TCK")
_MARK = "SETSAIL_BENCHMARK"


def raise_priority(pid: int | str = "self", nice: int = PRIORITY) -> str | None:
    """Put the session of `pid` before others on this machine; None, or why that cannot be.

    With the kernel's autogroups, which desktops and clouds switch on, `nice` counts within a session only: whatever
    else runs on the machine gets its share of CPU as a session, and figures are two to five times worse for it.
    """
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except OSError as fault:
        return str(fault)
    return None


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used, and what the hypervisor took away."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICK


def own_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


class Server:
    """A server under test. `log` gets what it prints."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.log = log
        self.begin = time.perf_counter()
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **environment, _MARK: self.mark},
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder,
            )  # fmt: skip

    def wait(self, ready: Callable[[], str | None], seconds: float) -> float:
        """Seconds from the start until `ready` returns None; what it says otherwise is why not yet.

        Raises RuntimeError when the process ends or time is up.
        """
        why: str | None = "not asked"
        while time.perf_counter() - self.begin < seconds:
            why = ready()
            if why is None:
                return time.perf_counter() - self.begin
            if self.process.poll() is not None:
                raise RuntimeError(f"it ended with {self.process.returncode}: {self.tail()}")
            time.sleep(0.003)
        raise RuntimeError(f"no right answer within {seconds:.0f} s: {why}; it printed: {self.tail()}")

    def answers(self, port: int, seconds: float = 30.0) -> None:
        """Wait until somebody listens. Raises RuntimeError as `wait` does."""

        def ready() -> str | None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError as fault:
                return str(fault)
            return None

        self.wait(ready, seconds)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-800:].strip()

    def pids(self) -> list[int]:
        """Its processes that live now."""
        parents: dict[int, int] = {}
        marked: set[int] = {self.process.pid}
        mark = f"{_MARK}={self.mark}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text()
                if mark in (entry / "environ").read_bytes():
                    marked.add(int(entry.name))
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        found = {pid for pid in marked if pid in parents}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def prefer(self) -> None:
        """Sessions that the server made for itself get the harness's priority."""
        for pid in self.pids():
            raise_priority(pid)

    def cpu_seconds(self) -> float:
        """User and system time of all its processes, and of their children that have ended."""
        return sum(self.user_and_system())

    def user_and_system(self) -> tuple[float, float]:
        """The same apart."""
        user = system = 0
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
        return user / _TICK, system / _TICK

    def pss_mb(self) -> float:
        """Memory of all its processes together, pages they share counted once."""
        total = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def stop(self, seconds: float = 5.0) -> None:
        """Ask it to end, then end whatever is left of it."""
        pids = self.pids()
        if self.process.poll() is None:
            self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        for pid in {*pids, *self.pids()}:
            if pid == self.process.pid and self.process.poll() is not None:
                continue
            try:
                if pid != self.process.pid and not self._ours(pid):
                    continue
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        self.process.wait()

    def _ours(self, pid: int) -> bool:
        """Whether a number still means the process that we saw, and not a newer one of somebody else."""
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        return not environment or f"{_MARK}={self.mark}".encode() in environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
