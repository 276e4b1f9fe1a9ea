"""W3C Trace Context, level 1: what a traceparent says, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.monitor.traces import Parent, parent_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
_HEX = "0123456789abcdef"


def ids(digits: int) -> st.SearchStrategy[str]:
    return st.text(_HEX, min_size=digits, max_size=digits).filter(lambda text: text.strip("0") != "")


def test_the_example_of_the_specification() -> None:
    found = parent_of({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "congo=t61rcWkgMzE"})
    assert found == Parent(TRACE, SPAN, True, "congo=t61rcWkgMzE")


@given(ids(32), ids(16), st.integers(0, 255))
def test_every_right_one_is_read(trace: str, span: str, flags: int) -> None:
    assert parent_of({"traceparent": f"00-{trace}-{span}-{flags:02x}"}) == Parent(trace, span, flags & 1 == 1)


@given(st.integers(1, 254), st.from_regex(r"(-[ -~]*)?", fullmatch=True))
def test_later_versions_may_say_more(version: int, rest: str) -> None:
    given = f"{version:02x}-{TRACE}-{SPAN}-01{rest}".rstrip()
    assert parent_of({"traceparent": given}) == Parent(TRACE, SPAN, True)


@pytest.mark.parametrize("given", [
    "", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}-01-",
    f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-0g", f"00-{TRACE[1:]}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
    f"01-{TRACE}-{SPAN}-01more", f"00-{TRACE}-{SPAN}-01\n",
])  # fmt: skip
def test_what_is_none(given: str) -> None:
    assert parent_of({"traceparent": given, "tracestate": "a=1"}) is None


@given(st.text())
def test_no_text_is_a_fault(text: str) -> None:
    parent_of({"traceparent": text})


def test_a_request_without_one() -> None:
    assert parent_of({}) is None
