"""Triton's perf_analyzer, unchanged, measures a server that imitates Triton.

Its wheel has a program for newer systems (glibc 2.38). Elsewhere, SETSAIL_PERF_ANALYZER names one that runs.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator

import pytest
from client_envs import client_python
from fakehouse import echo, iris, people, review
from furnished import furnish

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import BY_NAME

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program() -> str:
    if given := os.environ.get("SETSAIL_PERF_ANALYZER"):
        return given
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split("."))) < (2, 38) or platform.machine() != "x86_64":
        pytest.skip("perf_analyzer's wheel needs glibc 2.38 on x86-64")
    return str(client_python("perf-analyzer", "perf-analyzer==2.60.0").with_name("perf_analyzer"))


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, str]]:
    server = Server(Settings(port=0, admin_port=-1, as_="triton"))
    furnish(server.house, echo(BY_NAME["float32"]), iris(), people(), review())
    with server.start():
        yield {door["role"]: f"127.0.0.1:{door['port']}" for door in server.describe()["doors"]}


def run(program: str, *words: str) -> str:
    """What it prints. One window counts: a test needs no stable figures."""
    command = [program, "-p", "400", "-r", "3", "-s", "999", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("data", ["-m", "iris", "-i", "http", "-b", "8"]),
        ("data", ["-m", "iris", "-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"]),
        ("data", ["-m", "review", "-i", "http", "--shape", "text:3"]),
        ("grpc", ["-m", "echo-float32", "-i", "grpc", "--concurrency-range", "4"]),
        ("grpc", ["-m", "echo-float32", "-i", "grpc", "--streaming"]),
        ("grpc", ["-m", "iris", "-i", "grpc", "-x", "1", "--grpc-compression-algorithm", "gzip"]),
        ("grpc", ["-m", "people", "-i", "grpc", "--string-data", "Rome",
                  *(w for name in ("age", "city", "children", "member") for w in ("--shape", f"{name}:1"))]),
    ],
)  # fmt: skip
def test_it_measures(program: str, ports: dict[str, str], port: str, words: list[str]) -> None:
    told = run(program, "-u", ports[port], *words)
    rate = re.search(r"throughput: ([\d.]+) infer/sec", told)
    assert rate is not None, told
    assert float(rate[1]) > 0
    assert "Successful request count" in told  # out of the statistics of the server


def test_it_finds_the_metrics(program: str, ports: dict[str, str]) -> None:
    metrics = ["--collect-metrics", "--metrics-url", f"{ports['metrics']}/metrics", "--metrics-interval", "200"]
    assert "throughput" in run(program, "-u", ports["grpc"], "-m", "iris", "-i", "grpc", *metrics)
