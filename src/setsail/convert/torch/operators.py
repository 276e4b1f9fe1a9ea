"""ONNX operators as calls of PyTorch: what `rebuilt.py` can rebuild, and nothing beyond it.

Each row takes the node's inputs (None for one left out) and its attributes, and gives one value or a tuple of them.
Sizes are no tensors: what `Shape` gives is `Sizes`, a tuple of whole numbers that may be symbols, so that an exported
program keeps its free dimensions. Semantics: the ONNX operator specification, opsets 13 to 23.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 as everybody calls it

__all__ = ["OPERATORS", "Known", "Sizes", "Unknown", "as_tensor", "call"]

Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Any], Attributes], Any]
# TensorProto.DataType -> torch's
_DTYPES: Final = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip


class Sizes(tuple[Any, ...]):
    """Whole numbers of which some may be symbols: a 1-D int64 tensor, elsewhere."""

    __slots__ = ()


class Unknown(Exception):  # noqa: N818 a condition, told on as a SetsailError
    """A use of an operator that is not rebuilt; its text says which."""


class Known:
    """A constant of few whole numbers, which may be sizes: `torch.export` must not ask a tensor for them."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.numbers = tuple(tensor.reshape(-1).tolist())


def _sizes(value: Any) -> tuple[Any, ...]:
    """Numbers out of sizes or a constant."""
    if isinstance(value, Known):
        return value.numbers
    if isinstance(value, Sizes):
        return tuple(value)
    if not isinstance(value, torch.Tensor):
        return (value,)
    if torch.jit.is_tracing():  # sizes are tensors there, and stay free only as long as nobody reads them
        return tuple(value.unbind()) if value.ndim else (value,)
    return tuple(value.tolist()) if value.ndim else (value.item(),)


def as_tensor(value: Any) -> Any:
    """A tensor, out of sizes too."""
    if isinstance(value, Known):
        return value.tensor
    if isinstance(value, Sizes):
        return torch.stack([torch.as_tensor(size) for size in value])
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)


def _is_size(value: Any) -> bool:
    return isinstance(value, Sizes) or not isinstance(value, torch.Tensor | Known)


def _binary(call: Callable[[Any, Any], Any]) -> Operator:
    """Of tensors, or of sizes and constants."""

    def run(x: Sequence[Any], at: Attributes) -> Any:
        if not any(map(_is_size, x)) or any(isinstance(value, torch.Tensor) for value in x):
            return call(as_tensor(x[0]), as_tensor(x[1]))
        left, right = map(_sizes, x)
        found = [call(left[i % len(left)], right[i % len(right)]) for i in range(max(len(left), len(right)))]
        return Sizes(found) if any(isinstance(value, Sizes) for value in x) or len(found) > 1 else found[0]

    return run


def _divide(a: Any, b: Any) -> Any:
    if not isinstance(a, torch.Tensor):
        return a // b
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _unary(call: Callable[[Any], Any]) -> Operator:
    return lambda x, at: call(as_tensor(x[0]))


def _cast(x: Sequence[Any], at: Attributes) -> Any:
    if at["to"] not in _DTYPES:
        raise Unknown("a cast to text")
    if _is_size(x[0]) and at["to"] in (6, 7):
        return x[0]
    return as_tensor(x[0]).to(_DTYPES[at["to"]])


def _clip(x: Sequence[Any], at: Attributes) -> Any:
    low, high = (x[i] if len(x) > i else None for i in (1, 2))
    found = x[0] if low is None else torch.maximum(x[0], low)
    return found if high is None else torch.minimum(found, high)


def _many(call: Callable[[Any, Any], Any]) -> Operator:
    return lambda x, at: reduce(call, x)


# -- shapes -------------------------------------------------------------------------------------------------------


def _shape(x: Sequence[Any], at: Attributes) -> Any:
    return Sizes(tuple(x[0].shape)[at.get("start", 0) : at.get("end")])


def _reshape(x: Sequence[Any], at: Attributes) -> Any:
    wanted = list(_sizes(x[1]))
    if not at.get("allowzero", 0):
        wanted = [x[0].shape[i] if isinstance(s, int) and s == 0 else s for i, s in enumerate(wanted)]
    return as_tensor(x[0]).reshape(wanted)


def _flatten(x: Sequence[Any], at: Attributes) -> Any:
    axis = at.get("axis", 1) % (x[0].ndim + 1)
    return x[0].reshape(1, -1) if axis == 0 else x[0].flatten(axis).flatten(0, axis - 1)


def _transpose(x: Sequence[Any], at: Attributes) -> Any:
    return x[0].permute(*(at.get("perm") or range(x[0].ndim)[::-1]))


def _squeeze(x: Sequence[Any], at: Attributes) -> Any:
    if isinstance(x[0], Sizes):
        return x[0][0]
    axes = _sizes(x[1]) if len(x) > 1 and x[1] is not None else at.get("axes")
    if axes is None:
        raise Unknown("Squeeze without axes")
    return x[0].squeeze(tuple(axes))


def _unsqueeze(x: Sequence[Any], at: Attributes) -> Any:
    if _is_size(x[0]):
        return Sizes([x[0]])
    axes = list(_sizes(x[1]) if len(x) > 1 else at["axes"])
    found, rank = x[0], x[0].ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        found = found.unsqueeze(axis)
    return found


def _concat(x: Sequence[Any], at: Attributes) -> Any:
    if any(isinstance(part, Sizes) for part in x):
        return Sizes(size for part in x for size in _sizes(part))
    return torch.cat([as_tensor(part) for part in x], at["axis"])


def _split(x: Sequence[Any], at: Attributes) -> Any:
    axis = at.get("axis", 0)
    if len(x) > 1 and x[1] is not None:
        return tuple(torch.split(x[0], list(_sizes(x[1])), axis))
    count = at.get("num_outputs") or at["outputs"]
    size = -(-x[0].shape[axis] // count)
    return tuple(torch.split(x[0], size, axis))


def _slice(x: Sequence[Any], at: Attributes) -> Any:
    starts, ends = _sizes(x[1]), _sizes(x[2])
    steps = _sizes(x[4]) if len(x) > 4 and x[4] is not None else (1,) * len(starts)
    if isinstance(x[0], Sizes):
        return Sizes(x[0][starts[0] : ends[0] : steps[0]])
    axes = _sizes(x[3]) if len(x) > 3 and x[3] is not None else range(len(starts))
    found = x[0]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if isinstance(step, int) and step < 0:
            raise Unknown("Slice backwards")
        last = None if isinstance(end, int) and end >= 2**31 - 1 else end
        found = found[(slice(None),) * (axis % found.ndim) + (slice(start, last, step),)]
    return found


def _gather(x: Sequence[Any], at: Attributes) -> Any:
    if isinstance(x[0], Sizes):
        index = _sizes(x[1])
        found = [x[0][i] for i in index]
        return found[0] if not isinstance(x[1], Sizes) and as_tensor(x[1]).ndim == 0 else Sizes(found)
    axis, index = at.get("axis", 0) % x[0].ndim, as_tensor(x[1]).long()
    index = torch.where(index < 0, index + x[0].shape[axis], index)
    found = torch.index_select(x[0], axis, index.reshape(-1))
    return found.reshape(*x[0].shape[:axis], *index.shape, *x[0].shape[axis + 1 :])


def _expand(x: Sequence[Any], at: Attributes) -> Any:
    wanted = list(_sizes(x[1]))
    have = [1] * (len(wanted) - x[0].ndim) + list(x[0].shape)
    kept = [h if isinstance(w, int) and w == 1 else w for h, w in zip(have[-len(wanted) :], wanted, strict=True)]
    return x[0].expand(*have[: len(have) - len(kept)], *kept)


def _filled(x: Sequence[Any], at: Attributes) -> Any:
    value = at.get("value", torch.zeros(1))
    return value.reshape((1,) * len(_sizes(x[0]))).expand(_sizes(x[0])).clone()


def _pad(x: Sequence[Any], at: Attributes) -> Any:
    if at.get("mode", "constant") not in ("constant", "reflect"):
        raise Unknown(f"Pad {at['mode']}")
    pads = _sizes(x[1])
    axes = _sizes(x[3]) if len(x) > 3 and x[3] is not None else range(x[0].ndim)
    both = {axis % x[0].ndim: (pads[i], pads[i + len(pads) // 2]) for i, axis in enumerate(axes)}
    flat = [size for axis in reversed(range(x[0].ndim)) for size in both.get(axis, (0, 0))]
    if at.get("mode", "constant") == "reflect":
        while flat and flat[-2:] == [0, 0]:
            flat = flat[:-2]
        return F.pad(x[0], flat, mode="reflect")
    value = 0.0 if len(x) < 3 or x[2] is None else as_tensor(x[2]).item()
    return F.pad(x[0], flat, value=value)


# -- reductions -----------------------------------------------------------------------------------------------------


def _reduce(call: Callable[[Any, tuple[int, ...], bool], Any]) -> Operator:
    def run(x: Sequence[Any], at: Attributes) -> Any:
        given = x[1] if len(x) > 1 else None
        axes = _sizes(given) if given is not None else tuple(at.get("axes") or ())
        if not axes and at.get("noop_with_empty_axes", 0):
            return x[0]
        keep = bool(at.get("keepdims", 1))
        return call(x[0], axes or tuple(range(x[0].ndim)), keep)

    return run


def _each_axis(call: Callable[..., Any]) -> Callable[[Any, tuple[int, ...], bool], Any]:
    def run(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
        for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
            x = call(x, axis, keepdim=keep)
        return x

    return run


def _arg(call: Callable[..., Any]) -> Operator:
    def run(x: Sequence[Any], at: Attributes) -> Any:
        if at.get("select_last_index", 0):
            raise Unknown("ArgMax of the last index")
        return call(x[0], at.get("axis", 0), keepdim=bool(at.get("keepdims", 1)))

    return run


def _top(x: Sequence[Any], at: Attributes) -> Any:
    (count,) = _sizes(x[1])
    values, index = torch.sort(x[0], dim=at.get("axis", -1), descending=bool(at.get("largest", 1)), stable=True)
    axis = at.get("axis", -1)
    return values.narrow(axis, 0, count), index.narrow(axis, 0, count)


# -- layers -------------------------------------------------------------------------------------------------------


def _gemm(x: Sequence[Any], at: Attributes) -> Any:
    a = x[0].T if at.get("transA", 0) else x[0]
    b = x[1].T if at.get("transB", 0) else x[1]
    found = at.get("alpha", 1.0) * (a @ b) if at.get("alpha", 1.0) != 1 else a @ b
    return found if len(x) < 3 or x[2] is None else found + at.get("beta", 1.0) * x[2]


def _padding(at: Attributes, rank: int) -> tuple[list[int], list[int]]:
    if at.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unknown(f"auto_pad {at['auto_pad']}")
    pads = at.get("pads") or [0] * (2 * rank)
    return list(pads[:rank]), list(pads[rank:])


def _padded(x: Any, at: Attributes, rank: int, value: float = 0.0) -> Any:
    begin, end = _padding(at, rank)
    flat = [size for i in reversed(range(rank)) for size in (begin[i], end[i])]
    return F.pad(x, flat, value=value) if any(flat) else x


def _conv(x: Sequence[Any], at: Attributes) -> Any:
    rank = x[1].ndim - 2
    call = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    bias = x[2] if len(x) > 2 else None
    ones = [1] * rank
    return call(_padded(x[0], at, rank), x[1], bias, stride=at.get("strides") or ones,
                dilation=at.get("dilations") or ones, groups=at.get("group", 1))  # fmt: skip


def _max_pool(x: Sequence[Any], at: Attributes) -> Any:
    rank = len(at["kernel_shape"])
    if at.get("ceil_mode", 0) or at.get("outputs", 1) > 1:
        raise Unknown("MaxPool with ceil_mode or indices")
    call = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
    ones = [1] * rank
    return call(_padded(x[0], at, rank, -math.inf), at["kernel_shape"], stride=at.get("strides") or ones,
                dilation=at.get("dilations") or ones)  # fmt: skip


def _average_pool(x: Sequence[Any], at: Attributes) -> Any:
    rank = len(at["kernel_shape"])
    begin, end = _padding(at, rank)
    counted = bool(at.get("count_include_pad", 0))
    if at.get("ceil_mode", 0) or set(at.get("dilations") or [1]) != {1} or (begin != end and not counted):
        raise Unknown("AveragePool with ceil_mode, dilations or uneven padding")
    call: Any = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    strides = at.get("strides") or [1] * rank
    if begin != end:
        return call(_padded(x[0], at, rank), at["kernel_shape"], strides)
    return call(x[0], at["kernel_shape"], strides, begin, False, counted)


def _batch_norm(x: Sequence[Any], at: Attributes) -> Any:
    if at.get("training_mode", 0):
        raise Unknown("BatchNormalization in training")
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], False, 0.0, at.get("epsilon", 1e-5))


def _layer_norm(x: Sequence[Any], at: Attributes) -> Any:
    axis = at.get("axis", -1) % x[0].ndim
    sizes = x[0].shape[axis:]
    bias = x[2] if len(x) > 2 else None
    return F.layer_norm(x[0], sizes, x[1].expand(sizes), bias, at.get("epsilon", 1e-5))


def _group_norm(x: Sequence[Any], at: Attributes) -> Any:
    return F.group_norm(x[0], at["num_groups"], x[1], x[2], at.get("epsilon", 1e-5))


def _pool_all(call: Callable[..., Any]) -> Operator:
    return lambda x, at: call(x[0], tuple(range(2, x[0].ndim)), keepdim=True)


def _softmax(call: Callable[..., Any]) -> Operator:
    return lambda x, at: call(x[0], dim=at.get("axis", -1))


def _scaler(x: Sequence[Any], at: Attributes) -> Any:
    values = x[0].float()
    return (values - torch.tensor(at["offset"])) * torch.tensor(at["scale"])


def _power(a: Any, b: Any) -> Any:
    return torch.pow(a, b) if isinstance(a, torch.Tensor) and a.is_floating_point() else torch.pow(a, b).to(a.dtype)


def _modulo(x: Sequence[Any], at: Attributes) -> Any:
    return torch.fmod(*x) if at.get("fmod", 0) else torch.remainder(*x)


def _cumulated(x: Sequence[Any], at: Attributes) -> Any:
    if at.get("exclusive", 0) or at.get("reverse", 0):
        raise Unknown("CumSum exclusive or backwards")
    return torch.cumsum(x[0], int(_sizes(x[1])[0]))


def _same(x: Sequence[Any], at: Attributes) -> Any:
    return x[0]


# These look at whole numbers that are no data; which of their inputs are, the rest of the row says.
_ARITHMETIC: Final = ("Add", "Sub", "Mul", "Div", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
                      "Concat", "ConstantOfShape", "Range")  # fmt: skip
_SIZED: Final = ("Reshape", "Squeeze", "Unsqueeze", "Split", "Slice", "Gather", "Expand", "Pad", "Tile", "ReduceSum",
                 "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
                 "ReduceLogSumExp", "TopK", "CumSum")  # fmt: skip


def call(name: str, inputs: Sequence[Any], attributes: Attributes) -> Any:
    """Do what an operator does. Raises KeyError for one that is not here, Unknown for a use that is not."""
    if name not in _ARITHMETIC:
        kept = 1 if name in _SIZED else len(inputs)
        inputs = [as_tensor(x) if isinstance(x, Known) and i < kept else x for i, x in enumerate(inputs)]
    return OPERATORS[name](inputs, attributes)


OPERATORS: Final[Mapping[str, Operator]] = {
    "Add": _binary(lambda a, b: a + b), "Sub": _binary(lambda a, b: a - b), "Mul": _binary(lambda a, b: a * b),
    "Div": _binary(_divide), "Pow": lambda x, at: _power(*x), "Mod": _modulo,
    "Equal": _binary(lambda a, b: a == b), "Less": _binary(lambda a, b: a < b),
    "LessOrEqual": _binary(lambda a, b: a <= b), "Greater": _binary(lambda a, b: a > b),
    "GreaterOrEqual": _binary(lambda a, b: a >= b),
    "And": lambda x, at: x[0] & x[1], "Or": lambda x, at: x[0] | x[1], "Xor": lambda x, at: x[0] ^ x[1],
    "Not": _unary(torch.logical_not), "Neg": _unary(torch.neg), "Abs": _unary(torch.abs), "Sqrt": _unary(torch.sqrt),
    "Exp": _unary(torch.exp), "Log": _unary(torch.log), "Sin": _unary(torch.sin), "Cos": _unary(torch.cos),
    "Tanh": _unary(torch.tanh), "Sigmoid": _unary(torch.sigmoid), "Relu": _unary(torch.relu), "Erf": _unary(torch.erf),
    "Floor": _unary(torch.floor), "Ceil": _unary(torch.ceil), "Round": _unary(torch.round), "Sign": _unary(torch.sign),
    "Reciprocal": _unary(torch.reciprocal), "IsNaN": _unary(torch.isnan), "IsInf": _unary(torch.isinf),
    "Softplus": _unary(F.softplus), "Softsign": _unary(F.softsign), "Mish": _unary(F.mish),
    "HardSwish": _unary(F.hardswish),
    "LeakyRelu": lambda x, at: F.leaky_relu(x[0], at.get("alpha", 0.01)),
    "Elu": lambda x, at: F.elu(x[0], at.get("alpha", 1.0)),
    "Gelu": lambda x, at: F.gelu(x[0], approximate=at.get("approximate", "none")),
    "PRelu": lambda x, at: torch.where(x[0] < 0, x[0] * x[1], x[0]),
    "HardSigmoid": lambda x, at: torch.clamp(x[0] * at.get("alpha", 0.2) + at.get("beta", 0.5), 0, 1),
    "Clip": _clip, "Min": _many(torch.minimum), "Max": _many(torch.maximum), "Sum": _many(torch.add),
    "Where": lambda x, at: torch.where(as_tensor(x[0]), as_tensor(x[1]), as_tensor(x[2])),
    "Cast": _cast, "Identity": _same, "Dropout": _same,
    "CastLike": lambda x, at: as_tensor(x[0]).to(x[1].dtype),
    "Shape": _shape, "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather,
    "GatherElements": lambda x, at: torch.gather(x[0], at.get("axis", 0), x[1].long()),
    "Expand": _expand, "ConstantOfShape": _filled, "Pad": _pad,
    "Tile": lambda x, at: x[0].repeat(*_sizes(x[1])),
    "Range": lambda x, at: torch.arange(*(_sizes(Sizes([v]) if _is_size(v) else v)[0] for v in x)),
    "ReduceSum": _reduce(lambda x, axes, keep: torch.sum(x, axes, keepdim=keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: torch.mean(x, axes, keepdim=keep)),
    "ReduceMax": _reduce(lambda x, axes, keep: torch.amax(x, axes, keepdim=keep)),
    "ReduceMin": _reduce(lambda x, axes, keep: torch.amin(x, axes, keepdim=keep)),
    "ReduceProd": _reduce(_each_axis(torch.prod)),
    "ReduceL1": _reduce(lambda x, axes, keep: torch.sum(torch.abs(x), axes, keepdim=keep)),
    "ReduceL2": _reduce(lambda x, axes, keep: torch.sqrt(torch.sum(x * x, axes, keepdim=keep))),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: torch.sum(x * x, axes, keepdim=keep)),
    "ReduceLogSumExp": _reduce(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "ArgMax": _arg(torch.argmax), "ArgMin": _arg(torch.argmin), "TopK": _top, "CumSum": _cumulated,
    "MatMul": lambda x, at: x[0] @ x[1], "Gemm": _gemm, "Einsum": lambda x, at: torch.einsum(at["equation"], *x),
    "Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool, "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm, "GroupNormalization": _group_norm,
    "GlobalAveragePool": _pool_all(torch.mean), "GlobalMaxPool": _pool_all(torch.amax),
    "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax),
    "ai.onnx.ml.Scaler": _scaler,
}  # fmt: skip
