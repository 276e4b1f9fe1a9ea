"""Hostile artifacts: name -> (the code that answers, what makes the file from a good one's members)."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from forge import Record, archive, change, records, resealed, rewritten, with_member

Members = Mapping[str, bytes]
Attack = tuple[str, Callable[[Members], bytes]]

W: Final = "variants/onnx/w.bin"
PROGRAM: Final = "variants/onnx/model.onnx"


def _deflated(payload: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(payload) + packer.flush()


def _raw(members: Members, before: str, after: str) -> bytes:
    """The manifest changed as text, sealed again."""
    manifest = members["manifest.json"].decode()
    assert before in manifest
    return archive(records(resealed(members, manifest.replace(before, after, 1).encode())))


def _set(*path: str | int, value: Any) -> Callable[[Members], bytes]:
    def edit(body: Any) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = value

    return lambda members: rewritten(members, edit)


def _drop(key: str) -> Callable[[Members], bytes]:
    return lambda members: rewritten(members, lambda body: body.pop(key))


def _knob(name: str, **knobs: Any) -> Callable[[Members], bytes]:
    return lambda members: archive(change(records(members), name, **knobs))


def _named(name: str) -> Callable[[Members], bytes]:
    return lambda members: with_member(members, name, b"x")


def _signed(members: Members) -> bytes:
    seal = json.loads(members["seal.json"]) | {"signatures": [{"by": "anyone"}]}
    text = json.dumps(seal, sort_keys=True, separators=(",", ":"))
    return archive(records(dict(members) | {"seal.json": text.encode()}))


def _other_payload(members: Members) -> bytes:
    """Another program of the same length, with a CRC that fits."""
    return archive(records(dict(members) | {PROGRAM: members[PROGRAM][::-1]}))


def _swapped(members: Members) -> bytes:
    given = records(members)
    return archive([*given[:2], given[3], given[2], *given[4:]])


def _twice(members: Members) -> bytes:
    given = records(members)
    return archive([*given, given[-1]])


def _zip64_lie(members: Members) -> bytes:
    """A zip64 field in the directory that says what the 32-bit fields could have said."""
    extra = struct.pack("<2H2Q", 1, 16, len(members[W]), len(members[W]))
    return archive(change(records(members), W, claimed=0xFFFFFFFF, central_extra=extra))


def _zip64_huge(members: Members) -> bytes:
    extra = struct.pack("<2H2Q", 1, 16, 1 << 62, 1 << 62)
    return archive(change(records(members), W, claimed=0xFFFFFFFF, central_extra=extra))


def _deep(members: Members) -> bytes:
    return _raw(members, '"alpha":1.0', '"alpha":' + "[" * 100_000 + "]" * 100_000)


def _many(members: Members) -> bytes:
    more = [Record(f"variants/onnx/f{i:05d}".encode(), b"") for i in range(10_001)]
    return archive([*records(members)[:-2], *more])


def _stock_zip(members: Members) -> bytes:
    return archive([Record(b"data.pkl", b"cos\nsystem\n"), *records(members)])


ATTACKS: Final[Mapping[str, Attack]] = {
    # -- the file as a whole
    "empty": ("artifact.truncated", lambda m: b""),
    "not a zip": ("artifact.format", lambda m: b"\x80\x04\x95cos\nsystem\n"),
    "another zip": ("artifact.format", _stock_zip),
    "bytes in front": ("artifact.format", lambda m: b"#!/bin/sh\n" + archive(records(m))),
    "archive in front": ("artifact.layout", lambda m: archive(records(m)) + archive(records(m))),
    "bytes behind": ("artifact.trailing", lambda m: archive(records(m)) + b"\0"),
    "zip comment": ("artifact.layout", lambda m: archive(records(m), comment=b"hello")),
    "end record cut off": ("artifact.truncated", lambda m: archive(records(m))[:-1]),
    # -- the directory lies
    "2 GB claimed": ("artifact.size", _knob(W, claimed=2 << 30)),
    "zip64 claims 4 EiB": ("artifact.size", _zip64_huge),
    "zip64 without need": ("artifact.layout", _zip64_lie),
    "too many members": ("artifact.size", _many),
    "directory outside the file": ("artifact.size", lambda m: archive(records(m), at_shift=1 << 30)),
    "directory elsewhere": ("artifact.layout", lambda m: archive(records(m), at_shift=-46)),
    "fewer members claimed": ("artifact.layout", lambda m: archive(records(m), count=len(m) - 1)),
    "more members claimed": ("artifact.layout", lambda m: archive(records(m), count=len(m) + 1)),
    "overlapping members": ("artifact.layout", _knob(W, header_at=0)),
    "gap between members": ("artifact.layout", _knob(W, gap=b"hidden")),
    "padding with content": ("artifact.layout", _knob(W, padding=b"hidden")),
    "not aligned": ("artifact.layout", _knob(W, padding=b"")),
    "two names": ("artifact.layout", _knob(W, local_name=b"variants/onnx/v.bin")),
    "member comment": ("artifact.layout", _knob(W, comment=b"hidden")),
    "extra field in the directory": ("artifact.layout", _knob(W, central_extra=b"\x99\x99\x02\x00hi")),
    "data descriptor flag": ("artifact.layout", _knob(W, flags=0x0008)),
    "a clock": ("artifact.layout", _knob(W, date=0x5A21)),
    "setuid bit": ("artifact.layout", _knob(W, mode=0o104755)),
    "order": ("artifact.layout", _swapped),
    "wrong CRC": ("artifact.digest", _knob(W, crc=1)),
    # -- members that may not be
    "encrypted": ("artifact.member", _knob(W, flags=0x0001)),
    "zip bomb": ("artifact.member", _knob(W, method=8, payload=_deflated(bytes(10 << 20)), claimed=10 << 20)),
    "symbolic link": ("artifact.member", _knob(W, mode=0o120777, payload=b"/etc/passwd")),
    "device": ("artifact.member", _knob(W, mode=0o020666)),
    "folder": ("artifact.member", _knob(W, mode=0o040755)),
    "zip slip": ("artifact.member", _named("variants/onnx/../../../evil")),
    "absolute path": ("artifact.member", _named("/etc/passwd")),
    "backslash": ("artifact.member", _named("variants\\onnx\\..\\evil")),
    "drive letter": ("artifact.member", _named("c:/evil")),
    "hidden file": ("artifact.member", _named("variants/onnx/.bashrc")),
    "Windows device": ("artifact.member", _named("variants/onnx/NUL.txt")),
    "NUL in a name": ("artifact.member", _named("variants/onnx/a\0b")),
    "not ASCII": ("artifact.member", _named("variants/onnx/ämodel")),
    "unknown member": ("artifact.member", _named("model.pkl")),
    "same name twice": ("artifact.duplicate", _twice),
    "case collision": ("artifact.duplicate", _named("variants/onnx/W.BIN")),
    "a file as folder": ("artifact.duplicate", _named("variants/onnx/w.bin/x")),
    # -- content against manifest against seal
    "other program": ("artifact.digest", _other_payload),
    "wrong digest": ("artifact.digest", _set("members", W, "sha256", value="0" * 64)),
    "wrong length": ("artifact.field", _set("members", W, "length", value=1)),
    "unlisted member": ("artifact.field", lambda m: archive([*records(m), Record(b"variants/onnx/z.bin", b"x")])),
    "listed, not there": (
        "artifact.field",
        _set("members", "variants/onnx/z.bin", value={"sha256": "0" * 64, "length": 0}),
    ),
    "seal of another": ("artifact.seal", lambda m: archive(records(dict(m) | {"manifest.json": b"{}"}))),
    "signature nobody checks": ("artifact.seal", _signed),
    "seal is no JSON": ("artifact.json", lambda m: archive(records(dict(m) | {"seal.json": b"{"}))),
    # -- the manifest as JSON
    "deep nesting": ("artifact.json", _deep),
    "duplicate key": (
        "artifact.json",
        lambda m: _raw(m, '{"default_output"', '{"default_output":"x","default_output"'),
    ),
    "white space": ("artifact.json", lambda m: _raw(m, '"format":1', '"format": 1')),
    "escaped letter": ("artifact.json", lambda m: _raw(m, '"credit"', '"\\u0063redit"')),
    "number spelled otherwise": ("artifact.json", lambda m: _raw(m, '"alpha":1.0', '"alpha":1e0')),
    "NaN": ("artifact.json", lambda m: _raw(m, '"alpha":1.0', '"alpha":NaN')),
    "number that overflows": ("artifact.json", lambda m: _raw(m, '"alpha":1.0', '"alpha":1e999')),
    "number of a million digits": ("artifact.json", lambda m: _raw(m, '"alpha":1.0', '"alpha":' + "9" * 1_000_000)),
    "half a surrogate": ("artifact.json", lambda m: _raw(m, '"a note"', '"\\ud800"')),
    "not UTF-8": ("artifact.json", lambda m: archive(records(resealed(m, b'{"format":1,"name":"\xff"}')))),
    "quotes without end": ("artifact.json", lambda m: archive(records(resealed(m, b'"\\' * 200_000 + b"[" * 99)))),
    # -- the manifest's meaning
    "not an object": ("artifact.field", lambda m: archive(records(resealed(m, b"[]")))),
    "unknown field": ("artifact.field", _set("on_load", value="import os")),
    "unknown field inside": ("artifact.field", _set("variants", 0, "library", value="evil.so")),
    "missing field": ("artifact.field", _drop("variants")),
    "name as a path": ("artifact.field", _set("name", value="../credit")),
    "version true": ("artifact.field", _set("version", value=True)),
    "version zero": ("artifact.field", _set("version", value=0)),
    "format as text": ("artifact.field", _set("format", value="1")),
    "unknown dtype": ("artifact.field", _set("signatures", "serving_default", "inputs", 0, "dtype", value="object")),
    "negative size": ("artifact.field", _set("signatures", "serving_default", "inputs", 0, "shape", value=["N", -1])),
    "no such output": ("artifact.field", _set("default_output", value="secret")),
    "entry elsewhere": ("artifact.field", _set("variants", 0, "entry", value="../../seal.json")),
    "step on nothing": ("artifact.field", _set("steps", 0, "input", value="nobody")),
    "step option": ("artifact.field", _set("steps", 0, "options", value={"lowercase": "yes"})),
    "parity that lies": ("artifact.field", _set("parity", "checks", 0, "failed", value=2)),
    "unknown requires": ("artifact.requires", _set("requires", value=["tokens@0.9"])),
    "unknown format": ("artifact.requires", _set("format", value=2)),
    "unknown step": ("artifact.requires", _set("steps", 0, "kind", value="python.eval")),
    "pickle variant": ("artifact.requires", _set("variants", 0, "format", value="pickle")),
}
