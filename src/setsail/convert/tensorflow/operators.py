"""ONNX operators as calls of TensorFlow: what `rebuilt.py` can rebuild, and nothing beyond it.

Each row takes the node's inputs (None for one left out) and its attributes, and gives one value or a tuple of them.
Constants are computed once, while the program is rebuilt. Semantics: the ONNX operator specification, opsets 13 to 23.
Rows with more to them stand in `reshaping.py`, `layers.py` and `ensembles.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Final

import numpy as np
import tensorflow as tf

from setsail.convert.tensorflow import ensembles, layers, reshaping
from setsail.convert.tensorflow.weights import Constant, Sizes, Unknown, dims, items, numbers, tensor

__all__ = ["OPERATORS", "call"]

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Any], Attributes], Any]
# TensorProto.DataType -> TensorFlow's
_DTYPES: Final = {
    1: tf.float32, 2: tf.uint8, 3: tf.int8, 4: tf.uint16, 5: tf.int16, 6: tf.int32, 7: tf.int64, 8: tf.string,
    9: tf.bool, 10: tf.float16, 11: tf.float64, 12: tf.uint32, 13: tf.uint64, 16: tf.bfloat16,
}  # fmt: skip


# -- element by element ---------------------------------------------------------------------------------------------


def _unary(call: Callable[[Any], Any]) -> Operator:
    return lambda x, at: call(x[0])


def _binary(call: Callable[[Any, Any], Any], of_sizes: Callable[[Any, Any], Any] | None = None) -> Operator:
    """Of tensors; and of sizes and constants one by one, where the result is sizes too."""

    def run(x: Sequence[Any], at: Attributes) -> Any:
        left, right = map(items, x)
        if of_sizes is None or not any(isinstance(v, Sizes) for v in x) or left is None or right is None:
            return call(tensor(x[0]), tensor(x[1]))
        count = max(len(left), len(right))
        found = [of_sizes(left[i % len(left)], right[i % len(right)]) for i in range(count)]
        ranks = [v.rank if isinstance(v, Sizes) else v.array.ndim for v in x]
        return Sizes(found, max(ranks), next(v.dtype for v in x if isinstance(v, Sizes)))

    return run


def _divide(a: Any, b: Any) -> Any:
    return tf.realdiv(a, b) if a.dtype.is_floating else tf.truncatediv(a, b)


def _many(call: Callable[[Any, Any], Any]) -> Operator:
    return lambda x, at: reduce(call, x)


def _power(x: Sequence[Any], at: Attributes) -> Any:
    if x[0].dtype.is_floating:
        return tf.pow(x[0], tf.cast(x[1], x[0].dtype))
    return tf.cast(tf.pow(tf.cast(x[0], tf.float64), tf.cast(x[1], tf.float64)), x[0].dtype)


def _modulo(x: Sequence[Any], at: Attributes) -> Any:
    return tf.truncatemod(*x) if at.get("fmod", 0) else tf.math.floormod(*x)


def _clip(x: Sequence[Any], at: Attributes) -> Any:
    low, high = (x[i] if len(x) > i else None for i in (1, 2))
    found = x[0] if low is None else tf.maximum(x[0], low)
    return found if high is None else tf.minimum(found, high)


def _gelu(x: Sequence[Any], at: Attributes) -> Any:
    return tf.nn.gelu(x[0], approximate=at.get("approximate", "none") == "tanh")


def _infinite(x: Sequence[Any], at: Attributes) -> Any:
    found = tf.math.is_inf(x[0])
    if not at.get("detect_negative", 1):
        found &= x[0] > 0
    return found if at.get("detect_positive", 1) else found & (x[0] < 0)


def _cast(x: Sequence[Any], at: Attributes) -> Any:
    if at["to"] not in _DTYPES:
        raise Unknown("a cast to numbers of 8 bits or fewer")
    to = _DTYPES[at["to"]]
    if isinstance(x[0], Sizes) and to in (tf.int32, tf.int64):
        return Sizes(x[0].items, x[0].rank, to)
    return _to(tensor(x[0]), to)


def _to(given: Any, to: Any) -> Any:
    if given.dtype == to:
        return given
    if given.dtype == tf.string:
        if to not in (tf.float32, tf.float64, tf.int32, tf.int64):
            raise Unknown(f"a cast of text to {to.name}")
        return tf.strings.to_number(given, to)
    if to == tf.string:
        if not given.dtype.is_integer:
            raise Unknown("a cast of numbers to text")
        return tf.strings.as_string(given)
    return tf.cast(given, to)


def _leaky(x: Sequence[Any], at: Attributes) -> Any:
    return tf.where(x[0] < 0, x[0] * tf.cast(at.get("alpha", 0.01), x[0].dtype), x[0])


def _elu(x: Any, alpha: float) -> Any:
    return tf.where(x < 0, alpha * tf.math.expm1(tf.minimum(x, tf.zeros([], x.dtype))), x)


def _celu(x: Sequence[Any], at: Attributes) -> Any:
    alpha = at.get("alpha", 1.0)
    return tf.nn.relu(x[0]) + tf.minimum(alpha * tf.math.expm1(x[0] / alpha), 0)


def _selu(x: Sequence[Any], at: Attributes) -> Any:
    return at.get("gamma", 1.05070102214813232421875) * _elu(x[0], at.get("alpha", 1.67326319217681884765625))


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return tf.clip_by_value(x * tf.cast(alpha, x.dtype) + tf.cast(beta, x.dtype), 0, 1)


# -- reductions -----------------------------------------------------------------------------------------------------


def _reduce(call: Callable[..., Any]) -> Operator:
    def run(x: Sequence[Any], at: Attributes) -> Any:
        given = x[1] if len(x) > 1 else None
        axes = list(at.get("axes") or ()) if given is None else numbers(given, "axes of a reduction")
        none = not axes and at.get("noop_with_empty_axes", 0)  # of each element by itself
        return call(x[0], axis=[] if none else axes or None, keepdims=bool(at.get("keepdims", 1)))

    return run


def _mean(x: Any, axis: Any, keepdims: bool) -> Any:
    if not x.dtype.is_floating:
        raise Unknown("ReduceMean of whole numbers")
    return tf.reduce_mean(x, axis, keepdims)


def _arg(call: Callable[..., Any]) -> Operator:
    def run(x: Sequence[Any], at: Attributes) -> Any:
        axis = at.get("axis", 0)
        if at.get("select_last_index", 0):
            last = tf.cast(dims(x[0])[axis], tf.int64) - 1
            found = last - call(tf.reverse(x[0], [axis % x[0].shape.rank]), axis=axis, output_type=tf.int64)
        else:
            found = call(x[0], axis=axis, output_type=tf.int64)
        return tf.expand_dims(found, axis) if at.get("keepdims", 1) else found

    return run


def _top(x: Sequence[Any], at: Attributes) -> Any:
    """Of equal values the first is first, as in onnxruntime."""
    axis, rank = at.get("axis", -1), len(dims(x[0]))
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    given = tf.transpose(x[0], order)
    count = tf.reshape(tf.cast(tensor(x[1]), tf.int32), [])
    known = tf.get_static_value(count)
    turn = tf.identity if at.get("largest", 1) else tf.negative if given.dtype.is_floating else tf.bitwise.invert
    values, index = tf.math.top_k(turn(given), int(known) if known is not None else count)
    return tf.transpose(turn(values), order), tf.transpose(tf.cast(index, tf.int64), order)


def _cumulated(x: Sequence[Any], at: Attributes) -> Any:
    (axis,) = numbers(x[1], "axes of CumSum")
    return tf.cumsum(x[0], axis, bool(at.get("exclusive", 0)), bool(at.get("reverse", 0)))


# -- products ---------------------------------------------------------------------------------------------------------


def _product(x: Sequence[Any], at: Attributes) -> Any:
    a, b = x
    if len(dims(a)) > 1 and len(dims(b)) > 1:
        return tf.matmul(a, b)
    wide = tf.matmul(a[None, :] if a.shape.rank == 1 else a, b[:, None] if b.shape.rank == 1 else b)
    wide = tf.squeeze(wide, [-1]) if b.shape.rank == 1 else wide
    return tf.squeeze(wide, [-1 if b.shape.rank == 1 else -2]) if a.shape.rank == 1 else wide


def _gemm(x: Sequence[Any], at: Attributes) -> Any:
    found = tf.matmul(x[0], x[1], transpose_a=bool(at.get("transA", 0)), transpose_b=bool(at.get("transB", 0)))
    found = found if at.get("alpha", 1.0) == 1 else found * tf.cast(at["alpha"], found.dtype)
    if len(x) < 3 or x[2] is None:
        return found
    return found + (x[2] if at.get("beta", 1.0) == 1 else x[2] * tf.cast(at["beta"], found.dtype))


def _softmax(call: Callable[..., Any]) -> Operator:
    return lambda x, at: call(x[0], axis=at.get("axis", -1))


def _unit(x: Sequence[Any], at: Attributes) -> Any:
    """LpNormalization."""
    power = at.get("p", 2)
    return tf.math.divide_no_nan(x[0], tf.norm(x[0], power, at.get("axis", -1), keepdims=True))


# -- 8 bits -----------------------------------------------------------------------------------------------------------


def _beside(value: Any, x: Any, at: Attributes) -> Any:
    """A scale or zero point beside what it is for, whether one for all or one for each place of an axis."""
    if at.get("block_size", 0) or value.shape.rank not in (0, 1):
        raise Unknown("quantisation by blocks")
    if value.shape.rank == 0 or value.shape[0] == 1:
        return tf.reshape(value, [])
    axis, rank = at.get("axis", 1), len(dims(x))
    return tf.reshape(value, [-1 if i == axis % rank else 1 for i in range(rank)])


def _quantized(x: Sequence[Any], at: Attributes) -> Any:
    zero = x[2] if len(x) > 2 and x[2] is not None else tf.zeros([], tf.uint8)
    found = tf.round(x[0] / _beside(x[1], x[0], at)) + tf.cast(_beside(zero, x[0], at), x[0].dtype)
    return tf.cast(tf.clip_by_value(found, zero.dtype.min, zero.dtype.max), zero.dtype)


def _dequantized(x: Sequence[Any], at: Attributes) -> Any:
    whole = tf.cast(x[0], tf.int32)
    if len(x) > 2 and x[2] is not None:
        whole -= tf.cast(_beside(x[2], x[0], at), tf.int32)
    return tf.cast(whole, x[1].dtype) * _beside(x[1], x[0], at)


def _dynamic(x: Sequence[Any], at: Attributes) -> Any:
    """DynamicQuantizeLinear: uint8 over what the tensor spans, 0 within."""
    low, high = tf.minimum(tf.reduce_min(x[0]), 0), tf.maximum(tf.reduce_max(x[0]), 0)
    scale = (high - low) / 255
    scale = tf.where(scale == 0, tf.ones([]), scale)
    zero = tf.round(tf.clip_by_value(-low / scale, 0, 255))
    found = tf.clip_by_value(tf.round(x[0] / scale) + zero, 0, 255)
    return tf.cast(found, tf.uint8), scale, tf.cast(zero, tf.uint8)


def _whole_product(x: Sequence[Any], at: Attributes) -> Any:
    """MatMulInteger."""
    sides = [tf.cast(side, tf.int32) for side in x[:2]]
    for i, zero in enumerate(x[2:]):
        if zero is not None:
            zero = tf.cast(zero, tf.int32)
            column = zero.shape.rank == 1 and i == 0  # one for each row of the left side
            sides[i] -= zero[:, None] if column and zero.shape[0] != 1 else zero
    return tf.matmul(*sides)


def _same(x: Sequence[Any], at: Attributes) -> Any:
    return x[0]


# Who is given what: the first are given constants and sizes as they are; of the second the first input is a tensor or
# sizes, of the third a tensor, and the others are as they are; all the rest is given tensors.
_RAW: Final = frozenset(("Add", "Sub", "Mul", "Div", "Concat", "ConstantOfShape", "Identity", "Conv", "ConvTranspose"))
_SIZES: Final = frozenset(("Cast", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Gather"))
_SIZED: Final = frozenset((
    "Split", "GatherElements", "GatherND", "ScatterND", "ScatterElements", "Compress", "OneHot", "Expand", "Tile",
    "Trilu", "Pad", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum", "TopK", "CumSum", "Resize",
))  # fmt: skip
_LATE: Final = frozenset(("ConstantOfShape", "Expand", "Tile", "Identity"))  # small as they stand, large as computed
_FOLDED: Final = 1 << 24  # bytes of constants up to which a node is computed beforehand


def call(name: str, inputs: Sequence[Any], attributes: Attributes) -> Any:
    """Do what an operator does. Raises KeyError for one that is not here, Unknown for a use that is not.

    Args:
        attributes: the node's, and `weights`, `opset` and how many `outputs` it has.
    """
    run, given = OPERATORS[name], [x for x in inputs if x is not None]
    bytes_of = [x.array.nbytes for x in given if isinstance(x, Constant)]
    if len(bytes_of) == len(given) and name not in _LATE and sum(bytes_of) < _FOLDED:
        with tf.init_scope():  # not in the graph, but now
            return _constants(run(_prepared(name, inputs), attributes), attributes["weights"], everything=True)
    return _constants(run(_prepared(name, inputs), attributes), attributes["weights"])


def _prepared(name: str, inputs: Sequence[Any]) -> Sequence[Any]:
    if name in _RAW:
        return inputs
    first = inputs[0] if name in _SIZES and isinstance(inputs[0], Sizes) else tensor(inputs[0])
    return [first, *(x if name in _SIZES or name in _SIZED else tensor(x) for x in inputs[1:])]


def _constants(found: Any, weights: Any, everything: bool = False) -> Any:
    """What is known by now as a constant: all of it, or sizes that are all numbers."""
    if type(found) is tuple:
        return tuple(_constants(part, weights, everything) for part in found)
    sized = isinstance(found, Sizes) and all(isinstance(item, int) for item in found.items)
    return Constant(tensor(found).numpy(), weights) if everything else _numbers(found, weights) if sized else found


def _numbers(sizes: Sizes, weights: Any) -> Constant:
    held = np.array(sizes.items, sizes.dtype.as_numpy_dtype)
    return Constant(held if sizes.rank else held.reshape(()), weights)


OPERATORS: Final[Mapping[str, Operator]] = {
    "Add": _binary(tf.add, lambda a, b: a + b), "Sub": _binary(tf.subtract, lambda a, b: a - b),
    "Mul": _binary(tf.multiply, lambda a, b: a * b), "Div": _binary(_divide, lambda a, b: a // b),
    "Pow": _power, "Mod": _modulo,
    "Equal": _binary(tf.equal), "Less": _binary(tf.less), "LessOrEqual": _binary(tf.less_equal),
    "Greater": _binary(tf.greater), "GreaterOrEqual": _binary(tf.greater_equal),
    "And": _binary(tf.logical_and), "Or": _binary(tf.logical_or), "Xor": _binary(tf.math.logical_xor),
    "Not": _unary(tf.logical_not), "Neg": _unary(tf.negative), "Abs": _unary(tf.abs), "Sqrt": _unary(tf.sqrt),
    "Exp": _unary(tf.exp), "Log": _unary(tf.math.log), "Sin": _unary(tf.sin), "Cos": _unary(tf.cos),
    "Tan": _unary(tf.tan), "Asin": _unary(tf.asin), "Acos": _unary(tf.acos), "Atan": _unary(tf.atan),
    "Sinh": _unary(tf.sinh), "Cosh": _unary(tf.cosh), "Asinh": _unary(tf.asinh), "Acosh": _unary(tf.acosh),
    "Atanh": _unary(tf.atanh), "Tanh": _unary(tf.tanh), "Sigmoid": _unary(tf.sigmoid), "Relu": _unary(tf.nn.relu),
    "Erf": _unary(tf.math.erf), "Floor": _unary(tf.floor), "Ceil": _unary(tf.math.ceil), "Round": _unary(tf.round),
    "Sign": _unary(tf.sign), "Reciprocal": _unary(tf.math.reciprocal), "IsNaN": _unary(tf.math.is_nan),
    "IsInf": _infinite, "Softplus": _unary(tf.math.softplus), "Softsign": _unary(tf.nn.softsign),
    "Mish": _unary(lambda x: x * tf.tanh(tf.math.softplus(x))),
    "HardSwish": _unary(lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5)),
    "HardSigmoid": lambda x, at: _hard_sigmoid(x[0], at.get("alpha", 0.2), at.get("beta", 0.5)),
    "ThresholdedRelu": lambda x, at: tf.where(x[0] > at.get("alpha", 1.0), x[0], tf.zeros([], x[0].dtype)),
    "LeakyRelu": _leaky, "Elu": lambda x, at: _elu(x[0], at.get("alpha", 1.0)), "Selu": _selu, "Celu": _celu,
    "Gelu": _gelu, "PRelu": lambda x, at: tf.where(x[0] < 0, x[0] * x[1], x[0]),
    "Clip": _clip, "Min": _many(tf.minimum), "Max": _many(tf.maximum), "Sum": _many(tf.add),
    "Mean": lambda x, at: _many(tf.add)(x, at) / len(x),
    "Where": lambda x, at: tf.where(*x), "Cast": _cast, "CastLike": lambda x, at: _to(x[0], x[1].dtype),
    "Identity": _same, "Dropout": _same,
    "Shape": reshaping.shape, "Size": reshaping.size, "Reshape": reshaping.reshape, "Flatten": reshaping.flatten,
    "Transpose": reshaping.transpose, "Squeeze": reshaping.squeeze, "Unsqueeze": reshaping.unsqueeze,
    "Concat": reshaping.concat, "Split": reshaping.split, "Slice": reshaping.slice_of, "Gather": reshaping.gather,
    "GatherElements": reshaping.gather_elements, "GatherND": reshaping.gather_nd, "ScatterND": reshaping.scatter_nd,
    "ScatterElements": reshaping.scatter_elements, "Compress": reshaping.compress, "OneHot": reshaping.one_hot,
    "NonZero": _unary(lambda x: tf.transpose(tf.where(tf.not_equal(x, tf.zeros([], x.dtype))))),
    "Expand": reshaping.expand, "ConstantOfShape": reshaping.filled, "Pad": reshaping.pad, "Tile": reshaping.tile,
    "Trilu": reshaping.trilu, "DepthToSpace": reshaping.depth_to_space, "SpaceToDepth": reshaping.space_to_depth,
    "Range": lambda x, at: tf.range(*(tf.reshape(v, []) for v in x)),
    "ReduceSum": _reduce(tf.reduce_sum), "ReduceMean": _reduce(_mean), "ReduceMax": _reduce(tf.reduce_max),
    "ReduceMin": _reduce(tf.reduce_min), "ReduceProd": _reduce(tf.reduce_prod),
    "ReduceL1": _reduce(lambda x, axis, keepdims: tf.reduce_sum(tf.abs(x), axis, keepdims)),
    "ReduceL2": _reduce(lambda x, axis, keepdims: tf.sqrt(tf.reduce_sum(x * x, axis, keepdims))),
    "ReduceSumSquare": _reduce(lambda x, axis, keepdims: tf.reduce_sum(x * x, axis, keepdims)),
    "ReduceLogSum": _reduce(lambda x, axis, keepdims: tf.math.log(tf.reduce_sum(x, axis, keepdims))),
    "ReduceLogSumExp": _reduce(tf.reduce_logsumexp),
    "ArgMax": _arg(tf.argmax), "ArgMin": _arg(tf.argmin), "TopK": _top, "CumSum": _cumulated,
    "MatMul": _product, "Gemm": _gemm, "Einsum": lambda x, at: tf.einsum(at["equation"], *x),
    "Conv": layers.conv, "ConvTranspose": layers.conv_transpose, "MaxPool": layers.max_pool,
    "AveragePool": layers.average_pool, "GlobalAveragePool": layers.pool_all(tf.reduce_mean),
    "GlobalMaxPool": layers.pool_all(tf.reduce_max), "BatchNormalization": layers.batch_norm,
    "InstanceNormalization": layers.instance_norm, "LayerNormalization": layers.layer_norm,
    "GroupNormalization": layers.group_norm, "RMSNormalization": layers.rms_norm, "LpNormalization": _unit,
    "Softmax": _softmax(tf.nn.softmax), "LogSoftmax": _softmax(tf.nn.log_softmax),
    "LSTM": layers.lstm, "GRU": layers.gru, "RNN": layers.rnn, "Resize": layers.resize,
    "QuantizeLinear": _quantized, "DequantizeLinear": _dequantized, "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _whole_product,
    "ai.onnx.ml.TreeEnsembleRegressor": ensembles.tree_sums,
    "ai.onnx.ml.TreeEnsembleClassifier": ensembles.trees_of_classes,
    "ai.onnx.ml.LabelEncoder": ensembles.encoded, "ai.onnx.ml.Scaler": ensembles.scaled,
    "ai.onnx.ml.LinearRegressor": ensembles.linear, "ai.onnx.ml.Normalizer": ensembles.normalised,
}  # fmt: skip
