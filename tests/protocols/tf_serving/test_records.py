"""TFRecord files: what TensorFlow writes is read, and what is damaged is not."""

from __future__ import annotations

import struct

import pytest

from setsail.errors import SetsailError
from setsail.protocols.tf_serving.records import masked, records


def written(*parts: bytes) -> bytes:
    found = b""
    for part in parts:
        length = struct.pack("<Q", len(part))
        found += length + struct.pack("<I", masked(length)) + part + struct.pack("<I", masked(part))
    return found


def test_the_checksum_is_castagnolis() -> None:
    crc = (masked(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
    assert ((crc << 15) | (crc >> 17)) & 0xFFFFFFFF == 0xE3069283  # the check value of CRC-32C


def test_a_file_that_tensorflow_wrote() -> None:
    hello = "0500000000000000eab2043e68656c6c6fbb1f1c19"  # tf.io.TFRecordWriter: b"hello", b""
    data = bytes.fromhex(hello + "000000000000000029039807d8ea82a2")
    assert data == written(b"hello", b"")
    assert list(records(written(b"hello", b"", b"\0" * 300), "x")) == [b"hello", b"", b"\0" * 300]
    assert list(records(b"", "x")) == []


def test_every_flipped_byte_and_every_cut_is_seen() -> None:
    whole = written(b"first", b"second")
    for at in range(len(whole)):
        broken = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(SetsailError) as caught:
            list(records(broken, "requests"))
        assert caught.value.code == "repository.config"
        if at not in (0, len(written(b"first"))):
            with pytest.raises(SetsailError, match="cut off"):
                list(records(whole[:at], "requests"))
