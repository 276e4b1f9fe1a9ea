"""Answers in deflate, for who takes nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest

from setsail.protocols.http import HttpReply
from setsail.protocols.open_inference.answers import prefers_deflate

Ask = Callable[..., HttpReply]
BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.mark.parametrize("binary", [False, True])
def test_the_same_answer_compressed(ask: Ask, binary: bool) -> None:
    body = BODY | {"parameters": {"binary_data_output": binary}}
    plain = ask("POST", "/v2/models/echo-float32/infer", body)
    packed = ask("POST", "/v2/models/echo-float32/infer", body, accept_encoding="deflate")
    assert zlib.decompress(packed.body) == plain.body
    assert packed.headers == (*plain.headers, ("content-encoding", "deflate"), ("vary", "accept-encoding"))


@pytest.mark.parametrize(
    ("accepted", "prefers"),
    [("deflate", True), ("Deflate;q=1, identity;q=0.5", True), ("gzip, deflate", False), ("", False), ("*", False),
     ("deflate, *", False)],
)  # fmt: skip
def test_who_takes_nothing_else(accepted: str, prefers: bool) -> None:
    assert prefers_deflate(accepted) is prefers
