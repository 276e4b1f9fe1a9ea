"""A version ends with its last request, never earlier."""

from __future__ import annotations

import threading
from typing import Any

from setsail.serving.leases import Facts, Loaded

FACTS = Facts("none", {}, "onnx", "")


class Recorder:
    """A runner that knows how many requests are inside, and whether it was closed while one was."""

    signature: Any = None
    max_batch = None

    def __init__(self) -> None:
        self.closed = 0

    def run(self, inputs: Any) -> Any:
        return {}

    def close(self) -> None:
        self.closed += 1


def test_with_no_request_out_it_ends_at_once() -> None:
    runner, ended = Recorder(), []
    loaded = Loaded(runner, FACTS)
    loaded.retire(lambda: ended.append(runner.closed))
    assert ended == [1]  # closed first, then told
    assert not loaded.acquire()


def test_it_ends_with_the_last_request() -> None:
    runner, ended = Recorder(), []
    loaded = Loaded(runner, FACTS)
    assert loaded.acquire()
    assert loaded.acquire()
    loaded.retire(lambda: ended.append(True))
    loaded.release()
    assert (runner.closed, ended) == (0, [])
    loaded.release()
    assert (runner.closed, ended) == (1, [True])


def test_retiring_twice_ends_it_once() -> None:
    runner, ended = Recorder(), []
    loaded = Loaded(runner, FACTS)
    loaded.retire(lambda: ended.append(1))
    loaded.retire(lambda: ended.append(2))
    assert (runner.closed, ended) == (1, [1])


def hammer(loaded: Loaded, runner: Recorder, start: threading.Barrier, wrong: list[str]) -> None:
    start.wait()
    while loaded.acquire():
        if runner.closed:
            wrong.append("closed under a lease")
        loaded.release()


def test_no_thread_ever_runs_a_closed_runner() -> None:
    for _ in range(20):
        runner, wrong, start = Recorder(), list[str](), threading.Barrier(5)
        loaded = Loaded(runner, FACTS)
        threads = [threading.Thread(target=hammer, args=(loaded, runner, start, wrong)) for _ in range(4)]
        for thread in threads:
            thread.start()
        start.wait()
        loaded.retire(lambda: None)
        for thread in threads:
            thread.join()
        assert wrong == []
        assert runner.closed == 1
