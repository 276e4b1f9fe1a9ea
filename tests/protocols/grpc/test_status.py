"""Trailers, percent-encoding and time-outs, as gRPC's protocol page defines them."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.grpc.status import fault_trailers, percent_encoded, seconds, trailers


def fields(block: bytes) -> dict[str, str]:
    return dict(Decoder().decode(block))


def test_a_fault_says_its_code_its_text_and_when_to_try_again() -> None:
    fault = SetsailError("model.busy", "the queue is full", retry_after=2, id="abc")
    said = fields(fault_trailers(fault))
    assert said["grpc-status"] == "8"
    assert said["grpc-message"] == percent_encoded(str(fault))
    assert said["x-setsail-error"] == "model.busy"
    assert said["x-setsail-error-id"] == "abc"
    assert said["grpc-retry-pushback-ms"] == "2000"


def test_a_good_end() -> None:
    assert fields(trailers(0)) == {"grpc-status": "0"}
    assert fields(trailers(0, metadata=(("x-a", "b"),))) == {"grpc-status": "0", "x-a": "b"}


@given(st.text(max_size=50))
def test_messages_are_printable_and_come_back(text: str) -> None:
    encoded = percent_encoded(text)
    assert all(" " <= c <= "~" for c in encoded)
    assert unquote_to_bytes(encoded) == text.encode("utf-8", "replace")


@pytest.mark.parametrize(("text", "expected"), [
    ("1H", 3600.0), ("2M", 120.0), ("30S", 30.0), ("250m", 0.25), ("10u", 1e-5), ("99999999n", 0.099999999),
])  # fmt: skip
def test_time_outs(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "5", "S", "1s", "-1S", "123456789S", "1.5S", "٣S"])
def test_time_outs_that_are_none(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        seconds(text)
    assert caught.value.code == "request.malformed"
