"""`.npy` and `.npz` bodies, read without trusting a number in them.

numpy's own reader allocates what a header claims before it looks at what is there. Here the header is read first, its
claim compared with the bytes that follow, and the array made of them. Python objects are not read at all.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import re
from ast import literal_eval
from functools import lru_cache
from io import BytesIO
from math import prod
from typing import Any, Final, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile
from zlib import crc32
from zlib import error as ZlibError  # noqa: N812

import numpy as np

from setsail.errors import SetsailError
from setsail.messages import Body, Columns, Digits, Form, Portion, Rows
from setsail.protocols.alike import Alike
from setsail.protocols.packed import LONG
from setsail.tensors import Array, Numbers

__all__ = ["LARGEST", "array_of", "npy", "npz", "unread_npy", "unread_npz"]

LARGEST: Final = 64 << 20  # bytes of all arrays of a .npz once they are inflated
_MAGIC: Final = b"\x93NUMPY"
_HEADER: Final = 4096  # longest header that is read
_MEMBERS: Final = 1000
_WIDE: Final = {"i": np.int64, "u": np.int64, "u8": np.uint64, "f": np.float64}
_PLAIN: Final = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|S[1-9]\d{0,6}|U[1-9]\d{0,6})")


def npy(raw: bytes) -> Body:
    """One array: rows along its first axis, or columns where it has named fields.

    Its numbers take the signature's dtype as JSON's do, so that float64, numpy's default, suits every model.

    Raises:
        SetsailError: `request.binary`.
    """
    array = array_of(raw)
    if array.dtype.names:
        return Columns({name: _values(np.atleast_1d(array[name])) for name in array.dtype.names})
    return Rows(_values(np.atleast_1d(array)))


def npz(raw: bytes, limit: int = LARGEST) -> Columns:
    """Arrays by name. Raises `request.binary`, and `request.too_large` for more than `limit` bytes of them."""
    columns: dict[str, Any] = {}
    try:
        with ZipFile(BytesIO(raw)) as archive:
            members = archive.infolist()
            if not 0 < len(members) <= _MEMBERS:
                raise _bad(f"the .npz has {len(members)} arrays", expected=f"1 to {_MEMBERS}")
            if sum(member.file_size for member in members) > limit:
                raise SetsailError("request.too_large", "the .npz inflates to too much", expected=f"{limit} bytes")
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in columns or member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                    raise _bad(f"the .npz's member {name[:80]!r} is there twice, or packed in an unknown way")
                columns[name] = _values(np.atleast_1d(array_of(archive.read(member))))
            if len(raw) < LONG:
                _learn(raw, archive)
    except (BadZipFile, ZlibError, EOFError, OSError, RuntimeError, ValueError, NotImplementedError) as fault:
        raise _bad(f"the .npz cannot be read: {str(fault)[:80]}") from fault
    return Columns(columns)


def array_of(raw: bytes) -> Array:
    """The array of a .npy file, a view of its bytes. Raises `request.binary`."""
    dtype, fortran, shape, start = _header(raw)
    if len(raw) - start != prod(shape) * dtype.itemsize:
        raise _bad(
            "the .npy's header does not fit its bytes", value=list(shape),
            expected=f"{prod(shape) * dtype.itemsize} bytes after the header",
        )  # fmt: skip
    flat = np.frombuffer(raw, dtype, offset=start)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _header(raw: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    """Dtype, order, shape, and where the values begin."""
    if not raw.startswith(_MAGIC) or len(raw) < 12 or raw[6] not in (1, 2, 3):
        raise _bad("the body is no .npy file", expected="what numpy.save writes")
    start = 10 if raw[6] == 1 else 12
    end = start + int.from_bytes(raw[8:start], "little")
    if end > len(raw) or end - start > _HEADER:
        raise _bad("the .npy's header is cut off or too long", expected=f"at most {_HEADER} bytes")
    return *_described(raw[start:end], "utf-8" if raw[6] == 3 else "latin-1"), end


@lru_cache(256)  # a client's files are alike, and reading a Python literal is most of the work
def _described(header: bytes, coding: str) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    try:
        told = literal_eval(header.decode(coding).strip())
        dtype, order, shape = _dtype(told["descr"]), told["fortran_order"], told["shape"]
        known = set(told) == {"descr", "fortran_order", "shape"} and type(order) is bool and type(shape) is tuple
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as fault:
        raise _bad("the .npy's header cannot be read") from fault
    if not known or len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
        raise _bad("the .npy's header cannot be read", value=told)
    return dtype, order, shape


def _dtype(told: Any) -> np.dtype[Any]:
    fields = [told] if isinstance(told, str) else [kind for _, kind in told]
    for kind in fields:
        if not _PLAIN.fullmatch(kind):
            raise _bad("the .npy holds no numbers or text", field="descr", value=kind, expected="a plain dtype")
    if isinstance(told, str):
        return np.dtype(told)
    return np.dtype([(str(name), kind) for name, kind in told])


def _values(array: Array) -> Any:
    """What stands where JSON's list would."""
    if array.dtype.kind in "iuf" and array.size:
        wide = _WIDE["u8" if array.dtype.itemsize == 8 and array.dtype.kind == "u" else array.dtype.kind]
        values = np.ascontiguousarray(array, dtype=wide)
        return Numbers.of(values, values.tolist)
    if array.dtype.kind == "U" and not _is_text(array):
        raise _bad("the .npy holds text that is no Unicode")
    return array.tolist()


def _is_text(array: Array) -> bool:
    """Whether all its characters are ones that a text may have: numpy takes any 32 bits for one."""
    codes = np.ascontiguousarray(array).view(np.dtype(f"{array.dtype.byteorder.replace('|', '=')}u4"))
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any()


def _bad(what: str, *, field: str | None = None, value: object = None, expected: str | None = None) -> SetsailError:
    return SetsailError(
        "request.binary", what, field=field, value=value, expected=expected or "what numpy.save or numpy.savez writes"
    )


# -- files like those before -------------------------------------------------------------------------------------------


class _Member(NamedTuple):
    """The one file of an archive.

    Attributes:
        file, values, end: where it begins, its values begin, and both end.
        crcs: where the archive has its CRC, before it and behind it.
        form: what its header says.
    """

    file: int
    values: int
    end: int
    crcs: tuple[int, int]
    form: Form


_FIRST: Final = _MAGIC + b"\x01\x00"
_ARCHIVES: Final[Alike[_Member]] = Alike()


def unread_npy(raw: bytes) -> Digits | None:
    """A small file of plain numbers, by its header alone; None for every other file."""
    if not 10 <= len(raw) < LONG or raw[:8] != _FIRST:
        return None
    end = 10 + raw[8] + (raw[9] << 8)
    found = _form(raw[:end])
    return Digits(raw[end:], found[0], raw, npy) if found is not None and len(raw) - end == found[1] else None


def unread_npz(raw: bytes) -> Digits | None:
    """A small archive of one such file, where one like it was read before; None for every other archive."""
    known = _ARCHIVES.find(raw) if len(raw) < LONG else None
    if known is None:
        return None
    crc = crc32(raw[known.file : known.end]).to_bytes(4, "little")
    if any(raw[at : at + 4] != crc for at in known.crcs):
        return None
    return Digits(raw[known.values : known.end], known.form, raw, npz)


@lru_cache(256)
def _form(head: bytes) -> tuple[Form, int] | None:
    """The form of a file with this header, and how many bytes follow it."""
    try:
        dtype, fortran, shape, _ = _header(head)
    except SetsailError:
        return None
    if fortran or dtype.kind not in "iuf" or not dtype.isnative or not shape or not prod(shape):
        return None
    return Form(shape, portion=Portion((Digits, "npy", dtype, shape[1:]), shape[0]), raw=dtype), prod(
        shape
    ) * dtype.itemsize


def _learn(raw: bytes, archive: ZipFile) -> None:
    """Remember all of an archive but its values and its CRC."""
    member = archive.infolist()[0]
    plain = not (member.header_offset or member.flag_bits or member.compress_type != ZIP_STORED)
    start = 30 + int.from_bytes(raw[26:28], "little") + int.from_bytes(raw[28:30], "little")
    end = start + member.file_size
    digits = unread_npy(raw[start:end])
    if digits is None or not plain or len(archive.infolist()) != 1:
        return
    name, values = member.filename.removesuffix(".npy"), end - len(digits.text)
    rows, crcs = digits.form.shape[0], (_LOCAL_CRC, archive.start_dir + _CENTRAL_CRC)
    key = Portion((Digits, "npz", name, digits.form.raw, digits.form.shape[1:]), rows)
    spans = [(crcs[0], crcs[0] + 4), (values, end), (crcs[1], crcs[1] + 4)]
    form = Form(digits.form.shape, name, portion=key, raw=digits.form.raw)
    _ARCHIVES.learn(raw, spans, _Member(start, values, end, crcs, form))


_LOCAL_CRC, _CENTRAL_CRC = 14, 16  # where a member's records have it: APPNOTE.TXT 4.3.7 and 4.3.12
