"""One model's line, told as stories: requests come, `take` says what runs, `done` says how long it took."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from setsail.scheduling import Batch, Rules, RunTimes, Scheduler, Ticket, Turn

FAST = {1: 20e-6, 2: 21e-6, 4: 23e-6, 8: 26e-6, 16: 33e-6, 32: 50e-6}  # a small model: batches nearly for nothing
SLOW = {1: 0.010, 2: 0.011, 4: 0.013, 8: 0.017, 16: 0.025}


def line(ladder: dict[int, float] = FAST, **rules: object) -> Scheduler:
    return Scheduler(Rules(**rules), RunTimes.from_ladder(ladder))  # type: ignore[arg-type]


def ticket(key: object = "k", arrived: float = 0.0, **more: object) -> Ticket:
    return Ticket(**({"rows": 1, "nbytes": 100, "key": key, "arrived": arrived} | more))  # type: ignore[arg-type]


def taken(scheduler: Scheduler, now: float = 0.0) -> Batch:
    batch = scheduler.take(now)
    assert isinstance(batch, Batch)
    return batch


def fill(scheduler: Scheduler, *tickets: Ticket) -> list[Ticket]:
    for one in tickets:
        scheduler.put(one)
    return list(tickets)


# -- what runs together ----------------------------------------------------------------------------------------------


def test_what_a_turn_brought_is_one_batch_and_a_lone_request_runs_alone():
    scheduler = line()
    alone = fill(scheduler, ticket())
    batch = taken(scheduler)
    assert (batch.tickets, batch.rows, batch.inline) == (alone, 1, True)
    scheduler.done(batch, 20e-6, 0.0)
    together = fill(scheduler, *(ticket() for _ in range(20)))
    assert taken(scheduler).tickets == together


def test_other_keys_wait_for_the_next_take():
    scheduler = line()
    a, b, c, d = fill(scheduler, ticket("a"), ticket("b"), ticket("a"), ticket("b"))
    first = taken(scheduler)
    assert first.tickets == [a, c]
    scheduler.done(first, 20e-6, 0.0)
    assert taken(scheduler).tickets == [b, d]


def test_the_line_whose_ticket_came_first_goes_first():
    scheduler = line(max_batch=1)
    order = fill(scheduler, ticket("a"), ticket("b"), ticket("a"), ticket("b"))
    for expected in order:
        batch = taken(scheduler)
        assert batch.tickets == [expected]
        scheduler.done(batch, 20e-6, 0.0)


def test_priority_comes_before_arrival_and_a_batch_is_filled_with_lower_ones():
    scheduler = line()
    low, other, high = fill(scheduler, ticket("a"), ticket("b"), ticket("a", priority=5))
    batch = taken(scheduler)
    assert batch.tickets == [high, low]
    scheduler.done(batch, 20e-6, 0.0)
    assert taken(scheduler).tickets == [other]


def test_the_cap_is_the_rule_or_the_useful_batch_and_never_more_than_the_program_takes():
    assert line().cap == 64  # the largest size of the ladder was still the best: the double of it is tried
    assert line(max_batch=5).cap == 5
    assert Scheduler(Rules(), RunTimes.from_ladder(FAST), max_rows=3).cap == 3
    scheduler = line(max_batch=5)
    fill(scheduler, *(ticket(rows=2) for _ in range(3)))
    assert taken(scheduler).rows == 4


def test_a_ticket_larger_than_the_cap_runs_alone():
    scheduler = line(max_batch=4)
    large, small = fill(scheduler, ticket(rows=9), ticket())
    batch = taken(scheduler)
    assert batch.tickets == [large]
    scheduler.done(batch, 20e-6, 0.0)
    assert taken(scheduler).tickets == [small]


def test_a_model_that_is_not_batch_invariant_is_never_batched():
    scheduler = Scheduler(Rules(max_batch=8), RunTimes.from_ladder(FAST), batches=False)
    fill(scheduler, ticket(), ticket())
    assert len(taken(scheduler).tickets) == 1


def test_what_waits_while_the_model_is_busy_is_the_next_batch():
    scheduler = line(SLOW)
    fill(scheduler, ticket())
    running = taken(scheduler)
    assert not running.inline
    waiting = fill(scheduler, *(ticket() for _ in range(5)))
    assert scheduler.take(0.001) is None
    scheduler.done(running, 0.010, 0.010)
    assert taken(scheduler, 0.010).tickets == waiting


def test_lanes_bound_what_runs_at_once():
    scheduler = line(SLOW, lanes=2, max_batch=1)
    fill(scheduler, ticket(), ticket(), ticket())
    first = taken(scheduler)
    taken(scheduler)
    assert scheduler.take(0.0) is None
    assert scheduler.running == 2
    scheduler.done(first, 0.01, 0.01)
    taken(scheduler, 0.01)


# -- inline or not -----------------------------------------------------------------------------------------------------


def test_unknown_run_times_are_never_inline_until_quick_runs_have_proved_them():
    scheduler = line({})
    places = []
    for turn in range(12):
        scheduler.turn(turn)
        fill(scheduler, ticket())
        batch = taken(scheduler)
        places.append(batch.inline)
        scheduler.done(batch, 20e-6, 0.0)
    assert places == [False] * 8 + [True] * 4


def test_a_batch_too_long_for_the_loop_goes_to_the_thread():
    scheduler = line({1: 100e-6, 8: 2100e-6}, max_batch=8)
    fill(scheduler, ticket())
    batch = taken(scheduler)
    assert batch.inline
    scheduler.done(batch, 100e-6, 0.0)
    fill(scheduler, *(ticket() for _ in range(8)))
    assert not taken(scheduler).inline


def test_models_that_share_a_loop_share_the_seconds_of_a_turn():
    turn = Turn()
    one, other = (Scheduler(Rules(), RunTimes.from_ladder({1: 0.0003}), shared=turn) for _ in range(2))
    inline = 0
    for scheduler in (one, other) * 4:
        scheduler.turn(1)
        fill(scheduler, ticket())
        batch = taken(scheduler)
        inline += batch.inline
        scheduler.done(batch, 0.0003, 0.0)
    assert inline == 6  # of 0.3 ms each in 2 ms
    one.turn(2)
    fill(one, ticket())
    assert taken(one).inline


def test_beside_a_run_outside_the_loop_nothing_runs_inline():
    scheduler = line({1: 100e-6, 8: 2100e-6}, max_batch=8, lanes=2)
    fill(scheduler, *(ticket() for _ in range(9)))
    assert not taken(scheduler).inline
    late = taken(scheduler)
    assert late.rows == 1
    assert not late.inline


# -- waiting for company ---------------------------------------------------------------------------------------------


def test_max_delay_is_asked_for_or_nothing_waits():
    scheduler = line(max_delay=0.002, max_batch=3)
    fill(scheduler, ticket(arrived=1.0))
    assert scheduler.take(1.0) == pytest.approx(1.002)
    fill(scheduler, ticket(arrived=1.001), ticket(arrived=1.001))
    assert taken(scheduler, 1.001).rows == 3  # the cap is reached: nothing to wait for


def test_max_delay_ends():
    scheduler = line(max_delay=0.002)
    fill(scheduler, ticket(arrived=1.0))
    assert taken(scheduler, scheduler.take(1.0)).rows == 1  # type: ignore[arg-type]


# -- deadlines and clients that have gone ----------------------------------------------------------------------------


def test_cancelled_and_late_tickets_are_dropped_and_never_run():
    scheduler = line(SLOW)
    gone, late, hopeless, good = fill(
        scheduler, ticket(), ticket(deadline=0.5), ticket(deadline=1.005), ticket(deadline=2.0)
    )
    gone.cancelled = True
    batch = taken(scheduler, 1.0)
    assert batch.tickets == [good]
    assert batch.dropped == [gone, late, hopeless]
    scheduler.done(batch, 0.01, 1.01)
    assert (scheduler.waiting_rows, scheduler.waiting_bytes, scheduler.running) == (0, 0, 0)


def test_a_batch_of_dropped_tickets_only_needs_no_done():
    scheduler = line()
    fill(scheduler, ticket(deadline=0.5))
    batch = taken(scheduler, 1.0)
    assert (batch.tickets, len(batch.dropped), scheduler.running) == ([], 1, 0)
    scheduler.done(batch, 0.0, 1.0)
    assert scheduler.running == 0
    assert scheduler.take(1.0) is None


def test_a_batch_shrinks_where_its_first_ticket_would_be_late():
    scheduler = line(SLOW, max_batch=16)
    fill(scheduler, ticket(deadline=0.0135), *(ticket() for _ in range(15)))
    assert taken(scheduler).rows == 4  # a run of 16 takes 25 ms, of 4 it takes 13
    assert scheduler.waiting_rows == 12


def test_cancel_frees_at_once_what_the_ticket_took():
    scheduler = line(SLOW)
    fill(scheduler, ticket())
    running = taken(scheduler)
    one, two = fill(scheduler, ticket(), ticket())
    assert scheduler.cancel(one)
    assert not scheduler.cancel(one)
    assert not scheduler.cancel(running.tickets[0])
    assert (scheduler.waiting_rows, scheduler.waiting_bytes) == (1, 100)
    scheduler.done(running, 0.01, 0.01)
    batch = taken(scheduler)
    assert (batch.tickets, batch.dropped) == ([two], [])


def test_many_that_come_and_cancel_at_once_leave_nothing_behind():
    scheduler = line(SLOW)
    fill(scheduler, ticket())
    taken(scheduler)
    for number in range(5000):
        (one,) = fill(scheduler, ticket(key=number % 100))
        scheduler.cancel(one)
    waiting = scheduler._waiting
    assert sum(len(level) for line in waiting.lines.values() for level in line.levels) <= 65
    assert len(waiting._heads) <= 65 + 4 * len(waiting.lines)


def test_expired_tells_of_late_ones_while_all_lanes_run():
    scheduler = line(SLOW)
    fill(scheduler, ticket())
    taken(scheduler)
    late, good = fill(scheduler, ticket(deadline=1.0), ticket())
    assert scheduler.expired(1.0) == [late]
    assert scheduler.waiting_rows == good.rows


# -- admission -------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_and_says_when_to_come_again():
    scheduler = line(SLOW, queue_rows=4, max_batch=1)
    assert scheduler.admit(100, 0.0, rows=9) is None  # nothing waits: larger than the queue, but where else
    fill(scheduler, *(ticket() for _ in range(4)))
    refusal = scheduler.admit(100, 0.0)
    assert refusal is not None
    assert refusal.code == "model.busy"
    assert refusal.facts["retry_after"] == 1


def test_who_is_refused_while_as_much_waits_is_told_the_same():
    scheduler = line(queue_rows=2)
    _, second = fill(scheduler, ticket(), ticket())
    told = scheduler.admit(100, 1.0)
    assert told is not None
    assert scheduler.admit(100, 1.01) is told
    assert scheduler.admit(100, 1.03) is not told  # its numbers are old
    told = scheduler.admit(100, 1.03)
    late = scheduler.admit(100, 1.03, deadline=1.02)
    assert late is not None
    assert late.code != "model.busy" or late is not told
    scheduler.cancel(second)
    assert scheduler.admit(100, 1.031) is None  # less waits


def test_a_refusal_of_many_rows_or_bytes_is_not_told_to_who_wants_less():
    scheduler = line(queue_rows=10, queue_bytes=1000)
    fill(scheduler, *(ticket() for _ in range(5)))
    assert scheduler.admit(100, 1.0, rows=6) is not None
    assert scheduler.admit(100, 1.0, rows=5) is None
    assert scheduler.admit(501, 1.0) is not None
    assert scheduler.admit(500, 1.0) is None


def test_a_thread_is_given_what_the_loop_would_not_run_inline():
    quick, slow = line(), line(SLOW)
    for scheduler in (quick, slow):
        fill(scheduler, ticket())
    assert quick.take(0.0, here=False) is None
    batch = slow.take(0.0, here=False)
    assert isinstance(batch, Batch)
    assert not batch.inline
    assert taken(quick).inline


def test_bytes_are_bounded_too():
    scheduler = line(SLOW, queue_bytes=250)
    fill(scheduler, ticket())
    assert scheduler.admit(150, 0.0) is None
    refusal = scheduler.admit(151, 0.0)
    assert refusal is not None
    assert refusal.code == "model.busy"


def test_what_cannot_end_in_time_is_refused_at_once():
    scheduler = line({1: 0.010}, max_batch=1)
    assert scheduler.admit(100, 1.0, deadline=1.011) is None
    fill(scheduler, *(ticket() for _ in range(10)))
    assert scheduler.admit(100, 1.0, deadline=1.111) is None
    refusal = scheduler.admit(100, 1.0, deadline=1.109)
    assert refusal is not None
    assert refusal.code == "request.deadline"
    taken(scheduler, 1.0)
    for now in (1.0, 1.005):  # nine wait and one runs, just begun or half done: its end stays where it was
        assert scheduler.admit(100, now, deadline=1.111) is None
        assert scheduler.admit(100, now, deadline=1.109) is not None
    passed = scheduler.admit(100, 1.0, deadline=0.9)
    assert passed is not None
    assert passed.code == "request.deadline"


def test_a_wait_longer_than_allowed_or_than_the_target_is_refused():
    for rules in ({"queue_seconds": 0.035}, {"latency_target": 0.045}):
        scheduler = line({1: 0.010}, max_batch=1, **rules)
        let_in = 0
        while (refusal := scheduler.admit(100, 0.0)) is None:
            fill(scheduler, ticket())
            let_in += 1
        assert refusal.code == "model.busy"
        assert let_in == 4


def test_an_estimate_that_has_become_wrong_is_tried_and_corrected():
    scheduler = line({1: 10.0})  # it was so slow once, and every client allows a second
    ran = refused = 0
    for now in range(300):
        if scheduler.admit(100, now, deadline=now + 1.0) is not None:
            refused += 1
            continue
        fill(scheduler, ticket(arrived=now, deadline=now + 1.0))
        batch = taken(scheduler, now)
        assert batch.rows == 1
        scheduler.done(batch, 0.010, now + 0.010)
        ran += 1
    assert 0 < refused <= 8 * 15
    assert ran == 300 - refused


def test_nothing_known_refuses_nobody_for_time():
    scheduler = line({}, queue_seconds=0.001)
    fill(scheduler, ticket())
    taken(scheduler)
    fill(scheduler, ticket())
    assert scheduler.admit(100, 0.0, deadline=0.001) is None


# -- for every order of events ----------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order: each ticket leaves exactly once, within the promises of the module."""

    @initialize(
        lanes=st.integers(1, 3), cap=st.integers(0, 6), delay=st.sampled_from([0.0, 0.002]), batches=st.booleans(),
        ladder=st.sampled_from([{}, FAST, SLOW]), goal=st.sampled_from([0.0, 0.03]),
    )  # fmt: skip
    def begin(self, lanes, cap, delay, batches, ladder, goal):
        rules = Rules(lanes=lanes, max_batch=cap, max_delay=delay, queue_rows=12, latency_target=goal)
        self.scheduler = Scheduler(rules, RunTimes.from_ladder(ladder), batches=batches)
        self.now = 0.0
        self.waiting: list[Ticket] = []  # in the order of put
        self.running: list[Batch] = []
        self.number = 0

    @rule(
        rows=st.integers(1, 4), key=st.sampled_from("abc"), priority=st.sampled_from([0, 0, 0, 1, -2]),
        allowed=st.sampled_from([inf, inf, 0.001, 0.02, 0.2]),
    )  # fmt: skip
    def come(self, rows, key, priority, allowed):
        before = self.scheduler.waiting_rows
        if self.scheduler.admit(10, self.now, self.now + allowed, rows) is None:
            assert before == 0 or before + rows <= 12
            one = Ticket(rows, 10, key, self.now, self.now + allowed, priority)
            self.scheduler.put(one)
            self.waiting.append(one)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), how=st.booleans())
    def cancel(self, data, how):
        one = data.draw(st.sampled_from(self.waiting))
        if how:
            assert self.scheduler.cancel(one) is True
            self.waiting.remove(one)
        else:
            one.cancelled = True

    @rule(seconds=st.sampled_from([0.0001, 0.003, 0.05]))
    def time_goes(self, seconds):
        self.now += seconds
        self.number += 1
        self.scheduler.turn(self.number)

    @rule()
    def sweep(self):
        for one in self.scheduler.expired(self.now):
            assert one.cancelled or one.deadline <= self.now
            self.waiting.remove(one)

    @rule()
    def take(self):
        cap = self.scheduler.cap
        batch = self.scheduler.take(self.now)
        if batch is None:
            assert len(self.running) >= self.scheduler.rules.lanes or not self.waiting
            return
        if isinstance(batch, float):
            assert self.scheduler.rules.max_delay > 0
            assert self.now < batch <= self.now + self.scheduler.rules.max_delay
            return
        for one in batch.dropped:
            self.waiting.remove(one)
        if not batch.tickets:
            assert batch.dropped
            return
        self._is_right(batch, cap)
        for one in batch.tickets:
            self.waiting.remove(one)
        self.running.append(batch)

    def _is_right(self, batch: Batch, cap: int) -> None:
        mine = batch.tickets
        ordered = sorted(self.waiting, key=lambda t: -t.priority)  # stable: then the order of put
        assert mine[0] is ordered[0]
        same = [t for t in ordered if t.key == mine[0].key]
        if all(t.deadline == inf for t in same):  # otherwise some may have been passed over, or dropped
            assert mine == same[: len(mine)]
        assert mine == [t for t in same if t in mine]
        assert not any(t.cancelled or t.deadline <= self.now for t in mine)
        assert batch.rows == sum(t.rows for t in mine)
        assert batch.rows <= cap or len(mine) == 1
        assert not (batch.inline and self.running)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), seconds=st.sampled_from([1e-5, 2e-4, 0.004, 0.1]))
    def done(self, data, seconds):
        batch = data.draw(st.sampled_from(self.running))
        self.running.remove(batch)
        self.now += seconds
        self.scheduler.done(batch, seconds, self.now)

    @invariant()
    def counts_are_true(self):
        if not hasattr(self, "scheduler"):
            return
        assert self.scheduler.waiting_rows == sum(t.rows for t in self.waiting)
        assert self.scheduler.waiting_bytes == 10 * len(self.waiting)
        assert self.scheduler.running == len(self.running) <= self.scheduler.rules.lanes

    def teardown(self):
        if not hasattr(self, "scheduler"):
            return
        for _ in range(1000):
            while self.running:
                self.scheduler.done(self.running.pop(), 0.001, self.now)
            self.now += 1.0
            if not self.waiting:
                break
            self.take()
        assert self.waiting == []
        assert self.scheduler.take(self.now) is None
        assert (self.scheduler.waiting_rows, self.scheduler.waiting_bytes, self.scheduler.running) == (0, 0, 0)
        assert sum(line.rows for line in self.scheduler._waiting.lines.values()) == 0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from("ab"), st.integers(-1, 1)), max_size=40))
def test_order_within_a_key_is_priority_then_arrival(asked):
    scheduler = line(max_batch=3)
    everything = fill(scheduler, *(ticket(key, rows=rows, priority=priority) for rows, key, priority in asked))
    out: list[Ticket] = []
    while isinstance(batch := scheduler.take(0.0), Batch):
        out += batch.tickets
        scheduler.done(batch, 2e-5, 0.0)
    for key in "ab":
        expected = sorted((t for t in everything if t.key == key), key=lambda t: -t.priority)
        assert [t for t in out if t.key == key] == expected


def test_a_lone_quick_request_needs_no_ticket():
    quick = Scheduler(Rules(), RunTimes.from_ladder({1: 2e-5, 64: 4e-5}))
    assert quick.alone(1)
    quick.put(Ticket(1, 1, "k", 0.0))
    assert not quick.alone(1)  # somebody waits: it would be overtaken


def test_a_request_is_not_alone_where_its_run_could_be_long_or_rules_would_be_broken():
    ladder = {1: 2e-5, 64: 4e-5}
    assert not Scheduler(Rules(), RunTimes.from_ladder({1: 0.01})).alone(1)
    assert not Scheduler(Rules(), RunTimes.from_ladder(ladder)).alone(100_000)
    assert not Scheduler(Rules(max_delay=0.01), RunTimes.from_ladder(ladder)).alone(1)
    assert not Scheduler(Rules(latency_target=0.01), RunTimes.from_ladder(ladder)).alone(1)
    assert not Scheduler(Rules(), RunTimes()).alone(1)


def test_slow_lone_runs_end_the_trust():
    scheduler = Scheduler(Rules(), RunTimes.from_ladder({1: 2e-5, 64: 4e-5}))
    for _ in range(3):
        scheduler.ran_alone(1, 0.004)
    assert not scheduler.alone(1)
