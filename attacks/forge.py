"""A zip writer that tells lies on demand.

With every knob at its default it writes exactly what `setsail.artifact.write` writes (`test_attacks.py` holds that), so
an attack differs from a good file in the one thing its knob changes.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from setsail.artifact.layout import order


@dataclass(frozen=True)
class Record:
    """A member. `claimed`, `crc`, `local_name`, `header_at` lie; `gap` is put before the local header."""

    name: bytes
    payload: bytes
    flags: int = 0
    method: int = 0
    mode: int = 0o100644
    version: int = 10
    date: int = 0x0021
    claimed: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    header_at: int | None = None
    gap: bytes = b""
    padding: bytes | None = None
    central_extra: bytes = b""
    comment: bytes = b""


def records(members: Mapping[str, bytes]) -> list[Record]:
    return [Record(name.encode(), payload) for name, payload in members.items()]


def change(given: Sequence[Record], name: str, **knobs: Any) -> list[Record]:
    """The same records with knobs turned on one of them."""
    assert any(r.name == name.encode() for r in given)
    return [replace(r, **knobs) if r.name == name.encode() else r for r in given]


def archive(given: Sequence[Record], *, count: int | None = None, comment: bytes = b"", at_shift: int = 0) -> bytes:
    """The file. `count` and `at_shift` make the end record lie; `comment` is a zip comment."""
    out, directory = b"", b""
    for record in given:
        out += record.gap
        at = len(out) if record.header_at is None else record.header_at
        crc = zlib.crc32(record.payload) if record.crc is None else record.crc
        size = len(record.payload) if record.claimed is None else record.claimed
        name = record.name if record.local_name is None else record.local_name
        padding = record.padding
        if padding is None:
            padding = bytes(-(len(out) + 30 + len(name) + 6) % 64)
        extra = struct.pack("<3H", 0xD935, 2 + len(padding), 64) + padding
        made = (record.version, record.flags, record.method, 0, record.date, crc, size, size)
        out += struct.pack("<4s5H3I2H", b"PK\3\4", *made, len(name), len(extra)) + name + extra + record.payload
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 0x0314, *made, len(record.name), len(record.central_extra), len(record.comment),
            0, 0, record.mode << 16, at,
        ) + record.name + record.central_extra + record.comment  # fmt: skip
    count = len(given) if count is None else count
    return out + directory + struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(out) + at_shift, len(comment)
    ) + comment  # fmt: skip


def resealed(members: Mapping[str, bytes], manifest: bytes) -> dict[str, bytes]:
    """The members with another manifest and a seal that fits it: what somebody does who can write files."""
    seal = json.dumps({"manifest": hashlib.sha256(manifest).hexdigest(), "signatures": []}, separators=(",", ":"))
    return dict(members) | {"manifest.json": manifest, "seal.json": seal.encode()}


def rewritten(members: Mapping[str, bytes], edit: Callable[[dict[str, Any]], None]) -> bytes:
    """A whole file whose manifest was edited as JSON, canonical and sealed again."""
    body = json.loads(members["manifest.json"])
    edit(body)
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return archive(records(resealed(members, text.encode())))


def with_member(members: Mapping[str, bytes], name: str, payload: bytes) -> bytes:
    """A whole file with one more member, listed in the manifest with its right digest, in canonical order."""
    body = json.loads(members["manifest.json"])
    body["members"][name] = {"sha256": hashlib.sha256(payload).hexdigest(), "length": len(payload)}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    more = resealed(members, text) | {name: payload}
    return archive(records({n: more[n] for n in order(list(more))}))
