"""The table of frame rules, and what reads and writes frames."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from h2_peer import GET, POST, Peer, split
from hyperframe.frame import Frame as Reference

from setsail.protocols.http2 import frames
from setsail.protocols.http2.frames import DONE, HALF, IDLE, OPEN, RESET, RULES, STREAM, Rule, frame

NAMES = {IDLE: "idle", OPEN: "open", HALF: "half-closed", DONE: "closed", RESET: "reset by us"}


def in_state(state: int) -> Peer:
    """A peer whose stream 1 is in a state."""
    peer = Peer(answers=state == DONE)
    if state in (OPEN, RESET):
        peer.send(peer.headers(1, POST, end=False))
    if state in (HALF, DONE):
        peer.send(peer.headers(1))
    if state == RESET:
        peer.connection.reset(peer.connection.streams[1], frames.CANCEL)
        peer.read()
    peer.got.clear()
    return peer


def payload(peer: Peer, kind: int, state: int) -> bytes:
    """One that the rule of this type takes."""
    block = peer.block([("x-trailer", "1")] if state == OPEN else GET)
    return {frames.HEADERS: block, frames.WINDOW_UPDATE: b"\0\0\0\x01", frames.DATA: b"x"}.get(
        kind, bytes(RULES[kind].least)
    )


@pytest.mark.parametrize("state", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("rule", [r for r in RULES if r.where != frames.ZERO], ids=lambda r: r.name)
def test_a_connection_does_what_the_table_says(rule: Rule, state: int) -> None:
    kind = RULES.index(rule)
    peer = in_state(state)
    peer.send(frame(kind, 5 if kind == frames.HEADERS else 0, 1, payload(peer, kind, state)))
    verdict = rule.states[state]
    expected = None if verdict.scope in ("ok", "ignore") else (verdict.scope, verdict.code)
    assert peer.fault() == expected


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name)
def test_every_size_that_the_table_refuses_is_refused(rule: Rule) -> None:
    kind = RULES.index(rule)
    for size in range(20):
        peer = in_state(OPEN)
        good = rule.least <= size <= rule.most and not size % rule.step
        stream = 1 if rule.where == STREAM else 0
        peer.send(frame(kind, 0, stream, b"\0\0\0\x01" * 5 if size == 20 else (b"\0\0\0\x01" * 5)[:size]))
        if not good:
            assert peer.fault() == (rule.size.scope, rule.size.code), size
        elif kind not in (frames.PUSH_PROMISE, frames.CONTINUATION, frames.HEADERS):
            assert peer.fault() is None, size


def test_every_row_names_its_section() -> None:
    assert [r.name for r in RULES] == [
        "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
        "CONTINUATION",
    ]  # fmt: skip
    assert [r.section for r in RULES] == [f"6.{i}" for i in range(1, 11)]
    assert all(v.section for r in RULES for v in r.states if v.scope in ("stream", "connection"))


def test_the_source_names_no_section_that_the_rfc_does_not_have() -> None:
    folder = Path(frames.__file__).parent
    named = {n for p in folder.glob("*.py") for n in re.findall(r"\(§(\d+)(?:\.\d+)*\)", p.read_text("utf-8"))}
    assert named <= {"3", "4", "5", "6", "7", "8", "10"}


@pytest.mark.parametrize("octets", [
    frames.settings({1: 4096, 3: 100}), frames.settings(None), frames.ping(b"12345678", ack=True),
    frames.goaway(7, 11, "why"), frames.reset(3, 8), frames.window_update(0, 5), frame(0, 1, 9, b"data"),
])  # fmt: skip
def test_frames_are_what_another_library_reads(octets: bytes) -> None:
    read, length = Reference.parse_frame_header(memoryview(octets[:9]))
    read.parse_body(memoryview(octets[9:]))
    assert length == len(octets) - 9
    assert read.serialize() == octets
    assert len(split(octets)) == 1
