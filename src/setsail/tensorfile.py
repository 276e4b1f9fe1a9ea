"""Arrays as bytes: safetensors, with text as bytes and offsets.

A text array `x` is stored as `x.bytes` (uint8, all texts in UTF-8 end to end), `x.offsets` (int64, one more than there
are texts), `x.shape` and, where some are NULL, `x.null` (uint8 mask). `x.raw` marks values that are bytes, not text.
Used for an artifact's samples and for what a child process hands back. Data only: reading runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from setsail.errors import SetsailError
from setsail.tensors import NULL, Array

__all__ = ["decode", "encode"]

_ENDINGS = (".bytes", ".offsets", ".null", ".raw", ".shape")


def encode(arrays: Mapping[str, Array]) -> bytes:
    """Arrays to one safetensors file. Names ending in one of _ENDINGS are ours."""
    plain: dict[str, Array] = {}
    for name, array in arrays.items():
        if array.dtype.kind != "O":
            plain[name] = np.ascontiguousarray(array).reshape(array.shape)  # numpy makes a scalar 1-D
            continue
        texts = array.ravel().tolist()
        raw = [b"" if t == NULL else t if isinstance(t, bytes) else t.encode() for t in texts]
        plain[f"{name}.bytes"] = np.frombuffer(b"".join(raw), dtype=np.uint8)
        plain[f"{name}.offsets"] = np.concatenate([[0], np.cumsum([len(r) for r in raw], dtype=np.int64)]).astype("<i8")
        plain[f"{name}.shape"] = np.array(array.shape, dtype=np.int64)
        if NULL in texts:
            plain[f"{name}.null"] = np.array([t == NULL for t in texts], dtype=np.uint8)
        if any(isinstance(t, bytes) for t in texts):
            plain[f"{name}.raw"] = np.ones(1, dtype=np.uint8)
    return save(plain)


def decode(data: bytes | memoryview) -> dict[str, Array]:
    """The inverse of `encode`. Raises `artifact.member` for anything that is not such a file."""
    try:
        plain = load(bytes(data))
        arrays = {n: a for n, a in plain.items() if not n.endswith(_ENDINGS)}
        for key in plain:
            if key.endswith(".bytes"):
                name = key.removesuffix(".bytes")
                arrays[name] = _texts(plain, name)
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError) as fault:
        raise SetsailError("artifact.member", "a tensor file cannot be read", value=str(fault),
                           expected="safetensors") from fault  # fmt: skip
    return arrays


def _texts(plain: Mapping[str, Array], name: str) -> Array:
    raw, offsets = plain[f"{name}.bytes"].tobytes(), plain[f"{name}.offsets"].tolist()
    null = plain.get(f"{name}.null", np.zeros(len(offsets) - 1, dtype=np.uint8)).tolist()
    binary = f"{name}.raw" in plain
    texts = np.empty(len(offsets) - 1, dtype=object)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        if not 0 <= start <= stop <= len(raw):
            raise ValueError(f"text {i} of {name!r} lies outside its bytes")
        texts[i] = NULL if null[i] else raw[start:stop] if binary else raw[start:stop].decode()
    shape = plain[f"{name}.shape"].tolist()
    if any(size < 0 for size in shape):  # numpy would fill in what fits
        raise ValueError(f"{name!r} has a negative size")
    return texts.reshape(shape)
