"""Arrays as bytes and back, and what a stranger's bytes get as an answer."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from setsail import tensorfile
from setsail.errors import SetsailError
from setsail.tensors import DTYPES, NULL

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.just(NULL)
NUMERIC = st.sampled_from([d.numpy for d in DTYPES if d.kind != "string"]).flatmap(lambda d: hnp.arrays(d, SHAPES))


@st.composite
def texts(draw: st.DrawFn) -> np.ndarray:
    shape = draw(SHAPES)
    size = int(np.prod(shape))
    array = np.empty(size, dtype=object)
    array[:] = draw(st.lists(TEXT, min_size=size, max_size=size))
    return array.reshape(shape)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}(\.[0-9])?", fullmatch=True), NUMERIC | texts(), max_size=4))
def test_there_and_back(arrays: dict[str, np.ndarray]) -> None:
    back = tensorfile.decode(tensorfile.encode(arrays))
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype
        if array.dtype == object:
            assert back[name].tolist() == array.tolist()
        else:
            assert back[name].tobytes() == array.tobytes()


def test_text_is_stored_as_bytes_offsets_and_a_null_mask() -> None:
    from safetensors.numpy import load

    plain = load(tensorfile.encode({"x": np.array([["æ", NULL], ["", "b"]], dtype=object)}))
    assert {name: array.tolist() for name, array in plain.items()} == {
        "x.bytes": [*"æb".encode()],
        "x.offsets": [0, 2, 2, 2, 3],
        "x.shape": [2, 2],
        "x.null": [0, 1, 0, 0],
    }


def test_the_same_arrays_give_the_same_bytes() -> None:
    arrays = {"b": np.arange(3), "a": np.array(["x", NULL], dtype=object)}
    assert tensorfile.encode(arrays) == tensorfile.encode(dict(reversed(arrays.items())))


GOOD = tensorfile.encode({"x": np.array(["abc", "d"], dtype=object), "y": np.arange(4.0)})


def altered(**changes: np.ndarray | None) -> bytes:
    """A text array whose parts do not fit each other."""
    from safetensors.numpy import load, save

    parts = load(GOOD) | {f"x.{name}": value for name, value in changes.items()}
    return save({name: value for name, value in parts.items() if value is not None})


HOSTILE = {
    "nothing": b"",
    "no file": b"not safetensors at all",
    "header of 2 GB": struct.pack("<Q", 2**31) + b"{}",
    "truncated": GOOD[:-1],
    "trailing": GOOD + b"\0",
    "data outside": (h := json.dumps({"y": {"dtype": "F64", "shape": [4], "data_offsets": [0, 9**9]}}).encode())
    and struct.pack("<Q", len(h)) + h,
    "offsets outside": altered(offsets=np.array([0, 3, 9])),
    "offsets falling": altered(offsets=np.array([0, 3, 1])),
    "offsets negative": altered(offsets=np.array([-1, 3, 4])),
    "offsets missing": altered(offsets=None),
    "offsets of floats": altered(offsets=np.array([0.0, 3.0, 4.0])),
    "no offsets": altered(offsets=np.zeros(0, np.int64)),
    "shape too large": altered(shape=np.array([2**40])),
    "shape negative": altered(shape=np.array([-2])),
    "mask too short": altered(null=np.zeros(1, np.uint8)),
    "half a character": altered(bytes=np.frombuffer(b"ab\xc3d", np.uint8)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_tensor_file_is_refused(data: bytes) -> None:
    with pytest.raises(SetsailError) as caught:
        tensorfile.decode(data)
    assert caught.value.code == "artifact.member"


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(at: int, value: int) -> None:
    data = bytearray(GOOD)
    data[at] = value
    try:
        tensorfile.decode(bytes(data))
    except SetsailError as fault:
        if fault.code != "artifact.member":
            raise
