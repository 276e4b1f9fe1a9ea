"""The driving process against servers that stall, refuse, close and vanish."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
from toy_server import Answering, reply, toy

from setsail.errors import SetsailError
from setsail.loadtest.client import Client
from setsail.loadtest.orders import Order, Outcome, Target
from setsail.loadtest.schedules import arrivals

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"


def drive(port: int, *orders: Order) -> list[Outcome]:
    with Client(Target("http", "127.0.0.1", port, False, [REQUEST, REQUEST])) as client:
        return [client.carry_out(order) for order in orders]


def outcome(answering: Answering, **order: Any) -> Outcome:
    given: dict[str, Any] = {"kind": "closed", "first": 0, "count": 2, "clients": 2, "seconds": 0.3, **order}
    with toy(answering) as port:
        return drive(port, Order("ask", 0, 1), Order(**given))[1]


def latencies(found: Outcome) -> np.ndarray:
    return np.frombuffer(found.latencies)


def test_a_closed_loop_counts_good_answers_and_times_them() -> None:
    found = outcome(lambda n, head, body: (reply(b"1"), 0.02))
    assert 0 < found.in_time <= 2 * 0.3 / 0.02
    assert len(latencies(found)) in (found.in_time, found.in_time + 1, found.in_time + 2)
    assert latencies(found).min() >= 0.02
    assert (found.errors, found.cut, found.fault) == ({}, False, "")
    assert found.seconds == pytest.approx(0.3, abs=0.01)
    assert 0 < found.client_cpu < 1
    assert 0 <= found.client_wait < 1


def test_what_is_no_good_answer_is_counted_by_its_code() -> None:
    def answering(n: int, head: str, body: bytes) -> tuple[bytes, float] | None:
        kinds = [
            (reply(b"1"), 0.001),
            (reply(b"", "429 Busy", "x-setsail-error: model.busy"), 0.001),
            None,
            (b"no HTTP\r\n\r\n", 0.0),
        ]
        return (reply(b"1"), 0.0) if n == 0 else kinds[n % 4]

    found = outcome(answering)
    assert found.errors.keys() == {"429 model.busy", "connection closed", "malformed answer"}
    assert all(count > 2 for count in found.errors.values())
    assert len(latencies(found)) > 2


def test_answers_that_close_the_connection_are_good_ones() -> None:
    found = outcome(lambda n, head, body: (reply(b"1", "200 OK", "Connection: close"), 0.001))
    assert found.errors == {}
    assert found.in_time > 5


def test_answers_unlike_the_first_are_handed_on() -> None:
    found = outcome(lambda n, head, body: (reply(b"1" if n < 3 else b"2"), 0.001), seconds=0.4)
    assert found.compared == -(-len(latencies(found)) // 16)
    assert {answer.body for answer in found.differing} == {b"2"}


def test_an_answer_that_never_comes_is_an_error() -> None:
    found = outcome(lambda n, head, body: (reply(b"1"), 0.0 if n < 1 else 30.0), seconds=0.1, timeout=0.1)
    assert found.errors == {"no answer": 2}
    assert len(latencies(found)) == 0


def test_an_open_loop_counts_the_waits_that_a_closed_one_hides() -> None:
    """The server stalls once for 0.3 s. Everybody who arrives meanwhile waits, whether sent or not."""
    stalled = threading.Event()

    def answering(n: int, head: str, body: bytes) -> tuple[bytes, float]:
        if n == 20 and not stalled.is_set():
            stalled.set()
            threading.Event().wait(0.3)
        return reply(b"1"), 0.0

    seconds, rate = 0.8, 100
    times = arrivals(rate, seconds, 1).tobytes()
    found = outcome(answering, kind="open", clients=1, seconds=seconds, times=times)
    waits = latencies(found)
    assert len(waits) == len(times) // 8
    assert np.count_nonzero(waits > 0.05) >= 0.6 * rate * 0.25  # with one client, a closed loop would see one such
    assert waits.max() == pytest.approx(0.3, abs=0.1)
    assert len(found.lag) > 0


def test_requests_of_the_warm_up_do_not_count() -> None:
    times = np.array([0.0, 0.01, 0.02, 0.25, 0.26]).tobytes()
    found = outcome(lambda n, head, body: (reply(b"1"), 0.0), kind="open", warm=0.2, seconds=0.2, times=times)
    assert len(latencies(found)) == 2


def test_a_server_that_is_not_there() -> None:
    with toy(lambda n, head, body: None) as port:
        pass
    (asked, closed) = drive(port, Order("ask", 0, 1), Order("closed", 0, 1, 1, 0.1))
    assert asked.fault
    assert closed.fault


def test_an_interrupt_ends_it_with_what_there_is() -> None:
    with (
        toy(lambda n, head, body: (reply(b"1"), 0.001)) as port,
        Client(Target("http", "127.0.0.1", port, False, [REQUEST])) as client,
    ):
        threading.Timer(0.5, client.interrupt).start()
        found = client.carry_out(Order("closed", 0, 1, 1, 60.0), told=lambda fraction, count: None)
    assert found.cut
    assert 0 < found.seconds < 10
    assert len(latencies(found)) > 5


def test_a_process_that_dies_is_told() -> None:
    with Client(Target("no such channel", "127.0.0.1", 1, False, [REQUEST])) as client:
        with pytest.raises(SetsailError) as caught:
            client.carry_out(Order("ask", 0, 1))
        assert caught.value.code == "child.failed"
        assert "no such channel" in caught.value.todo


def test_progress_is_told() -> None:
    told: list[float] = []
    began: list[bool] = []
    with (
        toy(lambda n, head, body: (reply(json.dumps(n).encode()), 0.001)) as port,
        Client(Target("http", "127.0.0.1", port, False, [REQUEST])) as client,
    ):
        order = Order("closed", 0, 1, 1, 0.5)
        client.carry_out(order, began=lambda: began.append(True), told=lambda fraction, count: told.append(fraction))
    assert began == [True]
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0, abs=0.01)


def test_a_first_answer_that_does_not_come_is_told_and_can_be_interrupted() -> None:
    with (
        toy(lambda n, head, body: (reply(b"1"), 30.0)) as port,
        Client(Target("http", "127.0.0.1", port, False, [REQUEST])) as client,
    ):
        assert client.carry_out(Order("ask", 0, 1, timeout=0.1)).fault == "no answer within 0 s"
        threading.Timer(0.5, client.interrupt).start()
        found = client.carry_out(Order("ask", 0, 1, timeout=20.0))
    assert found.cut
    assert found.answers == []


def test_an_interrupt_between_two_orders_is_not_lost() -> None:
    with (
        toy(lambda n, head, body: (reply(b"1"), 0.001)) as port,
        Client(Target("http", "127.0.0.1", port, False, [REQUEST])) as client,
    ):
        client.carry_out(Order("ask", 0, 1))
        client.interrupt()
        assert client.carry_out(Order("closed", 0, 1, 1, 60.0)).cut
