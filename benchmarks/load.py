"""What drives a server: wrk for HTTP/1.1, h2load for gRPC, and the client of our own for what takes long."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.client import drive
from benchmarks.figures import Load, load_of

__all__ = ["h2load", "http", "parsed_h2load", "wrk"]


def http(port: int, requests: Sequence[bytes], clients: int, seconds: float, *, long: bool) -> Load:
    """The load of `clients` closed-loop connections, by wrk where it is installed unless the requests are `long`."""
    if long or shutil.which("wrk") is None:
        return drive(port, requests, clients, seconds)
    return wrk(port, requests, clients, seconds)


def wrk(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    with tempfile.NamedTemporaryFile(prefix="requests-") as file:
        for request in requests:
            file.write(b"%d\n%b" % (len(request), request))
        file.flush()
        command = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        command += ["-s", str(Path(__file__).with_name("load.lua")), f"http://127.0.0.1:{port}"]
        done = _finished(command, seconds + 60, {"BENCH_REQUESTS": file.name})
    line = re.search(r"^RESULT (.*)$", done, re.MULTILINE)
    if line is None:
        raise RuntimeError(f"wrk said no result: {done[-500:]}")
    found: dict[str, Any] = json.loads(line[1])
    good = found["requests"] - found["errors"]
    rate = good / found["seconds"]
    return Load(good, rate, found["p50"] * 1000, found["p99"] * 1000, found["errors"], "wrk")


def h2load(
    port: int, path: str, headers: Mapping[str, str], body: bytes, streams: tuple[int, int], seconds: float
) -> Load:
    """gRPC calls over `streams` = (connections, streams of each). A reply without a message counts as an error."""
    connections, each = streams
    with tempfile.TemporaryDirectory(prefix="h2load-") as folder:
        sent, log = Path(folder, "body"), Path(folder, "log")
        sent.write_bytes(body)
        command = ["h2load", f"-c{connections}", f"-m{each}", "-t1", f"-D{max(1, round(seconds))}", f"-d{sent}"]
        command += ["--log-file", str(log), *(f"-H{name}: {value}" for name, value in headers.items())]
        done = _finished([*command, f"http://127.0.0.1:{port}{path}"], seconds + 60, {})
        times = [int(line.split("\t")[2]) / 1e6 for line in log.read_text().splitlines() if "\t200\t" in line]
    return parsed_h2load(done, times)


def parsed_h2load(text: str, seconds: Sequence[float]) -> Load:
    """What h2load printed, with the seconds of each request of its log."""
    finished = re.search(r"finished in ([\d.]+)(m?s), ([\d.]+) req/s", text)
    counts = re.search(r"requests: .*?(\d+) succeeded, (\d+) failed, (\d+) errored", text)
    data = re.search(r"\((\d+)\) data", text)
    if finished is None or counts is None or data is None:
        raise RuntimeError(f"h2load said no result: {text[-500:]}")
    good, bad = int(counts[1]), int(counts[2])
    if good and int(data[1]) < 5 * good:  # a gRPC reply with a message is at least its five bytes of framing
        bad, good = bad + good, 0
    return load_of(seconds, good, float(finished[3]) if good else 0.0, bad, "h2load")


def _finished(command: list[str], seconds: float, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, env={**os.environ, **environment}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout
