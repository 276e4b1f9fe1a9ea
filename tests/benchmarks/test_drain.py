"""No request is lost: `benchmarks/drain.py`, three times over."""

from __future__ import annotations

import argparse
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import drain

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drain.packed(tmp_path_factory.mktemp("iris"))


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**({"times": 3, "workers": 2, "signals": "HUP,TERM"} | given))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_lost(artifact: Path, workers: int) -> None:
    signals = "TERM" if workers == 1 else "HUP,TERM"
    report = drain.measured(artifact, options(workers=workers, signals=signals))
    assert (report["details"], report["faults"]) == ([], [])
    for name in signals.split(","):
        kinds = {kind: counts for kind, counts in report[name].items() if isinstance(counts, dict)}
        assert set(kinds) == {"HTTP", "gRPC", "gRPC stream"}
        assert all(counts["answered"] > 0 for counts in kinds.values())
        assert set().union(*kinds.values()) <= {"answered", "refused", "told to close"}


@pytest.fixture
def rude() -> Iterator[tuple[str, int]]:
    """A server that answers the first request of a connection and hangs up on the second."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    client, _ = door.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n" + b'{"predictions":[0]}')
                    client.recv(65536)

        threading.Thread(target=serve, daemon=True).start()
        yield door.getsockname()


def test_a_request_that_got_no_answer_is_seen(rude: tuple[str, int]) -> None:
    client = drain.Http(rude, 0.0)
    for _ in range(3):
        client.ask()
    client.end()
    assert client.counts == {"answered": 2, "lost": 1}
    assert "request 2 of a connection" in client.details[0]


def test_a_port_where_nobody_is_counts_as_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = door.getsockname()
    client = drain.Http(address, 0.0)
    client.ask()
    assert client.counts == {"refused": 1}


def test_what_is_printed() -> None:
    report = {"TERM": {"times": 2, "seconds a time": 1.5, "HTTP": {"answered": 7, "lost": 1}}, "details": ["why"],
              "faults": ["the server ended with 1"]}  # fmt: skip
    lines = drain.table(report).splitlines()
    assert lines[1].split() == ["TERM", "HTTP", "7", "0", "0", "0", "1"]
    assert lines[-2:] == ["why", "the server ended with 1"]
