"""Hostile bytes on a connection: none becomes a request that was not sent, whole or byte by byte."""

from __future__ import annotations

import http1
import pytest
from one_connection import listen


@pytest.mark.parametrize("name", http1.ATTACKS)
def test_hostile_bytes(name: str) -> None:
    attack = http1.ATTACKS[name]
    whole = listen([attack.raw])
    assert (tuple(path for _, path, _ in whole.requests), whole.fault) == (attack.reads, attack.code)
    assert listen([attack.raw[i : i + 1] for i in range(len(attack.raw))]) == whole
    assert listen([attack.raw], direct=True) == whole
