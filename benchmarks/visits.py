"""A visit: start a server, wait for its first right answer, check all its answers, drive it, look at it, stop it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import environments, load, models
from benchmarks.client import ask
from benchmarks.environments import UnavailableError
from benchmarks.figures import Load
from benchmarks.models import Case, Made
from benchmarks.peers import HERE, PEERS, Peer, Place
from benchmarks.processes import Server, busy_seconds, free_port, own_seconds
from benchmarks.wires import WIRES, Reply, Wire, framed, http_request
from benchmarks.workloads import WORKLOADS, Visit, Workload

__all__ = ["Bench", "FailedError"]

SETTLE = 0.5  # seconds between the first answer and the load: other workers of the server may still be starting
TRIES = 2  # failed visits after which a server is left alone


class FailedError(Exception):
    """A visit that gave no figures; the text says why."""


class Bench:
    """All visits of one run, and what came of them."""

    def __init__(self, cache: Path, seconds: float, warm_up: float, *, full_size: bool, priority: bool) -> None:
        self.cache = cache.resolve()
        self.seconds, self.warm_up, self.full_size = seconds, warm_up, full_size
        self.priority = priority  # whether that of the harness was raised, so that sessions of servers need it too
        self.samples: list[dict[str, Any]] = []
        self.skipped: dict[str, str] = {}
        self.made: dict[str, Made] = {}
        self.failures: dict[tuple[str, str], int] = {}

    def install(self, peers: Collection[str], workloads: Collection[str], say: Callable[[str], None]) -> None:
        """Environments and models, before anything is timed."""
        environments.compiled()
        for name in sorted({WORKLOADS[workload].model for workload in workloads}):
            self.made[name] = models.made(name, self.cache / "models", full_size=self.full_size)
        for name in PEERS:
            if name not in peers:
                continue
            try:
                self._bin(PEERS[name])
            except UnavailableError as why:
                self.skipped[name] = str(why)
                say(f"{name}: skipped, {why}")

    def document(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"machine": dict(facts), "skipped": self.skipped, "samples": self.samples}

    def visit(self, visit: Visit, turn: int) -> list[dict[str, Any]]:
        """One sample for each number of clients. Raises Failed."""
        key = (visit.workload, visit.peer)
        if visit.peer in self.skipped:
            raise FailedError(self.skipped[visit.peer])
        if self.failures.get(key, 0) >= TRIES:
            raise FailedError("it failed before")
        try:
            samples = self._visited(visit)
        except (UnavailableError, RuntimeError, OSError, subprocess.SubprocessError) as why:
            self.failures[key] = self.failures.get(key, 0) + 1
            text = self.skipped[f"{visit.peer}, {visit.workload}"] = _short(str(why))
            raise FailedError(text) from why
        for sample in samples:
            sample |= {"workload": visit.workload, "peer": visit.peer, "workers": visit.workers, "round": turn}
        self.samples += samples
        return samples

    # -- one visit -------------------------------------------------------------------------------------------------

    def _visited(self, visit: Visit) -> list[dict[str, Any]]:
        workload, peer = WORKLOADS[visit.workload], PEERS[visit.peer]
        made = self.made[workload.model]
        home = self.cache / "prepared" / visit.peer / made.path.parent.name
        home.mkdir(parents=True, exist_ok=True)
        place = Place(self._bin(peer), home, made, free_port(), visit.workers)
        peer.prepare(place)
        if visit.peer == "in-process":
            return [self._in_process(peer, place, workload)]
        driven = _Grpc(peer, place) if workload.kind == "grpc" else _Http(peer, place, workload)
        (self.cache / "logs").mkdir(exist_ok=True)
        log = self.cache / "logs" / f"{visit.peer}-{visit.workload}.log"
        server = Server([place.filled(part) for part in peer.command], self._variables(peer, place), log, home)
        try:
            cold_start = server.wait(driven.right_answer, peer.starts)
            if self.priority:
                server.prefer()
            time.sleep(SETTLE)
            driven.check_all()
            driven.drive(min(8, max(visit.clients or workload.clients)), self.warm_up)
            rows = [
                self._window(server, driven, clients, workload) | {"cold_start_s": cold_start}
                for clients in visit.clients or workload.clients
            ]
            driven.check_all()
        finally:
            server.stop()
        return rows

    def _window(self, server: Server, driven: _Http | _Grpc, clients: int, workload: Workload) -> dict[str, Any]:
        seconds = self.seconds * (2 if workload.long else 1)
        before, machine, own, begin = server.cpu_seconds(), busy_seconds(), own_seconds(), time.perf_counter()
        found = driven.drive(clients, seconds)
        others = (busy_seconds() - machine) - (own_seconds() - own)
        wall, cpu = time.perf_counter() - begin, server.cpu_seconds() - before
        if not found.requests:
            raise RuntimeError(
                f"no request of {found.errors} was answered at {clients} clients; it printed: {server.tail()}"
            )
        return {
            "clients": clients, "requests": found.requests, "rate": found.rate, "p50_ms": found.p50_ms,
            "p99_ms": found.p99_ms, "errors": found.errors, "generator": found.generator,
            "cpu_ms_per_1000": cpu / found.requests * 1e6, "pss_mb": server.pss_mb(),
            "others_cores": max(0.0, others - cpu) / wall,
        }  # fmt: skip

    def _in_process(self, peer: Peer, place: Place, workload: Workload) -> dict[str, Any]:
        seconds = self.seconds * (2 if workload.long else 1)
        command = [place.filled(part) for part in peer.command] + [
            str(place.model.path.with_name("cases.npz")),
            str(seconds),
        ]
        done = subprocess.run(
            command, env={**os.environ, **self._variables(peer, place)}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-500:])
        found: dict[str, Any] = json.loads(done.stdout)
        cpu = found.pop("cpu_seconds") / found["requests"] * 1e6
        return {"clients": 0, **found, "errors": 0, "generator": "none", "cpu_ms_per_1000": cpu}

    def _bin(self, peer: Peer) -> Path:
        if not peer.environment:
            return Path("/")
        return environments.made(peer.environment, peer.packages, self.cache / "venvs")

    def _variables(self, peer: Peer, place: Place) -> dict[str, str]:
        """The environment of a peer: where its app finds what it needs. setsail runs in the harness's own."""
        given = {name: place.filled(value) for name, value in peer.variables.items()}
        if not peer.environment:
            return given
        return given | {
            "PATH": f"{place.bin}:{os.environ['PATH']}", "PYTHONPATH": str(HERE), "MODEL": str(place.model.path),
            "PORT": str(place.port), "WORKERS": str(place.workers),
        }  # fmt: skip


def _short(text: str) -> str:
    """One line: how it begins, and how what was printed ends."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:120]} … {text[-180:]}"


def _compared(wire: Wire, case: Case, reply: Reply) -> str | None:
    """None when the reply is the source model's answer, else how it differs."""
    if reply.status != 200:
        return f"{reply.status}: {reply.body[:200]!r}"
    try:
        found = wire.decode(reply)
    except (ValueError, KeyError, LookupError, TypeError) as why:
        return f"unreadable: {why!r}: {reply.body[:200]!r}"
    wanted = case.answer.ravel()
    if found.size and (found.shape != wanted.shape or not np.allclose(found, wanted, rtol=1e-3, atol=1e-4)):
        return f"it answers {found[:4]}, the model {wanted[:4]}"
    return None


class _Http:
    """The requests of a workload over HTTP/1.1."""

    def __init__(self, peer: Peer, place: Place, workload: Workload) -> None:
        wire, path = peer.wires[workload.kind]
        self.wire, self.port, self.long, self.made = WIRES[wire], place.port, workload.long, place.model
        path, name = place.filled(path), place.model.name
        self.requests = [http_request(self.wire, case, name, path, place.port) for case in place.model.cases]

    def right_answer(self) -> str | None:
        return self._asked(self.made.cases[0], self.requests[0])

    def check_all(self) -> None:
        for case, request in zip(self.made.cases, self.requests, strict=True):
            if why := self._asked(case, request):
                raise RuntimeError(f"a wrong answer: {why}")

    def _asked(self, case: Case, request: bytes) -> str | None:
        try:
            return _compared(self.wire, case, ask(self.port, request))
        except (OSError, TimeoutError) as why:
            return repr(why)

    def drive(self, clients: int, seconds: float) -> Load:
        return load.http(self.port, self.requests, clients, seconds, long=self.long)


class _Grpc:
    """The first case of a workload over gRPC: h2load sends one body."""

    def __init__(self, peer: Peer, place: Place) -> None:
        wire, self.path = peer.wires["grpc"]
        self.wire, self.port, self.case = WIRES[wire], place.port, place.model.cases[0]
        self.headers, self.body = self.wire.encode(self.case, place.model.name)

    def right_answer(self) -> str | None:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError as why:
            return repr(why)  # gRPC's own client would wait a second before it tries again
        import grpc

        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            call = channel.unary_unary(self.path)
            try:
                return _compared(self.wire, self.case, Reply(200, {}, call(self.body, timeout=5, wait_for_ready=True)))
            except grpc.RpcError as why:
                return f"{why.code()}: {why.details()}"

    def check_all(self) -> None:
        if why := self.right_answer():
            raise RuntimeError(f"a wrong answer: {why}")

    def drive(self, clients: int, seconds: float) -> Load:
        streams = (8, clients // 8) if clients >= 8 else (clients, 1)
        return load.h2load(self.port, self.path, self.headers, framed(self.body), streams, seconds)
