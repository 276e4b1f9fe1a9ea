"""Every flood of HTTP/2 ends the connection, or holds no more than it may. See README.md for what each one tries."""

from __future__ import annotations

import time
from itertools import islice

import http2
import pytest
from h2_peer import Peer

from setsail.protocols.http2.streams import Limits

BODY = bytes(5000)  # of every answer
BUDGET = 600_000
PORTIONS = 3000


@pytest.mark.parametrize("name", http2.ATTACKS)
def test_flood(name: str) -> None:
    attack = http2.ATTACKS[name]
    peer = Peer(Limits(), body=BODY, answers="half-closed" not in name)
    peer.budget.limit = BUDGET
    sent = 0
    began = time.process_time()
    for octets in islice(attack.portions(), PORTIONS):
        peer.send(octets)
        sent += len(octets)
        assert peer.budget.taken <= BUDGET
        assert len(peer.connection.streams) <= 256
        if peer.connection.finished:
            break
    seconds = time.process_time() - began
    assert peer.connection.finished == (attack.code is not None)
    if attack.code is not None:
        assert peer.fault() is not None
        assert peer.got[-1].code == attack.code, peer.got[-1]
    assert seconds < 2, f"{sent} octets took {seconds:.2f} s"
    peer.connection.close()
    assert peer.budget.taken == 0


def test_an_honest_client_is_not_taken_for_one() -> None:
    """Many requests, a reset now and then, a PING a second: the allowances of each second suffice."""
    peer = Peer()
    number = 1
    for _ in range(20):
        for _ in range(500):
            peer.send(peer.headers(number))
            number += 2
        peer.send(b"".join(peer.headers(number + 2 * i, end=False) for i in range(100)))
        peer.send(b"".join(http2.frames.reset(number + 2 * i, 8) for i in range(100)) + http2.frames.ping(bytes(8)))
        number += 200
        peer.connection.refresh()
        assert not peer.connection.finished
