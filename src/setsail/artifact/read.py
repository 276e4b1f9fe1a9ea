"""A file to an Artifact, checked in full: `docs/format.md` §6. The only door for untrusted files; runs nothing."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from setsail.artifact import manifest, seal
from setsail.artifact.artifact import Artifact
from setsail.artifact.canonical import decode
from setsail.artifact.layout import MANIFEST, SEAL, Limits, Slot, scan
from setsail.errors import SetsailError

__all__ = ["read", "read_buffer"]

_CHUNK = 1 << 20
_SEAL_LIMIT = 1 << 16
_DEFAULTS = Limits()


def read(path: Path, limits: Limits = _DEFAULTS) -> Artifact:
    """Open an artifact: every byte is checked before this returns.

    Raises:
        SetsailError: one of the `artifact.` codes, saying what is wrong where. Nothing stays open then.
    """
    path = Path(path)
    data = _map(path, limits)
    view = memoryview(data)
    try:
        return read_buffer(view, limits, path=path, mapped=data)
    except BaseException:
        with suppress(BufferError):  # the traceback may still hold a slice; then the mapping goes with it
            view.release()
            data.close()
        raise


def read_buffer(
    view: memoryview, limits: Limits = _DEFAULTS, *, path: Path | None = None, mapped: mmap.mmap | None = None
) -> Artifact:
    """The same for bytes that are in memory already (an upload, a test)."""
    slots = scan(view, limits)
    for slot, limit in zip(slots[:2], (limits.manifest, _SEAL_LIMIT), strict=True):
        if slot.entry.length > limit:
            raise SetsailError("artifact.size", f"member {slot.entry.name!r} is over its limit",
                               value=slot.entry.length, expected=f"at most {limit} bytes")  # fmt: skip
        _check_crc(slot, zlib.crc32(view[slot.offset : slot.end]))
    manifest_bytes, seal_bytes = (bytes(view[slot.offset : slot.end]) for slot in slots[:2])
    digest = seal.check(seal_bytes, manifest_bytes)
    body = manifest.parse(manifest_bytes, limits)
    _check_members(view, slots, body["members"])
    for slot in slots:
        if slot.entry.name in ("environment.json", "reference.json"):
            decode(bytes(view[slot.offset : slot.end]), slot.entry.name, limits.depth)
    return Artifact(path, body, digest, view, {slot.entry.name: slot for slot in slots}, mapped)


def _map(path: Path, limits: Limits) -> mmap.mmap:
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as fault:
        raise SetsailError("artifact.missing", "the artifact cannot be opened", field="path", value=str(path),
                           expected=fault.strerror) from fault  # fmt: skip
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SetsailError("artifact.format", "the path is not a regular file", field="path", value=str(path))
        if status.st_size == 0:
            raise SetsailError("artifact.truncated", "the file is empty", field="path", value=str(path))
        if status.st_size > limits.size:
            raise SetsailError("artifact.size", "the file is over the size limit", value=status.st_size,
                               expected=f"at most {limits.size} bytes")  # fmt: skip
        return mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _check_members(view: memoryview, slots: Sequence[Slot], members: Mapping[str, Any]) -> None:
    listed = {slot.entry.name for slot in slots} - {MANIFEST, SEAL}
    if listed != members.keys():
        raise SetsailError("artifact.field", "manifest field 'members' is not the list of members", field="members",
                           value=sorted(listed ^ members.keys()), expected="each member once")  # fmt: skip
    for slot in slots[2:]:
        facts = members[slot.entry.name]
        if facts["length"] != slot.entry.length:
            raise SetsailError("artifact.field", f"the length of member {slot.entry.name!r} is not the manifest's",
                               field="members", value=slot.entry.length, expected=str(facts["length"]))  # fmt: skip
        _check_digest(view, slot, facts["sha256"])


def _check_digest(view: memoryview, slot: Slot, expected: str) -> None:
    """CRC and SHA-256 in one pass, so that each byte comes from memory once."""
    digest, crc = hashlib.sha256(), 0
    for at in range(slot.offset, slot.end, _CHUNK):
        chunk = view[at : min(at + _CHUNK, slot.end)]
        digest.update(chunk)
        crc = zlib.crc32(chunk, crc)
    if digest.hexdigest() != expected:
        raise SetsailError("artifact.digest", f"member {slot.entry.name!r} has other bytes than the manifest says",
                           field=slot.entry.name, value=digest.hexdigest(), expected=expected)  # fmt: skip
    _check_crc(slot, crc)


def _check_crc(slot: Slot, crc: int) -> None:
    if crc != slot.entry.crc:
        raise SetsailError("artifact.digest", f"member {slot.entry.name!r} has other bytes than its CRC-32 says",
                           field=slot.entry.name, value=f"{crc:08x}", expected=f"{slot.entry.crc:08x}")  # fmt: skip
