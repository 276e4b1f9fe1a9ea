"""numpy files from strangers: what numpy writes is read, and no header is believed."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.messages import Columns, Rows
from setsail.protocols.numpy_file import array_of, npy, npz


def saved(array: Any, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version)
    return file.getvalue()


def claiming(descr: str, shape: str, data: bytes = b"", extra: str = "") -> bytes:
    """A file whose header says what it likes."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{extra}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


def code_of(read: Any, raw: bytes) -> str:
    with pytest.raises(SetsailError) as caught:
        read(raw)
    return caught.value.code


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i2", ">i4", "<u8", ">f2", "<f4", "<f8", "<U3", "S3"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_come_back(dtype: str, version: tuple[int, int]) -> None:
    array = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    for laid in (array, np.asfortranarray(array), array[:0], array.reshape(-1)[:1].reshape(())):
        read = array_of(saved(laid, version))
        assert read.dtype == laid.dtype
        assert np.array_equal(read, laid)


def test_numbers_take_the_signatures_dtype_later() -> None:
    body = npy(saved(np.array([[1, 2]], np.uint16)))
    assert isinstance(body, Rows)
    assert (body.rows.dtype, body.rows.listed()) == (np.int64, [[1, 2]])
    largest = npy(saved(np.array([2**64 - 1], np.uint64)))
    assert isinstance(largest, Rows)
    assert largest.rows.listed() == [2**64 - 1]
    assert npy(saved(np.array(["a", "é"]))) == Rows(["a", "é"])
    assert npy(saved(np.array(True))) == Rows([True])


def test_named_fields_are_columns() -> None:
    body = npy(saved(np.array([(1, "x"), (2, "y")], [("n", "<i4"), ("s", "<U1")])))
    assert isinstance(body, Columns)
    assert {name: list(values) for name, values in body.columns.items()} == {"n": [1, 2], "s": ["x", "y"]}


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x09\x00" + b"\0" * 20,
        claiming("'<f8'", "(1000000000000,)"), claiming("'<f8'", "(2**40,)"), claiming("'<f8'", "(-1,)"),
        claiming("'<f8'", "(True,)", b"\0" * 8), claiming("'|O'", "(1,)", b"\0" * 8),
        claiming("'S0'", "(1000000000000,)"), claiming("'<M8[s]'", "(1,)", b"\0" * 8),
        claiming("'<f8'", "(1,)", b"\0" * 9), claiming("'<f8'", "1", b"\0" * 8),
        claiming("[('a', '|O')]", "(1,)", b"\0" * 8), claiming("['<f8']", "(1,)", b"\0" * 8),
        claiming("'<f8'", "(1,)", b"\0" * 8, ", 'more': 1"), claiming("__import__('os')", "(1,)", b"\0" * 8),
        claiming("'<f8'", "(" * 900 + ")" * 900), claiming("'<f8'", "(1,)", b"\0" * 8, " " * 5000),
        claiming("'<f8'", "(" + "1," * 40 + ")", b"\0" * 8), saved(np.zeros(3))[:-1],
    ],
)  # fmt: skip
def test_what_is_refused(raw: bytes) -> None:
    assert code_of(npy, raw) == "request.binary"


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(f"{name}.npy", data)
    return file.getvalue()


def test_archives() -> None:
    file = io.BytesIO()
    np.savez(file, a=np.array([1, 2]), b=np.array(["x", "y"]))
    body = npz(file.getvalue())
    assert {name: list(values) for name, values in body.columns.items()} == {"a": [1, 2], "b": ["x", "y"]}
    assert code_of(npz, b"PK\x03\x04") == "request.binary"
    assert code_of(npz, archive()) == "request.binary"
    assert code_of(npz, archive(a=b"no array")) == "request.binary"
    assert code_of(npz, archive(a=saved(1))[:-30]) == "request.binary"


def test_an_archive_that_inflates_to_too_much() -> None:
    bomb = archive(a=saved(np.zeros(10_000)))
    assert len(bomb) < 1000
    assert code_of(lambda raw: npz(raw, 50_000), bomb) == "request.too_large"
    assert len(npz(bomb, 100_000).columns["a"]) == 10_000


@settings(max_examples=200)
@given(st.integers(0, 200), st.binary(max_size=4))
def test_nothing_else_is_ever_raised(at: int, written: bytes) -> None:
    for read, good in ((npy, saved(np.arange(6.0).reshape(2, 3))), (npz, archive(a=saved([1]), b=saved(["x"])))):
        case = good[:at] + written + good[at + len(written) :]
        code = ""
        try:
            read(case)
        except SetsailError as fault:
            code = fault.code
        assert code in ("", "request.binary", "request.too_large")
