"""Text between TensorFlow, whose strings are bytes, and our arrays of `str`."""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.errors import SetsailError
from setsail.tensors import Array

__all__ = ["texts"]


def texts(array: Any) -> Array:
    """TensorFlow's bytes as `str`; any other array as it is. Bytes that are no text raise `convert.unsupported`."""
    found = np.asarray(array)
    if found.dtype.kind not in "OS":
        return found
    made = np.empty(found.shape, dtype=object)
    try:
        made[...] = np.array(
            [v.decode() if isinstance(v, bytes) else str(v) for v in found.ravel().tolist()] or [""], dtype=object
        )[: found.size].reshape(found.shape)
    except UnicodeDecodeError as fault:
        raise SetsailError("convert.unsupported", "an output holds bytes that are no text", value=str(fault),
                           expected="UTF-8", todo="decode it after the model") from fault  # fmt: skip
    return made
