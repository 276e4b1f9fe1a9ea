"""Whether a request is ever lost: clients ask without pause while the server is stopped or its workers are replaced.

*Lost* is a request whose bytes were sent on an open connection and that got no valid answer. Clients behave as HTTP and
gRPC allow: a connection that says `Connection: close`, or that the server has closed before anything was sent on it, is
opened anew; a refused connection is tried again; everything else counts. A `SIGTERM` round stops the server under load
and starts it again on the same port; a `SIGHUP` round has every worker replaced. Prints one table; exits 1 when
anything was lost or a server ended badly.

    python benchmarks/drain.py [--times 20] [--workers 2] [--signals HUP,TERM] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import setsail

ROW = [5.1, 3.5, 1.4, 0.2]
PAUSES = (0.0, 0.0, 0.002, 0.02, 0.1, 0.4)  # seconds between the requests of a client: hammering, and thinking
MESSAGES = 20  # of one gRPC stream
LONG = 30.0  # no answer for so long is none
REFUSED = ("Connection refused", "failed to connect", "Failed to connect")


class Client(threading.Thread):
    """One client: asks until it is stopped, and counts what becomes of its requests."""

    kind = ""

    def __init__(self, address: tuple[str, int], pause: float) -> None:
        super().__init__(daemon=True)
        self.address, self.pause = address, pause
        self.counts: Counter[str] = Counter()
        self.details: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            self.ask()
            if self.pause:
                self.stopped.wait(random.uniform(0, 2 * self.pause))
        self.end()

    def ask(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def lost(self, why: str) -> None:
        self.counts["lost"] += 1
        self.details.append(f"{time.strftime('%H:%M:%S')} {self.kind}: {why}")


class Http(Client):
    """HTTP/1.1 with keep-alive over a bare socket, so that nothing is tried again behind our back."""

    kind = "HTTP"

    def __init__(self, address: tuple[str, int], pause: float) -> None:
        super().__init__(address, pause)
        body = json.dumps({"instances": [ROW]}).encode()
        head = f"POST /v1/models/iris:predict HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.connection: socket.socket | None = None
        self.asked = 0

    def ask(self) -> None:
        if self.connection is None and not self.connect():
            return
        assert self.connection is not None
        if self.asked and self.hung_up():
            self.end()
            return
        self.asked += 1
        try:
            self.connection.sendall(self.request)
            status, head, body = self.reply()
        except OSError as fault:
            self.lost(f"request {self.asked} of a connection: {type(fault).__name__}: {fault}")
            self.end()
            return
        if status == 200 and json.loads(body) == {"predictions": [0]}:
            self.counts["answered"] += 1
        else:
            self.counts[f"status {status}"] += 1
        if b"connection: close" in head.lower():
            self.counts["told to close"] += 1
            self.end()

    def connect(self) -> bool:
        try:
            self.connection = socket.create_connection(self.address, timeout=LONG)
        except OSError:
            self.counts["refused"] += 1
            time.sleep(0.01)
            return False
        self.asked = 0
        return True

    def hung_up(self) -> bool:
        """Whether the server has closed an idle connection, which is seen before anything is sent."""
        assert self.connection is not None
        self.connection.setblocking(False)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(LONG)

    def reply(self) -> tuple[int, bytes, bytes]:
        assert self.connection is not None
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.more(data)
        head, _, body = data.partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(lines.get(b"content-length", b"0")):
            body += self.more(data)
        return int(head.split(b" ", 2)[1]), head, body

    def more(self, seen: bytes) -> bytes:
        assert self.connection is not None
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError("closed " + ("in the middle of an answer" if seen else "without an answer"))
        return data

    def end(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Grpc(Client):
    """Unary calls through grpcio."""

    kind = "gRPC"
    path = "/inference.GRPCInferenceService/ModelInfer"

    def __init__(self, address: tuple[str, int], pause: float) -> None:
        import grpc

        from setsail.protocols.grpc.pool import message

        super().__init__(address, pause)
        self.grpc: Any = grpc
        asked = message("inference.ModelInferRequest")(model_name="iris")
        asked.inputs.add(name="input", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(ROW)
        self.request = asked.SerializeToString()
        # "min" is how long an attempt to connect may take
        quick = {"initial_reconnect_backoff_ms": 20, "min_reconnect_backoff_ms": 5000, "max_reconnect_backoff_ms": 100}
        options = [(f"grpc.{key}", value) for key, value in quick.items()]
        # a call that the server's GOAWAY says was not taken is tried again by itself, as gRPC defines it; no other is
        options.append(("grpc.use_local_subchannel_pool", 1))
        self.channel = grpc.insecure_channel(":".join(map(str, address)), options)
        self.call = self.made()

    def made(self) -> Any:
        return self.channel.unary_unary(self.path)

    def ask(self) -> None:
        try:
            reply = self.call(self.request, timeout=LONG)
            self.counts["answered" if reply else "empty"] += 1
        except self.grpc.RpcError as fault:
            self.failed(fault)

    def failed(self, fault: Any, already: str = "") -> None:
        said = fault.details() or ""
        if not already and any(text in said for text in REFUSED):
            self.counts["refused"] += 1
            time.sleep(0.01)
        else:
            self.lost(f"{already}{fault.code().name}: {said}")

    def end(self) -> None:
        self.channel.close()


class GrpcStream(Grpc):
    """Bidirectional streams of `MESSAGES` requests, each answered before the next is sent."""

    kind = "gRPC stream"
    path = "/inference.GRPCInferenceService/ModelStreamInfer"

    def made(self) -> Any:
        return self.channel.stream_stream(self.path)

    def ask(self) -> None:
        answered = threading.Semaphore(0)
        got = 0

        def requests() -> Any:
            for number in range(MESSAGES):
                if number:
                    answered.acquire(timeout=LONG)
                    time.sleep(random.uniform(0, 0.01))
                yield self.request

        try:
            for _ in self.call(requests(), timeout=2 * LONG):
                got += 1
                answered.release()
        except self.grpc.RpcError as fault:
            self.counts["answered"] += got
            self.failed(fault, f"after {got} of {MESSAGES} messages: " if got else "")
            return
        self.counts["answered"] += got
        if got < MESSAGES:
            self.lost(f"a stream ended well after {got} of {MESSAGES} messages")


class Serving:
    """The server, and the signals it gets."""

    def __init__(self, artifact: Path, workers: int) -> None:
        self.artifact, self.workers = artifact, workers
        self.port = 0
        self.faults: list[str] = []
        self.start()

    def start(self) -> None:
        line = [sys.executable, "-m", "setsail", "serve", str(self.artifact), "--workers", str(self.workers), "--json",
                "--admin-port", "-1", "--port", str(self.port)]  # fmt: skip
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        url = urlsplit(json.loads(ready)["url"])
        self.address = (str(url.hostname), int(url.port or 0))
        self.port = self.address[1]

    def hands(self) -> set[int]:
        """The server's child processes."""
        found = set()
        for place in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                state, parent = place.read_text().rpartition(")")[2].split()[:2]
                if int(parent) == self.process.pid and state != "Z":
                    found.add(int(place.parent.name))
        return found

    def hup(self) -> None:
        before = self.hands()
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 120
        while (now := self.hands()) & before or len(now) < self.workers:
            if time.monotonic() > end:
                self.faults.append("workers were not replaced in 120 s")
                return
            time.sleep(0.02)

    def term(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        assert self.process.stdout is not None
        self.process.stdout.close()
        if code != 0:
            self.faults.append(f"the server ended with {code}")


def packed(folder: Path) -> Path:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(X, y)
    setsail.pack(model, X, name="iris", output=folder / "iris.setsail").close()
    return folder / "iris.setsail"


def clients(address: tuple[str, int]) -> list[Client]:
    made: list[Client] = [Http(address, pause) for pause in (*PAUSES, *PAUSES)]
    with suppress(ImportError):
        made += [kind(address, pause) for kind in (Grpc, GrpcStream) for pause in (0.0, 0.05)]
    return made


def measured(artifact: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds. Returns the counts by signal and kind of client."""
    report: dict[str, Any] = {"details": [], "faults": []}
    for name in options.signals.split(","):
        serving = Serving(artifact, options.workers)
        asking = clients(serving.address)
        for client in asking:
            client.start()
        begun = time.monotonic()
        try:
            for turn in range(options.times):
                time.sleep(random.uniform(0.05, 0.4))
                getattr(serving, name.lower())()
                if sys.stderr.isatty():
                    lost = sum(client.counts["lost"] for client in asking)
                    print(f"\r{name} {turn + 1}/{options.times}: {lost} lost", end="", file=sys.stderr, flush=True)
            seconds = (time.monotonic() - begun) / options.times
            time.sleep(0.2)
        finally:
            for client in asking:
                client.stopped.set()
            for client in asking:
                client.join(2 * LONG)
            serving.stop()
        kinds = {
            kind: sum((c.counts for c in asking if c.kind == kind), Counter()) for kind in {c.kind for c in asking}
        }
        report[name] = {"times": options.times, "seconds a time": round(seconds, 2),
                        **{kind: dict(counts) for kind, counts in sorted(kinds.items())}}  # fmt: skip
        report["details"] += [line for client in asking for line in client.details]
        report["faults"] += serving.faults
        if name == "HUP" and any(counts["refused"] for counts in kinds.values()):
            report["faults"].append("connections were refused while workers were replaced")
    return report


def table(report: dict[str, Any]) -> str:
    lines = [f"{'signal':8}{'client':14}{'answered':>10}{'refused':>9}{'closed':>8}{'other':>7}{'lost':>6}"]
    for name in (key for key in report if key not in ("details", "faults")):
        for kind, counts in report[name].items():
            if isinstance(counts, dict):
                known = ("answered", "refused", "told to close", "lost")
                other = sum(count for key, count in counts.items() if key not in known)
                lines.append(f"{name:8}{kind:14}{counts.get('answered', 0):>10}{counts.get('refused', 0):>9}"
                             f"{counts.get('told to close', 0):>8}{other:>7}{counts.get('lost', 0):>6}")  # fmt: skip
        lines.append(f"{'':8}{report[name]['times']} times, {report[name]['seconds a time']} s each")
    return "\n".join([*lines, *report["details"][:20], *report["faults"]])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--signals", default="HUP,TERM", help="HUP replaces the workers, TERM stops and starts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        report = measured(packed(Path(folder)), options)
    print(json.dumps(report) if options.json else table(report))
    lost = sum(c.get("lost", 0) for name in report if isinstance(report[name], dict)
               for c in report[name].values() if isinstance(c, dict))  # fmt: skip
    return 1 if lost or report["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
