"""ONNX operators that move elements about, as calls of TensorFlow. `operators.py` has the table.

Each takes the node's inputs (None for one left out) and its attributes. The first input is a tensor, or sizes where
they may come; the others are as they are (`weights.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from setsail.convert.tensorflow.weights import Constant, Sizes, Unknown, dims, items, numbers, tensor

__all__ = [
    "ROW", "compress", "concat", "depth_to_space", "expand", "filled", "flatten", "gather", "gather_elements",
    "gather_nd", "one_hot", "pad", "positive", "reshape", "scatter_elements", "scatter_nd", "shape", "size", "slice_of",
    "space_to_depth", "split", "squeeze", "tile", "transpose", "trilu", "unsqueeze",
]  # fmt: skip

Attributes = Mapping[str, Any]
ROW: Final = tf.int64
_FAR: Final = 2**31 - 1  # what exporters write for "to the end"


def shape(x: Sequence[Any], at: Attributes) -> Any:
    return Sizes(dims(tensor(x[0]))[at.get("start", 0) : at.get("end")])


def size(x: Sequence[Any], at: Attributes) -> Any:
    return tf.size(tensor(x[0]), out_type=ROW)


def reshape(x: Sequence[Any], at: Attributes) -> Any:
    wanted = items(x[1])
    if isinstance(x[0], Sizes):
        if wanted is not None and len(wanted) < 2 and len(x[0].items) == 1:
            return Sizes(x[0].items, len(wanted), x[0].dtype)
        x = [x[0].tensor(), *x[1:]]
    if wanted is None:
        return tf.reshape(x[0], tensor(x[1]))
    if 0 in [w for w in wanted if isinstance(w, int)] and not at.get("allowzero", 0):
        have = dims(x[0])
        wanted = tuple(have[i] if isinstance(w, int) and w == 0 else w for i, w in enumerate(wanted))
    return tf.reshape(x[0], _shape_of(wanted))


def _shape_of(wanted: Sequence[Any]) -> Any:
    return list(wanted) if all(isinstance(w, int) for w in wanted) else Sizes(wanted).tensor()


def flatten(x: Sequence[Any], at: Attributes) -> Any:
    have = dims(x[0])
    axis = at.get("axis", 1)
    before, after = have[:axis], have[axis:]
    if all(isinstance(d, int) for d in after):
        return tf.reshape(x[0], [-1, math.prod(after)]) if math.prod(after) else tf.reshape(x[0], [0, 0])
    if all(isinstance(d, int) for d in before):
        return tf.reshape(x[0], [math.prod(before), -1])
    return tf.reshape(x[0], tf.stack([tf.reduce_prod(tf.stack(before)), tf.constant(-1, ROW)]))


def transpose(x: Sequence[Any], at: Attributes) -> Any:
    return tf.transpose(x[0], at.get("perm"))


def squeeze(x: Sequence[Any], at: Attributes) -> Any:
    if isinstance(x[0], Sizes):
        return Sizes(x[0].items, 0, x[0].dtype) if len(x[0].items) == 1 else tf.squeeze(x[0].tensor())
    if len(x) > 1 and x[1] is not None:
        return tf.squeeze(x[0], numbers(x[1], "axes of Squeeze"))
    if not x[0].shape.is_fully_defined():
        raise Unknown("Squeeze without axes")
    return tf.squeeze(x[0])


def unsqueeze(x: Sequence[Any], at: Attributes) -> Any:
    axes = numbers(x[1], "axes of Unsqueeze")
    if isinstance(x[0], Sizes) and x[0].rank == 0 and axes in ([0], [-1]):
        return Sizes(x[0].items, 1, x[0].dtype)
    found = tensor(x[0])
    rank = len(dims(found)) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        found = tf.expand_dims(found, axis)
    return found


def concat(x: Sequence[Any], at: Attributes) -> Any:
    if any(isinstance(part, Sizes) for part in x) and all(items(part) is not None for part in x):
        return Sizes([item for part in x for item in items(part) or ()])
    return tf.concat([tensor(part) for part in x], at["axis"])


def split(x: Sequence[Any], at: Attributes) -> Any:
    axis = at.get("axis", 0)
    if len(x) > 1 and x[1] is not None:
        return tuple(tf.split(x[0], numbers(x[1], "sizes of Split"), axis))
    count, total = at.get("num_outputs") or at["outputs"], x[0].shape[axis]
    if total is None:
        raise Unknown("Split of a free size")
    step = -(-total // count)
    return tuple(tf.split(x[0], [min(step, total - i * step) for i in range(count)], axis))


def slice_of(x: Sequence[Any], at: Attributes) -> Any:
    starts, ends = _ends(x[1]), _ends(x[2])
    steps = numbers(x[4], "steps of Slice") if len(x) > 4 and x[4] is not None else [1] * len(starts)
    axes = numbers(x[3], "axes of Slice") if len(x) > 3 and x[3] is not None else range(len(starts))
    if isinstance(x[0], Sizes):
        if all(isinstance(v, int) for v in (*starts, *ends)):
            return Sizes(x[0].items[_slice(starts[0], ends[0], steps[0])], 1, x[0].dtype)
        x = [x[0].tensor()]
    rank = len(dims(x[0]))
    chosen = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen[axis % rank] = _slice(start, end, step)
    return x[0][tuple(chosen)]


def _ends(value: Any) -> Sequence[Any]:
    found = items(value)
    if found is None:
        given = tensor(value)
        if given.shape.rank != 1 or given.shape[0] is None:
            raise Unknown("Slice of any number of axes")
        return list(tf.unstack(tf.cast(given, ROW)))
    return found


def _slice(start: Any, end: Any, step: int) -> slice:
    """As Python has it: what lies beyond either end is that end."""
    first = isinstance(start, int) and (start >= _FAR if step < 0 else start <= -_FAR)
    last = isinstance(end, int) and (end <= -_FAR if step < 0 else end >= _FAR)
    return slice(None if first else start, None if last else end, step)


def positive(index: Any, total: Any) -> Any:
    """Places counted from the front."""
    index = tf.cast(index, ROW)
    known = tf.get_static_value(index)
    if known is not None and np.all(np.asarray(known) >= 0):
        return index
    return tf.where(index < 0, index + tf.cast(total, ROW), index)


def gather(x: Sequence[Any], at: Attributes) -> Any:
    chosen = items(x[1])
    if isinstance(x[0], Sizes):
        if chosen is not None and all(isinstance(i, int) for i in chosen):
            rank = x[1].array.ndim if isinstance(x[1], Constant) else 1
            return Sizes([x[0].items[i] for i in chosen], rank, x[0].dtype)
        x = [x[0].tensor(), x[1]]
    axis = at.get("axis", 0)
    return tf.gather(x[0], positive(tensor(x[1]), dims(x[0])[axis]), axis=axis)


def gather_elements(x: Sequence[Any], at: Attributes) -> Any:
    places, _ = _places(x[0], tensor(x[1]), at.get("axis", 0))
    return tf.gather_nd(x[0], places)


def _places(x: Any, index: Any, axis: int) -> tuple[Any, int]:
    """Full coordinates `[…, rank]` of elements of which one is given."""
    have, asked = dims(x), dims(index)
    axis %= len(have)
    grid = tf.meshgrid(*(tf.range(tf.cast(size, ROW)) for size in asked), indexing="ij")
    grid[axis] = positive(index, have[axis])
    return tf.stack(grid, axis=-1), axis


def gather_nd(x: Sequence[Any], at: Attributes) -> Any:
    index, skipped = tensor(x[1]), at.get("batch_dims", 0)
    depth = index.shape[-1]
    if depth is None:
        raise Unknown("GatherND of any depth")
    sizes = Sizes(dims(x[0])[skipped : skipped + depth]).tensor()
    return tf.gather_nd(x[0], positive(index, sizes), batch_dims=skipped)


_SCATTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "none": tf.tensor_scatter_nd_update, "add": tf.tensor_scatter_nd_add, "max": tf.tensor_scatter_nd_max,
    "min": tf.tensor_scatter_nd_min,
}  # fmt: skip


def scatter_nd(x: Sequence[Any], at: Attributes) -> Any:
    index = tensor(x[1])
    depth = index.shape[-1]
    if depth is None or at.get("reduction", "none") not in _SCATTERS:
        raise Unknown("ScatterND of any depth, or that multiplies")
    sizes = Sizes(dims(x[0])[:depth]).tensor()
    return _SCATTERS[at.get("reduction", "none")](x[0], positive(index, sizes), tensor(x[2]))


def scatter_elements(x: Sequence[Any], at: Attributes) -> Any:
    if at.get("reduction", "none") not in _SCATTERS:
        raise Unknown("ScatterElements that multiplies")
    places, _ = _places(x[0], tensor(x[1]), at.get("axis", 0))
    return _SCATTERS[at.get("reduction", "none")](x[0], places, tensor(x[2]))


def compress(x: Sequence[Any], at: Attributes) -> Any:
    chosen = tf.where(tensor(x[1]))[:, 0]
    axis = at.get("axis")
    return tf.gather(tf.reshape(x[0], [-1]) if axis is None else x[0], chosen, axis=axis or 0)


def one_hot(x: Sequence[Any], at: Attributes) -> Any:
    (depth,), values = numbers(x[1], "depths of OneHot"), tensor(x[2])
    index = positive(x[0], depth)
    return tf.one_hot(index, depth, on_value=values[1], off_value=values[0], axis=at.get("axis", -1))


def expand(x: Sequence[Any], at: Attributes) -> Any:
    """Broadcasting in both directions: a wanted size of 1 leaves what there is."""
    wanted = items(x[1])
    if wanted is None:
        target = tensor(x[1])
        return tf.broadcast_to(x[0], tf.broadcast_dynamic_shape(tf.shape(x[0], out_type=target.dtype), target))
    have = dims(x[0])
    rank = max(len(have), len(wanted))
    pairs = zip([1] * (rank - len(have)) + have, [1] * (rank - len(wanted)) + list(wanted), strict=True)
    return tf.broadcast_to(x[0], _shape_of([_wider(h, w) for h, w in pairs]))


def _wider(have: Any, want: Any) -> Any:
    if isinstance(want, int):
        return have if want == 1 else want
    return want if isinstance(have, int) and have == 1 else tf.where(want == 1, tf.cast(have, ROW), want)


def filled(x: Sequence[Any], at: Attributes) -> Any:
    value = np.asarray(at.get("value", np.zeros(1, np.float32))).reshape(())
    wanted = items(x[0])
    return tf.fill(tensor(x[0]) if wanted is None else _shape_of(wanted), tf.constant(value))


def tile(x: Sequence[Any], at: Attributes) -> Any:
    wanted = items(x[1])
    return tf.tile(x[0], tensor(x[1]) if wanted is None else _shape_of(wanted))


def trilu(x: Sequence[Any], at: Attributes) -> Any:
    (k,) = numbers(x[1], "diagonals") if len(x) > 1 and x[1] is not None else [0]
    row = tf.range(tf.cast(dims(x[0])[-2], ROW))[:, None]
    column = tf.range(tf.cast(dims(x[0])[-1], ROW))[None, :]
    kept = column - row >= k if at.get("upper", 1) else column - row <= k
    return tf.where(kept, x[0], tf.zeros([], x[0].dtype))


def pad(x: Sequence[Any], at: Attributes) -> Any:
    mode, rank = at.get("mode", "constant"), len(dims(x[0]))
    if mode not in ("constant", "reflect", "edge"):
        raise Unknown(f"Pad {mode}")
    pads = list(_ends(x[1]))
    axes = numbers(x[3], "axes of Pad") if len(x) > 3 and x[3] is not None else list(range(rank))
    if any(isinstance(p, int) and p < 0 for p in pads):
        raise Unknown("Pad that takes away")
    both = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        both[axis % rank] = (pads[i], pads[i + len(axes)])
    if mode == "edge":
        return _with_edges(x[0], both)
    given = x[2] if len(x) > 2 else None
    value = 0 if given is None else tf.reshape(tf.cast(tensor(given), x[0].dtype), [])
    amounts = tf.stack([tf.stack([tf.cast(p, ROW) for p in pair]) for pair in both])
    known = all(isinstance(p, int) for pair in both for p in pair)
    return tf.pad(x[0], [list(pair) for pair in both] if known else amounts, mode.upper(), value)


def _with_edges(x: Any, both: Sequence[tuple[Any, Any]]) -> Any:
    for axis, (before, after) in enumerate(both):
        if (before, after) != (0, 0):
            last = tf.cast(dims(x)[axis], ROW)
            wanted = tf.range(-tf.cast(before, ROW), last + tf.cast(after, ROW))
            x = tf.gather(x, tf.clip_by_value(wanted, 0, last - 1), axis=axis)
    return x


def depth_to_space(x: Sequence[Any], at: Attributes) -> Any:
    n, c, h, w = dims(x[0])
    block = at["blocksize"]
    columns = at.get("mode", "DCR") == "DCR"
    cut = [n, block, block, c // block**2, h, w] if columns else [n, c // block**2, block, block, h, w]
    turned = tf.transpose(tf.reshape(x[0], _shape_of(cut)), [0, 3, 4, 1, 5, 2] if columns else [0, 1, 4, 2, 5, 3])
    return tf.reshape(turned, _shape_of([n, c // block**2, h * block, w * block]))


def space_to_depth(x: Sequence[Any], at: Attributes) -> Any:
    n, c, h, w = dims(x[0])
    block = at["blocksize"]
    cut = tf.reshape(x[0], _shape_of([n, c, h // block, block, w // block, block]))
    return tf.reshape(tf.transpose(cut, [0, 3, 5, 1, 2, 4]), _shape_of([n, c * block**2, h // block, w // block]))
