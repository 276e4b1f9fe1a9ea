"""The response cache: equal requests run once, answers are kept within bounds, failures never."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from setsail.scheduling import Hit, Lead, ResponseCache, Wait
from setsail.scheduling.cache import ENTRY, key


def test_the_first_leads_equal_ones_wait_later_ones_hit():
    cache = ResponseCache(10_000)
    assert cache.begin(b"a") == Lead(b"a")
    second = cache.begin(b"a")
    assert isinstance(second, Wait)
    second.waiters.append("second")
    assert cache.begin(b"b") == Lead(b"b")
    assert cache.finish(b"a", "answer", 100) == ["second"]
    assert cache.begin(b"a") == Hit("answer")
    assert (cache.hits, cache.misses, cache.waits) == (1, 2, 1)


def test_a_failure_is_not_kept_and_who_waited_begins_again():
    cache = ResponseCache(10_000)
    cache.begin(b"a")
    waiting = cache.begin(b"a")
    assert isinstance(waiting, Wait)
    waiting.waiters.extend(["second", "third"])
    assert cache.abandon(b"a") == ["second", "third"]
    assert cache.begin(b"a") == Lead(b"a")
    assert cache.abandon(b"never begun") == []


def test_the_least_recently_used_makes_room():
    cache = ResponseCache(2 * (100 + ENTRY))
    for name in (b"a", b"b"):
        cache.begin(name)
        cache.finish(name, name, 100)
    cache.begin(b"a")
    cache.begin(b"c")
    cache.finish(b"c", b"c", 100)
    assert [isinstance(cache.begin(name), Hit) for name in (b"a", b"b", b"c")] == [True, False, True]
    assert cache.evicted == 1


def test_an_answer_larger_than_the_cache_is_given_and_not_kept():
    cache = ResponseCache(1000)
    cache.begin(b"a")
    waiting = cache.begin(b"a")
    assert isinstance(waiting, Wait)
    waiting.waiters.append("second")
    assert cache.finish(b"a", "answer", 1000) == ["second"]
    assert len(cache) == cache.nbytes == 0


def test_clear_forgets_answers_but_not_who_waits():
    cache = ResponseCache(10_000)
    cache.begin(b"a")
    cache.finish(b"a", 1, 10)
    cache.begin(b"b")
    waiting = cache.begin(b"b")
    assert isinstance(waiting, Wait)
    waiting.waiters.append("second")
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)
    assert cache.begin(b"a") == Lead(b"a")
    assert cache.finish(b"b", 2, 10) == ["second"]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 900), st.booleans()), max_size=80))
def test_it_never_holds_more_than_its_bound_and_answers_with_what_was_kept(events):
    cache = ResponseCache(3000)
    for name, size, good in events:
        what = cache.begin(str(name).encode())
        if isinstance(what, Hit):
            assert what.value == name
        elif good:
            cache.finish(str(name).encode(), name, size)
        else:
            cache.abandon(str(name).encode())
        assert 0 <= cache.nbytes <= 3000
    assert cache.hits + cache.misses == len(events)
    cache.clear()
    assert cache.nbytes == 0


def test_the_key_tells_model_version_and_every_part_apart():
    different = [
        key("m", 1, [b"ab", b"c"]), key("m", 1, [b"a", b"bc"]), key("m", 1, [b"abc"]), key("m", 2, [b"ab", b"c"]),
        key("n", 1, [b"ab", b"c"]), key("m:1", 1, [b"ab", b"c"]),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
    assert key("m", 1, [memoryview(b"ab"), b"c"]) == different[0]
