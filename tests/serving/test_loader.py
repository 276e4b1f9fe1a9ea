"""One thread, one job after the other."""

from __future__ import annotations

import threading

import pytest

from setsail.errors import SetsailError
from setsail.serving.loader import Loader


def test_jobs_run_in_order_in_one_thread_and_give_their_results() -> None:
    loader, order, threads = Loader(), list[int](), set[int]()
    for number in range(5):
        loader.submit(lambda n=number: (order.append(n), threads.add(threading.get_ident())), wait=False)
    assert loader.submit(lambda: "last", wait=True) == "last"
    assert order == [0, 1, 2, 3, 4]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_job_may_submit_another_and_wait_for_it() -> None:
    loader = Loader()
    assert loader.submit(lambda: loader.submit(lambda: 1, wait=True), wait=True) == 1


def test_a_fault_reaches_who_waits_and_the_thread_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader()
    with pytest.raises(ZeroDivisionError):
        loader.submit(lambda: 1 // 0, wait=True)
    assert "ZeroDivisionError" in caplog.text
    assert loader.submit(lambda: 2, wait=True) == 2


def test_closing_drops_what_has_not_begun_and_runs_one_last_job() -> None:
    loader, ran = Loader(), list[str]()
    begun, go = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        go.wait(10)
        ran.append("first")

    loader.submit(first, wait=False)
    begun.wait(10)
    loader.submit(lambda: ran.append("dropped"), wait=False)
    threading.Timer(0.05, go.set).start()
    loader.close(lambda: ran.append("last"), 10)
    assert ran == ["first", "last"]
    with pytest.raises(SetsailError) as caught:
        loader.submit(lambda: None, wait=True)
    assert caught.value.code == "model.not_ready"
