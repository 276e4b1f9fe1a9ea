"""ONNX's convolutions, pools, normalisations, recurrent cells and resizing, as calls of TensorFlow.

ONNX has the channels second, TensorFlow's kernels for the CPU take them last: pictures are turned before and after.
Padding is made explicit, since ONNX may pad each side by its own amount. `operators.py` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tensorflow as tf

from setsail.convert.tensorflow.weights import Constant, Unknown, dims, items, tensor

__all__ = [
    "average_pool", "batch_norm", "conv", "conv_transpose", "group_norm", "gru", "instance_norm", "layer_norm", "lstm",
    "max_pool", "pool_all", "resize", "rms_norm", "rnn",
]  # fmt: skip

Attributes = Mapping[str, Any]


# -- pictures -----------------------------------------------------------------------------------------------------


def _last(x: Any) -> Any:
    """Channels last; a series becomes a picture of one row, which kernels of one axis are no faster than."""
    rank = x.shape.rank
    found = tf.transpose(x, [0, *range(2, rank), 1])
    return tf.expand_dims(found, 1) if rank == 3 else found


def _second(x: Any, rank: int) -> Any:
    found = tf.squeeze(x, [1]) if rank == 3 else x
    return tf.transpose(found, [0, rank - 1, *range(1, rank - 1)])


def _steps(at: Attributes, name: str, rank: int) -> list[int]:
    given = list(at.get(name) or [1] * rank)
    return [1, *given] if rank == 1 else given


def _padding(at: Attributes, rank: int) -> tuple[str, list[tuple[int, int]]]:
    """TensorFlow's word, and the amounts before and after each axis where that is VALID."""
    automatic = at.get("auto_pad", "NOTSET")
    if automatic == "SAME_LOWER":
        raise Unknown("auto_pad SAME_LOWER")
    pads = list(at.get("pads") or [0] * 2 * rank) if automatic == "NOTSET" else [0] * 2 * rank
    both = list(zip(pads[:rank], pads[rank:], strict=True))
    if min(pads, default=0) < 0:
        raise Unknown("padding that takes away")
    return "SAME" if automatic == "SAME_UPPER" else "VALID", [(0, 0), *both] if rank == 1 else both


def _padded(x: Any, both: Sequence[tuple[int, int]], value: Any = 0) -> Any:
    if not any(map(any, both)):
        return x
    return tf.pad(x, [(0, 0), *both, (0, 0)], constant_values=tf.cast(value, x.dtype))


def _kernel(value: Any, order: Sequence[int], rank: int) -> Any:
    """A kernel with its axes as TensorFlow has them, turned once where it is a constant."""
    if isinstance(value, Constant):
        turned = value.array.transpose(order)
        return value.like(turned[None] if rank == 1 else turned).tensor()
    turned = tf.transpose(value, order)
    return turned[None] if rank == 1 else turned


def _operands(x: Sequence[Any], at: Attributes, name: str) -> tuple[Any, Any, tuple[int, ...], int, int]:
    """The picture, the kernel and its shape, how many axes it moves over, and the groups. Raises `Unknown`."""
    kernel = x[1]
    shape = kernel.array.shape if isinstance(kernel, Constant) else tuple(kernel.shape)
    rank = len(shape) - 2
    if rank not in (1, 2, 3) or None in shape:
        raise Unknown(f"{name} over {rank} axes")
    return tensor(x[0]), kernel, shape, rank, at.get("group", 1)


def conv(x: Sequence[Any], at: Attributes) -> Any:
    picture, kernel, shape, rank, groups = _operands(x, at, "Conv")
    word, both = _padding(at, rank)
    strides, dilations = _steps(at, "strides", rank), _steps(at, "dilations", rank)
    given = _padded(_last(picture), both)
    if groups == shape[0] * shape[1] and groups > 1 and rank < 3 and len(set(strides[-rank:])) == 1:
        strides = strides[-1:] * 2  # of a series the other axis has one row
        found = _depthwise(given, _kernel(kernel, [2, 1, 0] if rank == 1 else [2, 3, 1, 0], rank), strides, dilations,
                           word)  # fmt: skip
    else:
        order = [*range(2, 2 + rank), 1, 0]
        found = _grouped(given, _kernel(kernel, order, rank), groups, strides, dilations, word)
    if len(x) > 2 and x[2] is not None:
        found = found + tensor(x[2])
    return _second(found, rank + 2)


def _depthwise(x: Any, kernel: Any, strides: list[int], dilations: list[int], word: str) -> Any:
    """Each channel by itself: `[H, W, 1, C]` kernels are `[H, W, C, 1]` to this kernel."""
    return tf.nn.depthwise_conv2d(x, tf.transpose(kernel, [0, 1, 3, 2]), [1, *strides, 1], word, dilations=dilations)


def _grouped(x: Any, kernel: Any, groups: int, strides: list[int], dilations: list[int], word: str) -> Any:
    call, most = (tf.nn.conv2d, None) if len(strides) == 2 else (tf.nn.conv3d, 1)
    if most and max(dilations) > most:
        raise Unknown("Conv over three axes with dilations")
    if groups == 1:
        return call(x, kernel, [1, *strides, 1], word, dilations=[1, *dilations, 1])
    parts = zip(tf.split(x, groups, -1), tf.split(kernel, groups, -1), strict=True)
    return tf.concat([call(a, b, [1, *strides, 1], word, dilations=[1, *dilations, 1]) for a, b in parts], -1)


def conv_transpose(x: Sequence[Any], at: Attributes) -> Any:
    """The full product, cut by the padding. A kernel is `[in, out / groups, …]`."""
    picture, kernel, shape, rank, groups = _operands(x, at, "ConvTranspose")
    automatic = at.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if automatic or at.get("output_shape") or set(at.get("dilations") or [1]) != {1}:
        raise Unknown("ConvTranspose with auto_pad, output_shape or dilations")
    _, both = _padding(at, rank)
    strides = _steps(at, "strides", rank)
    more = [0] * (len(strides) - rank) + list(at.get("output_padding") or [0] * rank)
    sizes = [1] * (len(strides) - rank) + list(shape[2:])
    given = _last(picture)
    turned = _kernel(kernel, [*range(2, 2 + rank), 1, 0], rank)
    parts = list(zip(tf.split(given, groups, -1), tf.split(turned, groups, -1), strict=True))
    found = tf.concat([_spread(a, b, strides, sizes, shape[1]) for a, b in parts], -1)
    # beyond the full product there is nothing but the padding that output_padding takes back
    found = _padded(found, [(0, extra) for extra in more])
    ends = [size - after if after else size for size, (_, after) in zip(dims(found)[1:-1], both, strict=True)]
    found = found[(slice(None), *(slice(before, end) for (before, _), end in zip(both, ends, strict=True)))]
    if len(x) > 2 and x[2] is not None:
        found = found + tensor(x[2])
    return _second(found, rank + 2)


def _spread(x: Any, kernel: Any, strides: list[int], sizes: list[int], channels: int) -> Any:
    have = dims(x)
    full = [(have[1 + i] - 1) * s + max(k, s) for i, (s, k) in enumerate(zip(strides, sizes, strict=True))]
    wanted = tf.stack([tf.cast(d, tf.int32) for d in (have[0], *full, channels)])
    call = tf.nn.conv2d_transpose if len(strides) == 2 else tf.nn.conv3d_transpose
    found = call(x, kernel, wanted, [1, *strides, 1], "VALID")
    # a stride beyond the kernel leaves zeros at the end that ONNX does not count
    cut = [slice(0, -(s - k)) if s > k else slice(None) for s, k in zip(strides, sizes, strict=True)]
    return found[(slice(None), *cut)]


def _windows(x: Any, at: Attributes, rank: int) -> tuple[list[int], list[int], str, list[tuple[int, int]]]:
    """Sizes and strides of the windows, and the padding; with ceil_mode, as much more as the last window needs."""
    if set(at.get("dilations") or [1]) != {1}:
        raise Unknown("a pool with dilations")
    sizes, strides = _steps(at, "kernel_shape", rank), _steps(at, "strides", rank)
    word, both = _padding(at, rank)
    if at.get("ceil_mode", 0):
        have = x.shape[1:-1]
        if not have.is_fully_defined():
            raise Unknown("a pool with ceil_mode over free sizes")
        for i, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
            before, after = both[i]
            count = -(-(have[i] + before + after - size) // stride) + 1
            count -= (count - 1) * stride >= have[i] + before  # a window must begin inside the picture
            both[i] = (before, max(after, (count - 1) * stride + size - have[i] - before))
    return sizes, strides, word, both


def max_pool(x: Sequence[Any], at: Attributes) -> Any:
    if at.get("outputs", 1) > 1 or at.get("storage_order", 0):
        raise Unknown("MaxPool with indices")
    rank = len(at["kernel_shape"])
    given = _last(x[0])
    sizes, strides, word, both = _windows(given, at, rank)
    call = tf.nn.max_pool3d if rank == 3 else tf.nn.max_pool2d
    lowest = -np.inf if given.dtype.is_floating else given.dtype.min
    return _second(call(_padded(given, both, lowest), sizes, strides, word), rank + 2)


def average_pool(x: Sequence[Any], at: Attributes) -> Any:
    """Padding counts for nothing, unless `count_include_pad`: the sums are divided by how many elements they have."""
    rank, counted = len(at["kernel_shape"]), at.get("count_include_pad", 0)
    if counted and at.get("ceil_mode", 0):
        raise Unknown("AveragePool with ceil_mode that counts its padding")
    given = _last(x[0])
    sizes, strides, word, both = _windows(given, at, rank)
    call = tf.nn.avg_pool3d if rank == 3 else tf.nn.avg_pool2d
    found = call(_padded(given, both), sizes, strides, word)
    if any(map(any, both)) and not counted:
        ones = tf.ones_like(given[:1, ..., :1])
        found = found / call(_padded(ones, both), sizes, strides, word)
    return _second(found, rank + 2)


def pool_all(call: Callable[..., Any]) -> Callable[[Sequence[Any], Attributes], Any]:
    return lambda x, at: call(x[0], axis=list(range(2, len(dims(x[0])))), keepdims=True)


# -- normalisations -----------------------------------------------------------------------------------------------


def _along(value: Any, rank: int) -> Any:
    """`[C]` beside `[N, C, …]`."""
    return tf.reshape(value, [1, -1, *[1] * (rank - 2)])


def batch_norm(x: Sequence[Any], at: Attributes) -> Any:
    if at.get("training_mode", 0):
        raise Unknown("BatchNormalization in training")
    scale, bias, mean, variance = (_along(value, x[0].shape.rank) for value in x[1:5])
    return (x[0] - mean) * (scale * tf.math.rsqrt(variance + at.get("epsilon", 1e-5))) + bias


def _standard(x: Any, axes: list[int], epsilon: float) -> Any:
    centred = x - tf.reduce_mean(x, axes, keepdims=True)
    return centred * tf.math.rsqrt(tf.reduce_mean(centred * centred, axes, keepdims=True) + epsilon)


def layer_norm(x: Sequence[Any], at: Attributes) -> Any:
    if at.get("outputs", 1) > 1:
        raise Unknown("LayerNormalization with its mean")
    rank = len(dims(x[0]))
    axes = list(range(at.get("axis", -1) % rank, rank))
    found = _standard(x[0], axes, at.get("epsilon", 1e-5)) * x[1]
    return found + x[2] if len(x) > 2 and x[2] is not None else found


def rms_norm(x: Sequence[Any], at: Attributes) -> Any:
    rank = len(dims(x[0]))
    axes = list(range(at.get("axis", -1) % rank, rank))
    squares = tf.reduce_mean(x[0] * x[0], axes, keepdims=True)
    return x[0] * tf.math.rsqrt(squares + at.get("epsilon", 1e-5)) * x[1]


def instance_norm(x: Sequence[Any], at: Attributes) -> Any:
    rank = len(dims(x[0]))
    found = _standard(x[0], list(range(2, rank)), at.get("epsilon", 1e-5))
    return found * _along(x[1], rank) + _along(x[2], rank)


def group_norm(x: Sequence[Any], at: Attributes) -> Any:
    have, groups = dims(x[0]), at["num_groups"]
    cut = tf.stack([tf.cast(d, tf.int64) for d in (have[0], groups, -1)])
    found = tf.reshape(_standard(tf.reshape(x[0], cut), [2], at.get("epsilon", 1e-5)),
                       tf.stack([tf.cast(d, tf.int64) for d in have]))  # fmt: skip
    found = tf.ensure_shape(found, x[0].shape)
    scale, bias = x[1], x[2]
    if at["opset"] < 21:  # one for each group, then; for each channel since
        scale, bias = (tf.repeat(value, have[1] // groups) for value in (scale, bias))
    return found * _along(scale, len(have)) + _along(bias, len(have))


# -- recurrent ----------------------------------------------------------------------------------------------------

_USUAL: Final = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
Cell = Callable[[Any, Any, Any, Any], Any]


def _directions(name: str, x: Sequence[Any], at: Attributes, states: Sequence[Any], cell: Cell) -> tuple[Any, ...]:
    """Run a cell over time, in each direction.

    Args:
        states: the nodes' initial states, each `[directions, N, H]` or None.
        cell: (state, input's share `[N, gates]`, direction's recurrent weights, its recurrent bias) -> state.

    Returns:
        All outputs `[T, directions, N, H]`, then the last of each state `[directions, N, H]`.
    """
    direction, usual = at.get("direction", "forward"), _USUAL[name]
    count = 2 if direction == "bidirectional" else 1
    if (len(x) > 4 and x[4] is not None) or at.get("layout", 0) or at.get("clip") is not None:
        raise Unknown(f"{name} with lengths, layout or clip")
    if (at.get("activations") or usual * count) != usual * count:
        raise Unknown(f"{name} with other activations")
    series, width = x[0], at["hidden_size"]
    gates = x[1].shape[1]
    bias = x[3] if len(x) > 3 and x[3] is not None else tf.zeros([count, 2 * gates], series.dtype)
    nothing = tf.zeros(tf.stack([tf.cast(dims(series)[1], tf.int32), width]), series.dtype)
    told = []
    for i in range(count):
        backward = direction == "reverse" or i == 1
        given = tf.einsum("tni,gi->tng", tf.reverse(series, [0]) if backward else series, x[1][i]) + bias[i, :gates]
        first = tuple(nothing if state is None else state[i] for state in states)
        weights, own = x[2][i], bias[i, gates:]
        steps = tf.scan(lambda state, part, weights=weights, own=own: cell(state, part, weights, own), given, first)
        last = [step[-1] for step in steps]
        told.append((tf.reverse(steps[0], [0]) if backward else steps[0], *last))
    outputs, *ends = zip(*told, strict=True)
    return (tf.stack(outputs, 1), *(tf.stack(end, 0) for end in ends))


def _given(x: Sequence[Any], place: int) -> Any:
    return x[place] if len(x) > place else None


def lstm(x: Sequence[Any], at: Attributes) -> Any:
    if _given(x, 7) is not None or at.get("input_forget", 0):
        raise Unknown("LSTM with peepholes")

    def cell(state: Any, part: Any, weights: Any, bias: Any) -> Any:
        i, o, f, c = tf.split(part + tf.matmul(state[0], weights, transpose_b=True) + bias, 4, -1)
        memory = tf.sigmoid(f) * state[1] + tf.sigmoid(i) * tf.tanh(c)
        return tf.sigmoid(o) * tf.tanh(memory), memory

    return _directions("LSTM", x, at, [_given(x, 5), _given(x, 6)], cell)


def gru(x: Sequence[Any], at: Attributes) -> Any:
    after = at.get("linear_before_reset", 0)

    def cell(state: Any, part: Any, weights: Any, bias: Any) -> Any:
        (h,) = state
        wz, wr, wh = tf.split(weights, 3, 0)
        bz, br, bh = tf.split(bias, 3, -1)
        xz, xr, xh = tf.split(part, 3, -1)
        update = tf.sigmoid(xz + tf.matmul(h, wz, transpose_b=True) + bz)
        reset = tf.sigmoid(xr + tf.matmul(h, wr, transpose_b=True) + br)
        inner = reset * (tf.matmul(h, wh, transpose_b=True) + bh) if after else \
            tf.matmul(reset * h, wh, transpose_b=True) + bh  # fmt: skip
        return ((1 - update) * tf.tanh(xh + inner) + update * h,)

    return _directions("GRU", x, at, [_given(x, 5)], cell)


def rnn(x: Sequence[Any], at: Attributes) -> Any:
    def cell(state: Any, part: Any, weights: Any, bias: Any) -> Any:
        return (tf.tanh(part + tf.matmul(state[0], weights, transpose_b=True) + bias),)

    return _directions("RNN", x, at, [_given(x, 5)], cell)


# -- other sizes --------------------------------------------------------------------------------------------------


def resize(x: Sequence[Any], at: Attributes) -> Any:
    """Axis by axis, from the places that ONNX says: TensorFlow's own kernels know some of its rules only."""
    picture = x[0]
    have = dims(picture)
    if at.get("antialias", 0) or at.get("axes") or at.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unknown("Resize with antialias, axes or a kept ratio")
    rule, mode = at.get("coordinate_transformation_mode", "half_pixel"), at.get("mode", "nearest")
    if rule not in _PLACES or mode not in ("nearest", "linear"):
        raise Unknown(f"Resize {mode}, {rule}")
    by_size = len(x) > 3 and x[3] is not None
    wanted = items(x[3]) if by_size else _scales(x[2])
    if wanted is None or len(wanted) != len(have):
        raise Unknown("sizes of Resize that are computed")
    for axis, (size, want) in enumerate(zip(have, wanted, strict=True)):
        # a batch is resized by nobody; its size is a number only when the program runs
        if (not by_size and want == 1) or (by_size and axis == 0 and not isinstance(want, int)):
            continue
        if not isinstance(size, int) or not isinstance(want, int | float):
            raise Unknown("Resize of a free size")
        if not by_size or want != size:
            scale = np.float32(want / size if by_size else want)
            total = int(want) if by_size else int(np.floor(np.float32(size) * scale))
            places = _PLACES[rule](np.arange(total, dtype=np.float32), scale, size, total)
            picture = _picked(picture, places, axis, size, mode, at.get("nearest_mode", "round_prefer_floor"))
    return picture


def _scales(value: Any) -> list[float]:
    if not isinstance(value, Constant):
        raise Unknown("scales of Resize that are computed")
    return list(value.array.reshape(-1).tolist())


# where an element of the result lies in what is resized: (places, scale, size, size of the result)
_PLACES: Final[Mapping[str, Callable[..., Any]]] = {
    "half_pixel": lambda i, scale, size, total: (i + np.float32(0.5)) / scale - np.float32(0.5),
    "pytorch_half_pixel": lambda i, scale, size, total:
        (i + np.float32(0.5)) / scale - np.float32(0.5) if total > 1 else i * 0,
    "asymmetric": lambda i, scale, size, total: i / scale,
    "align_corners": lambda i, scale, size, total:
        i * np.float32(size - 1) / np.float32(total - 1) if total > 1 else i * 0,
}  # fmt: skip
_NEAREST: Final[Mapping[str, Callable[[Any], Any]]] = {
    "round_prefer_floor": lambda p: np.ceil(p - np.float32(0.5)),
    "round_prefer_ceil": lambda p: np.floor(p + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _picked(x: Any, places: Any, axis: int, size: int, mode: str, nearest: str) -> Any:
    if mode == "nearest":
        return tf.gather(x, np.clip(_NEAREST[nearest](places), 0, size - 1).astype(np.int64), axis=axis)
    places = np.clip(places, 0, size - 1)
    low = np.floor(places).astype(np.int64)
    share = (places - low).reshape([-1, *[1] * (x.shape.rank - axis - 1)])
    share = tf.cast(share, x.dtype)
    return tf.gather(x, low, axis=axis) * (1 - share) + tf.gather(x, np.minimum(low + 1, size - 1), axis=axis) * share
