"""The bytes around the payloads: `docs/format.md` §1 and §2, as pure functions.

A list of (name, length, CRC) fixes every byte that is not payload. The writer emits those bytes; the reader takes the
list from the central directory, computes the same bytes and compares. So the parser below need not be trusted: it
only has to find the list and to say well what is wrong; `verify` proves the rest.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

from msgspec import Struct

from setsail.errors import SetsailError

__all__ = [
    "ALIGNMENT",
    "MANIFEST",
    "SEAL",
    "SIGNATURES",
    "STEPS",
    "Entry",
    "Limits",
    "Slot",
    "check_name",
    "order",
    "place",
    "scan",
    "tail",
]

ALIGNMENT: Final = 64
MANIFEST: Final = "manifest.json"
SEAL: Final = "seal.json"
STEPS: Final = "steps/"  # files that steps need
SIGNATURES: Final = (
    "signatures/"  # a folder each for those beside the default one, with its own samples, steps, variants
)

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_PADDING = struct.Struct("<3H")
_BIG = 0xFFFFFFFF
_ZIP64_ID, _PADDING_ID = 0x0001, 0xD935
_DATE = 0x0021  # 1980-01-01, the first day zip knows
_REGULAR_0644 = 0o100644 << 16
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|\Z)", re.IGNORECASE)
_MEMBER = re.compile(
    r"(manifest\.json|seal\.json|card\.md|environment\.json|reference\.json"
    r"|(signatures/[^/]+/)?(samples/(synthetic|example)\.safetensors|steps/[^/]+|variants/[^/]+/.+))\Z"
)


class Limits(Struct, frozen=True):
    """What a reader accepts at most. `size` and `manifest` are bytes; `depth` is nesting of JSON."""

    size: int = 16 << 30
    members: int = 10_000
    manifest: int = 16 << 20
    depth: int = 32


class Entry(Struct, frozen=True):
    """What fixes a member's record, beside its payload."""

    name: str
    length: int
    crc: int


class Slot(Struct, frozen=True):
    """An entry in its place: `header` is where its local header begins, `offset` where its payload does."""

    entry: Entry
    header: int
    offset: int

    @property
    def end(self) -> int:
        return self.offset + self.entry.length


# -- writing -------------------------------------------------------------------------------------------------------


def order(names: Sequence[str]) -> list[str]:
    """The canonical order: manifest, seal, then by name."""
    return sorted(names, key=lambda name: (name != MANIFEST, name != SEAL, name))


def place(entries: Sequence[Entry]) -> Iterator[tuple[Slot, bytes]]:
    """Every entry with its place and the bytes of its local header, in file order."""
    at = 0
    for entry in entries:
        header = _local_header(entry, at)
        slot = Slot(entry, at, at + len(header))
        yield slot, header
        at = slot.end


def tail(slots: Sequence[Slot]) -> bytes:
    """What follows the last payload: the central directory and the end records."""
    at = slots[-1].end if slots else 0
    directory = b"".join(map(_central_entry, slots))
    return directory + _end_records(len(slots), len(directory), at)


def _local_header(entry: Entry, at: int) -> bytes:
    name = entry.name.encode("ascii")
    big = entry.length >= _BIG
    size = _BIG if big else entry.length
    extra = struct.pack("<2H2Q", _ZIP64_ID, 16, entry.length, entry.length) if big else b""
    padding = -(at + _LOCAL.size + len(name) + len(extra) + _PADDING.size) % ALIGNMENT
    extra += _PADDING.pack(_PADDING_ID, 2 + padding, ALIGNMENT) + bytes(padding)
    needed = 45 if big else 10
    return _LOCAL.pack(b"PK\3\4", needed, 0, 0, 0, _DATE, entry.crc, size, size, len(name), len(extra)) + name + extra


def _central_entry(slot: Slot) -> bytes:
    entry, name = slot.entry, slot.entry.name.encode("ascii")
    wide = [entry.length, entry.length] if entry.length >= _BIG else []
    wide += [slot.header] if slot.header >= _BIG else []
    extra = struct.pack(f"<2H{len(wide)}Q", _ZIP64_ID, 8 * len(wide), *wide) if wide else b""
    made, needed = (0x032D, 45) if wide else (0x0314, 10)
    size, offset = min(entry.length, _BIG), min(slot.header, _BIG)
    fixed = _CENTRAL.pack(b"PK\1\2", made, needed, 0, 0, 0, _DATE, entry.crc, size, size, len(name), len(extra),
                          0, 0, 0, _REGULAR_0644, offset)  # fmt: skip
    return fixed + name + extra


def _end_records(count: int, size: int, at: int) -> bytes:
    wide = b""
    if at >= _BIG:
        wide = _END64.pack(b"PK\6\6", _END64.size - 12, 0x032D, 45, 0, 0, count, count, size, at)
        wide += _LOCATOR.pack(b"PK\6\7", 0, at + size, 1)
    return wide + _END.pack(b"PK\5\6", 0, 0, count, count, size, min(at, _BIG), 0)


# -- reading -------------------------------------------------------------------------------------------------------


def scan(data: memoryview, limits: Limits) -> list[Slot]:
    """Find and prove the layout of a whole file.

    Returns:
        The members in file order. All bytes that are not payload are then known to be canonical; payloads are unread.

    Raises:
        SetsailError: `artifact.format`, `.truncated`, `.trailing`, `.size`, `.member`, `.duplicate` or `.layout`.
    """
    _check_head(data, limits)
    count, start, end = _find_directory(data)
    if count > limits.members:
        _refuse("artifact.size", "the archive has too many members", count, f"at most {limits.members}")
    entries = list(_walk_directory(data, count, start, end))
    _check_names([e.name for e in entries])
    return _verify(data, entries)


def _check_head(data: memoryview, limits: Limits) -> None:
    head = bytes(data[: _LOCAL.size + len(MANIFEST)])
    name = head[_LOCAL.size :]
    if not b"PK\3\4".startswith(head[:4]) or not MANIFEST.encode().startswith(name):
        _refuse("artifact.format", "the file does not begin with a manifest", head[:4], "a setsail artifact")
    if len(data) > limits.size:
        _refuse("artifact.size", "the file is over the size limit", len(data), f"at most {limits.size} bytes")


def _find_directory(data: memoryview) -> tuple[int, int, int]:
    """(number of entries, start, end) of the central directory, from the last bytes of the file."""
    size = len(data)
    at = size - _END.size
    if at < 0 or bytes(data[at : at + 4]) != b"PK\5\6":
        _explain_missing_end(data)
    _, _, _, _, count, length, start, comment = _END.unpack_from(data, at)
    if comment:
        _explain_missing_end(data)
    end = at
    if start == _BIG:
        end = at - _LOCATOR.size - _END64.size
        if end < 0 or bytes(data[end : end + 4]) != b"PK\6\6":
            _refuse("artifact.layout", "the zip64 end record is not where it must be", None, "a record before the end")
        *_, length, start = _END64.unpack_from(data, end)
    if start > end or length > end:
        _refuse("artifact.size", "the directory's claimed place is outside the file", [start, length], f"up to {end}")
    if start + length != end:
        _refuse("artifact.layout", "the directory does not end where the end record begins", start + length, str(end))
    return count, start, end


def _explain_missing_end(data: memoryview) -> NoReturn:
    """The last 22 bytes are not an end record: say whether too much or too little follows the directory."""
    window = bytes(data[-(0xFFFF + _END.size) :])
    base = len(data) - len(window)
    at = window.rfind(b"PK\5\6", 0, max(0, len(window) - _END.size + 4))
    while at >= 0:
        *_, length, start, comment = _END.unpack_from(window, at)
        ended = base + at + _END.size
        if start + length == base + at or start == _BIG:
            if ended + comment >= len(data):
                _refuse("artifact.layout", "the archive has a comment", comment, "none")
            _refuse("artifact.trailing", "bytes follow the end of the archive", len(data) - ended, "none")
        at = window.rfind(b"PK\5\6", 0, at)
    raise SetsailError("artifact.truncated", "the file ends before the end of the archive", value=len(data))


def _walk_directory(data: memoryview, count: int, start: int, end: int) -> Iterator[Entry]:
    at = start
    for index in range(count):
        if at + _CENTRAL.size > end:
            _refuse("artifact.layout", "the directory has fewer entries than it claims", index, str(count))
        fields = _CENTRAL.unpack_from(data, at)
        if fields[0] != b"PK\1\2":
            _refuse("artifact.layout", f"entry {index} of the directory has no signature", None, "PK\\1\\2")
        crc, packed, length, name_size, extra_size, comment_size = fields[7:13]
        rest = bytes(data[at + _CENTRAL.size : min(end, at + _CENTRAL.size + name_size + extra_size)])
        name = _name(rest[:name_size])
        _check_kind(name, flags=fields[3], method=fields[4], mode=fields[15] >> 16)
        if length == packed == _BIG and len(rest) >= name_size + 12:
            length = packed = int.from_bytes(rest[name_size + 4 : name_size + 12], "little")
        if max(length, packed) > start:
            _refuse("artifact.size", f"member {name!r} claims more than the file holds", max(length, packed),
                    f"at most {start} bytes")  # fmt: skip
        yield Entry(name, length, crc)
        at += _CENTRAL.size + name_size + extra_size + comment_size
    if at != end:
        _refuse("artifact.layout", "the directory has more entries than it claims", None, str(count))


def _name(raw: bytes) -> str:
    try:
        name = raw.decode("ascii")
    except UnicodeDecodeError:
        _refuse("artifact.member", "a member's name is not ASCII", raw, "letters, digits, '.', '_', '-', '/'")
    check_name(name)
    return name


def check_name(name: str) -> None:
    """Whether a member may have this name. Raises `artifact.member`."""
    segments = name.split("/")
    for segment in segments:
        if not _SEGMENT.match(segment) or segment.endswith(".") or _DEVICE.match(segment):
            _refuse("artifact.member", "a member has a name that is not allowed", name,
                    "plain relative names of letters, digits, '.', '_', '-'")  # fmt: skip
    if len(name) > 255 or not _MEMBER.match(name):
        _refuse("artifact.member", "a member has a name the format does not know", name, "see docs/format.md")


def _check_kind(name: str, *, flags: int, method: int, mode: int) -> None:
    if flags & _ENCRYPTED:
        _refuse("artifact.member", f"member {name!r} is encrypted", flags, "no encryption")
    if method:
        _refuse("artifact.member", f"member {name!r} is compressed", f"method {method}", "stored members only")
    if mode >> 12 != 0o10:
        _refuse("artifact.member", f"member {name!r} is not a regular file", oct(mode), "a regular file")


def _check_names(names: Sequence[str]) -> None:
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(name.lower(), name)
        if other is not name:
            _refuse("artifact.duplicate", "two members have the same name but for case", [other, name], "one of them")
    for name in folded:
        for cut in (i for i, letter in enumerate(name) if letter == "/"):
            if name[:cut] in folded:
                _refuse("artifact.duplicate", "a member has the name of a folder", name[:cut], "one of the two")
    if list(names) != order(names) or names[:2] != [MANIFEST, SEAL]:
        _refuse("artifact.layout", "the members are not in canonical order", list(names[:4]), "manifest, seal, by name")


def _verify(data: memoryview, entries: Sequence[Entry]) -> list[Slot]:
    """Compute every byte that is not payload again, and compare: `docs/format.md` §6, step 3."""
    slots = []
    for slot, header in place(entries):
        if data[slot.header : slot.offset] != header:
            _refuse("artifact.layout", f"the header of member {slot.entry.name!r} is not canonical", slot.header,
                    "format 1")  # fmt: skip
        slots.append(slot)
    at, expected = slots[-1].end, tail(slots)
    if data[at:] != expected:
        _refuse("artifact.layout", "the directory of the archive is not canonical", at, "format 1")
    return slots


def _refuse(code: str, what: str, value: object, expected: str) -> NoReturn:
    raise SetsailError(code, what, value=value, expected=expected)
