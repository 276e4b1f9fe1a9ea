"""What may be asked of quantised tensors, by the names PyTorch calls it: see `integers.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import torch

from setsail.convert.torch.integers import Arithmetic, Integers, every, look_up, real_of, unsupported

__all__ = ["FUNCTIONS"]

Function = Callable[[Arithmetic, Any, Sequence[Any], Mapping[str, Any]], Any]
F = torch.nn.functional
_NUMBERED: Final = {12: torch.qint8, 13: torch.quint8}  # as TorchScript writes dtypes
_VECTOR: Final = 8  # channels that fbgemm's pooling takes at a time; what is left over is rounded otherwise


def _quantise(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """round(x * (1 / scale)) + zero, as fbgemm has it. What is no number becomes the highest, as it does there."""
    named = dict(zip(("input", "scale", "zero_point", "dtype"), args, strict=False)) | dict(options)
    x, scale, zero, dtype = (named[key] for key in ("input", "scale", "zero_point", "dtype"))
    dtype = _NUMBERED.get(dtype, dtype)
    if not isinstance(scale, float | int) or dtype not in _NUMBERED.values():
        raise unsupported("quantize_per_tensor")
    made = Integers(a, x, float(scale), int(zero), dtype)
    inverse = a.keep("inverse", lambda: 1 / torch.tensor(scale, dtype=torch.float32))
    values = torch.clamp(torch.round(x * inverse), made.low, made.high)
    return made.like(torch.where(torch.isnan(x), float(made.high), values))


def _dequantise(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    if not isinstance(args[0], Integers):
        return func(*args, **options)
    return args[0].values * args[0].scale


def _stored(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    return (args[0].values + args[0].zero).to(torch.uint8 if args[0].dtype is torch.quint8 else torch.int8)


def _moved(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What only moves numbers, or picks some of them."""
    x = args[0]
    found = func(x.values, *args[1:], **options)
    if isinstance(found, torch.Tensor):
        return x.like(found)
    return type(found)(map(x.like, found)) if isinstance(found, list | tuple) else found


def _padded(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    named = dict(zip(("input", "pad", "mode", "value"), args, strict=False)) | dict(options)
    if named.get("mode", "constant") == "constant" and named.get("value"):
        raise unsupported("pad with a value")
    return _moved(a, func, args, options)


def _nearest(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    named = dict(zip(("input", "size", "scale_factor", "mode"), args, strict=False)) | dict(options)
    if named.get("mode", "nearest") != "nearest":
        raise unsupported(f"interpolate, {named['mode']}")
    return _moved(a, func, args, options)


def _relu(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    x = args[0]
    values = torch.clamp(x.values, min=0)
    if func.__name__.endswith("_") or options.get("inplace") or True in args[1:]:
        x.values = values
        return x
    return x.like(values)


def _of_one(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """A function of one tensor, number by number: a table."""
    x = args[0]
    table, kind = a.taken("table", lambda: func(every(x), *args[1:], **options))
    found = kind(look_up(table, x.place()))
    if isinstance(found, Integers) and (options.get("inplace") or getattr(func, "__name__", "").endswith("_")):
        x.values, x.scale, x.zero, x.low, x.high = found.values, found.scale, found.zero, found.low, found.high
        return x
    return found


def _of_two(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """A function of two tensors, number by number: a table of all pairs."""
    x, y = args[:2]
    if not isinstance(y, Integers):
        return _of_one(a, func, args, options)

    def truth() -> Any:
        first, second = every(x).int_repr().repeat_interleave(256), every(y).int_repr().repeat(256)
        return func(real_of(x, first), real_of(y, second), *args[2:], **options)

    table, kind = a.taken("pairs", truth)
    return kind(look_up(table, x.place() * 256 + y.place()))


def _joined(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """cat: each part in the scale of the whole. PyTorch's own takes the first part's, `quantized::cat` is told one."""
    parts = args[0]
    own = "quantized" not in getattr(func, "_qualified_op_name", "")
    named = dict(zip(("dim",), args[1:2], strict=False)) | dict(options)
    found = []
    rest, given = (0, *args[2:]), {k: v for k, v in options.items() if k != "dim"}

    def truth(part: Integers) -> Any:
        return func([every(parts[0]), every(part)], 0)[256:] if own else func([every(part)], *rest, **given)

    for i, part in enumerate(parts):
        table, kind = a.taken(f"part{i}", partial(truth, part))
        found.append(kind(look_up(table, part.place())))
    return found[0].like(torch.cat([part.values for part in found], named.get("dim", 0)))


# -- averages --------------------------------------------------------------------------------------------------------


def _averaged(a: Arithmetic, x: Integers, sums: Callable[[Any], Any], size: Any, func: Callable[[Any], Any]) -> Any:
    """Sums over `size` numbers, divided and rounded; whether before or after the zero point is the engine's choice."""

    def rounded(values: Any, form: str) -> Any:
        mean = sums(values) / size
        after, before = torch.round(mean), torch.round(mean + x.zero) - x.zero
        if form == "mixed":
            return torch.where(a.keep("whole", partial(_whole, int(mean.shape[1]), mean.ndim - 2)), after, before)
        return after if form == "after" else before

    def wrong(form: str) -> float:
        generator = torch.Generator().manual_seed(0)
        numbers = torch.empty_like(x.real.int_repr()).random_(0, 128, generator=generator)  # laid out as the real one
        truth = func(real_of(x, numbers)).int_repr().float() - x.zero
        return float((rounded(numbers.float() - x.zero, form) != truth).float().mean())

    return x.like(rounded(x.values, a.choose("an average", ("after", "before", "mixed"), wrong)))


def _whole(channels: int, rank: int) -> Any:
    """Which channels are taken a vector at a time."""
    return (torch.arange(channels) < channels - channels % _VECTOR).reshape(-1, *(1,) * rank)


def _window(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    names = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    named = dict(zip(names, args, strict=False)) | dict(options)
    x, kernel = args[0], named["kernel_size"]
    rank = int(func.__name__.rstrip("d")[-1])
    padded = named.get("padding", 0) not in (0, (0,) * rank, [0] * rank)
    uncounted = padded and not named.get("count_include_pad", True)
    if named.get("ceil_mode") or named.get("divisor_override") or uncounted:
        raise unsupported(f"{func.__name__} with ceil_mode, divisor_override or padding that is not counted")
    size = kernel**rank if isinstance(kernel, int) else math.prod(kernel) ** (rank if len(kernel) == 1 else 1)
    rest = {k: v for k, v in named.items() if k not in ("input", "divisor_override")}

    def sums(values: Any) -> Any:  # the mean is off by less than the half that this rounding takes back
        return torch.round(func(values, **rest) * size)

    return _averaged(a, x, sums, size, lambda real: func(real, **rest))


def _adaptive(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    named = dict(zip(("input", "output_size"), args, strict=False)) | dict(options)
    x = args[0]
    rank = int(func.__name__.rstrip("d")[-1])
    asked = named["output_size"]
    wanted = (asked,) * rank if isinstance(asked, int) else tuple(asked)
    sizes = x.shape[-rank:]
    wanted = tuple(s if w is None else w for w, s in zip(wanted, sizes, strict=True))
    if all(w == 1 for w in wanted):
        dims = tuple(range(-rank, 0))
        return _averaged(a, x, lambda values: values.sum(dims, keepdim=True), math.prod(sizes),
                         lambda real: func(real, asked))  # fmt: skip
    if any(s % w for w, s in zip(wanted, sizes, strict=True)):
        raise unsupported(f"{func.__name__} to sizes that do not divide")
    kernel = tuple(int(s // w) for w, s in zip(wanted, sizes, strict=True))
    window: Any = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    count = math.prod(kernel)
    return _averaged(a, x, lambda values: torch.round(window(values, kernel) * count), count,
                     lambda real: func(real, asked))  # fmt: skip


def _mean(a: Arithmetic, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    named = dict(zip(("input", "dim", "keepdim"), args, strict=False)) | dict(options)
    x, dim = args[0], named.get("dim")
    if dim is None:
        raise unsupported("mean of all rows")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    keep = bool(named.get("keepdim", False))
    size = math.prod(x.shape[d] for d in dims)
    return _averaged(a, x, lambda values: values.sum(dims, keepdim=keep), size,
                     lambda real: torch.mean(real, dims, keepdim=keep))  # fmt: skip


_MOVING: Final = ("view", "reshape", "flatten", "permute", "transpose", "swapaxes", "t", "unsqueeze", "squeeze",
                  "contiguous", "clone", "detach", "expand", "chunk", "split", "unbind", "narrow", "select",
                  "__getitem__", "size", "repeat", "unflatten", "movedim", "flip", "max_pool1d", "max_pool2d",
                  "dropout", "dropout2d", "channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "upsample_nearest2d",
                  "reflection_pad1d", "reflection_pad2d", "to", "cpu")  # fmt: skip
_SINGLE: Final = ("sigmoid", "tanh", "hardtanh", "hardtanh_", "clamp", "relu6", "relu6_", "leaky_relu", "leaky_relu_",
                  "elu", "elu_", "celu", "hardsigmoid", "hardswish", "gelu", "threshold",
                  "quantized::leaky_relu", "quantized::hardswish", "quantized::elu", "quantized::celu",
                  "quantized::relu6", "quantized::sigmoid", "quantized::clamp", "quantized::add_scalar",
                  "quantized::add_scalar_relu", "quantized::mul_scalar", "quantized::mul_scalar_relu")  # fmt: skip
_PAIRED: Final = ("quantized::add", "quantized::add_relu", "quantized::mul", "quantized::mul_relu")

FUNCTIONS: Final[Mapping[str, Function]] = {
    "quantize_per_tensor": _quantise, "dequantize": _dequantise, "int_repr": _stored,
    "relu": _relu, "relu_": _relu, "pad": _padded, "interpolate": _nearest,
    "cat": _joined, "quantized::cat": _joined, "mean": _mean,
    "avg_pool2d": _window, "avg_pool3d": _window, "adaptive_avg_pool2d": _adaptive, "adaptive_avg_pool3d": _adaptive,
    **dict.fromkeys(_MOVING, _moved), **dict.fromkeys(_SINGLE, _of_one), **dict.fromkeys(_PAIRED, _of_two),
}  # fmt: skip
