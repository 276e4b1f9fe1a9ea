"""Modules quantised statically: `torch.ao.quantization.prepare` and `convert`, eager or by FX.

Their layers hold packed weights, and tensors of quantised dtypes go between them, which no exporter follows. For
exporting, each layer is replaced by one that holds the same whole numbers in the open, and every function of a
quantised tensor is done by `integers.Arithmetic`. A rehearsal on a few rows does each of them beside PyTorch's own and
tells where a number differs.

The engines differ in two places. fbgemm (and oneDNN, all but always) adds the bias as a fraction of an accumulator's
step, and divides by the scale of the answer; QNNPACK rounds the bias to whole steps, and multiplies by the inverse.
Which one packed a layer cannot be asked; the layer's answers tell. On processors without VNNI fbgemm adds products two
at a time in 16 bits, which overflow where activations pass 127: there its answers are not those of its own weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch

from setsail.convert.torch.integer_functions import FUNCTIONS
from setsail.convert.torch.integers import EXACT, Arithmetic, Integers, look_up, real_of, unsupported
from setsail.errors import SetsailError

__all__ = ["PACKAGES", "Open", "has_static", "is_static", "opened"]

PACKAGES: Final = ("torch.ao.nn.quantized.", "torch.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")
_LAYERS: Final = ("Linear", "LinearReLU", "Conv1d", "Conv2d", "Conv3d", "ConvReLU1d", "ConvReLU2d", "ConvReLU3d",
                  "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")  # fmt: skip
_BY_CHANNEL: Final = ("BatchNorm2d", "BatchNorm3d", "BNReLU2d", "BNReLU3d")
# What packed weights are called with, where they are no module's.
_FUNCTIONAL: Final = {
    f"quantized::{name}": kind for name, kind in (
        ("linear", "Linear"), ("linear_relu", "LinearReLU"), ("conv2d", "Conv2d"), ("conv2d_relu", "ConvReLU2d"),
        ("conv3d", "Conv3d"), ("conv3d_relu", "ConvReLU3d"), ("conv_transpose2d", "ConvTranspose2d"),
    )
}  # fmt: skip
_AS_THEY_ARE: Final = ("Quantize", "DeQuantize", "QFunctional", "FloatFunctional", "FXFloatFunctional", "ReLU6",
                       "Hardswish", "ELU", "LeakyReLU", "Sigmoid", "Dropout", "MaxPool2d")  # fmt: skip
_SYMMETRIC: Final = (torch.per_tensor_affine, torch.per_channel_affine, torch.per_tensor_symmetric,
                     torch.per_channel_symmetric)  # fmt: skip
_PROBES: Final = 1 << 15  # numbers of a layer's answer by which its form of rounding is chosen
_CELLS: Final = 1 << 20  # and of its input, at most
F = torch.nn.functional


class _Packed:
    """A layer of a graph by FX, which has packed weights and a function, as if it were a module."""

    def __init__(self, node: Any, graph: Any) -> None:
        _, packed, *told = node.args
        told = [getattr(graph, arg.target).item() if isinstance(arg, torch.fx.Node) else arg for arg in told]
        self.function, self.packed = node.target, getattr(graph, packed.target)
        self.scale, self.zero_point = told[-2:]
        self.kind = _FUNCTIONAL[node.target._qualified_op_name]
        if not self.kind.startswith("Linear"):
            self.padding_mode, self.groups = "zeros", self.packed.groups()
            self.stride, self.padding, self.dilation = (
                tuple(given()) for given in (self.packed.stride, self.packed.padding, self.packed.dilation)
            )
            self.output_padding = tuple(self.packed.output_padding())

    def weight(self) -> Any:
        return self.packed.unpack()[0]

    def bias(self) -> Any:
        return self.packed.unpack()[1]

    def __call__(self, x: Any) -> Any:
        return self.function(x, self.packed, self.scale, self.zero_point)


class _Layer(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    """A linear or convolution layer, with its weights as whole numbers."""

    def __init__(self, part: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.kind = kind = getattr(part, "kind", type(part).__name__)
        try:
            weight, bias = part.weight(), part.bias()
        except RuntimeError as fault:  # QNNPACK gives back some weights, and no others
            raise _refused(part) from fault
        if weight.qscheme() not in _SYMMETRIC:
            raise unsupported(kind)
        self.arithmetic, self.original = arithmetic, [part]  # in a list: no child, whose weights would be exported
        self.transposed, self.relu = "Transpose" in kind, "ReLU" in kind
        self.rank = 0 if kind.startswith("Linear") else int(kind[-2])
        axis = 1 if self.transposed else 0
        channels = weight.shape[axis] * (part.groups if self.transposed else 1)
        scales, zeros = _parameters(weight)
        shaped = [-1 if d == axis else 1 for d in range(weight.ndim)]
        numbers = weight.int_repr().int() - zeros.int().reshape(shaped if zeros.ndim else ())
        self.register_buffer("weight", numbers.to(torch.int16 if bool(zeros.any()) else torch.int8))
        self.scales, self.bias = scales.float(), torch.zeros(channels) if bias is None else bias.detach().float()
        self.scale, self.zero = float(part.scale), int(part.zero_point)
        if self.rank:
            self.padding_mode = part.padding_mode
            self.around = [size for size in reversed(part.padding) for _ in range(2)]
            self.groups = part.groups
            self.moves = {"stride": part.stride, "dilation": part.dilation,
                          "padding": part.padding if part.padding_mode == "zeros" else 0}  # fmt: skip
            if self.transposed:
                self.moves["output_padding"] = part.output_padding

    def forward(self, x: Any) -> Any:
        if not isinstance(x, Integers):
            raise unsupported(f"{self.kind} of floats")
        arithmetic, part = self.arithmetic, self.original[0] if self.original else None
        arithmetic.position += 1
        parts = arithmetic.keep("parts", lambda: self._parts(x))
        form = arithmetic.choose(self.kind, ("fraction", "whole"), lambda form: self._wrong(x, form, parts))
        found = self._answer(x, x.values, form, parts)
        return arithmetic.held(self.kind, found, part(x.real)) if arithmetic.rehearsing and part is not None else found

    def _answer(self, x: Integers, values: Any, form: str, parts: int) -> Integers:
        multiplier, bias = self._constants(x, form)
        made = Integers(self.arithmetic, values, self.scale, self.zero, torch.quint8)
        low = max(made.low, 0) if self.relu else made.low
        # Minus what is to be added: runtimes fuse additions and products into convolutions, which are exact no longer.
        made.values = torch.clamp(torch.round((self._sums(values, parts) - bias) * multiplier), low, made.high)
        return made

    def _constants(self, x: Integers, form: str) -> tuple[Any, Any]:
        """By what a sum is multiplied, and the bias in steps of the accumulator, negated; both as the engines do it."""
        shape = (-1, *(1,) * self.rank)

        def step() -> Any:
            return torch.tensor(x.scale, dtype=torch.float32) * self.scales

        def multiplier() -> Any:
            out = torch.tensor(self.scale, dtype=torch.float32)
            found = step() / out if form == "fraction" else step() * (1 / out)
            return found.reshape(shape) if found.ndim else found

        def bias() -> Any:
            found = self.bias / step() if form == "fraction" else torch.round(self.bias.double() / step().double())
            return -found.float().reshape(shape)

        return self.arithmetic.keep(f"multiplier_{form}", multiplier), self.arithmetic.keep(f"bias_{form}", bias)

    def _sums(self, values: Any, parts: int) -> Any:
        """The layer's products and sums: whole numbers, exact."""
        if not self.rank:
            if parts == 1:
                return F.linear(values, self.weight.float())
            return F.linear(values.double(), self.weight.double()).float()
        if self.padding_mode != "zeros":
            values = F.pad(values, self.around, mode=self.padding_mode)
        weight = self.weight.float()
        call = getattr(F, f"conv{'_transpose' if self.transposed else ''}{self.rank}d")
        if parts == 1:
            return call(values, weight, None, groups=self.groups, **self.moves)
        width = -(-self.weight.shape[1] // parts)
        grouped = values.unflatten(1, (self.groups, -1))
        made = [call(grouped[:, :, i : i + width].flatten(1, 2), weight[:, i : i + width], None, groups=self.groups,
                     **self.moves).double() for i in range(0, self.weight.shape[1], width)]  # fmt: skip
        return sum(made[1:], made[0]).float()

    def _parts(self, x: Integers) -> int:
        """In how many parts a sum is taken, so that each is exact."""
        weight = self.weight.double()
        across = tuple(d for d in range(weight.ndim) if d != (1 if self.transposed else 0))
        if self.transposed and self.groups > 1:
            across = (0, *range(2, weight.ndim))
        up, down = weight.clamp(min=0).sum(across), (-weight.clamp(max=0)).sum(across)
        most = float(torch.maximum(up * x.high - down * x.low, down * x.high - up * x.low).max())
        if most < EXACT:
            return 1
        if not self.rank:
            return 2
        if self.transposed:
            raise unsupported("a transposed convolution whose sums pass 2**24")
        largest = float(weight.abs().flatten(2).sum(2).max()) * max(x.high, -x.low)  # of one channel alone
        return -(-int(self.weight.shape[1]) // max(1, int((EXACT - 1) // largest)))

    def _wrong(self, x: Integers, form: str, parts: int) -> float:
        """How large a part of the numbers differs from the layer's own, where no engine's 16 bits overflow."""
        (part,) = self.original
        shape = x.values.shape
        inner = max(1, x.values[0].numel())
        rows = min(-(-_PROBES // max(1, self.weight.shape[1 if self.transposed else 0])), -(-_CELLS // inner))
        numbers = torch.empty((rows, *shape[1:]), dtype=torch.int32).random_(0, 128, generator=_drawing())
        truth = part(real_of(x, numbers)).int_repr().float() - self.zero
        wrong = self._answer(x, numbers.float() - x.zero, form, parts).values != truth
        return float(wrong.float().mean())


def _drawing() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class _ByChannel(torch.nn.Module):  # type: ignore[misc]
    """A normalisation of quantised numbers: a table a channel, filled by the layer itself."""

    def __init__(self, part: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.arithmetic, self.original = arithmetic, [part]
        self.channels, self.rank = int(part.num_features), 3 if type(part).__name__.endswith("3d") else 2

    def forward(self, x: Any) -> Any:
        arithmetic, part = self.arithmetic, self.original[0] if self.original else None
        arithmetic.position += 1
        first = 0 if x.dtype is torch.quint8 else -128

        def truth() -> Any:
            assert part is not None
            numbers = torch.arange(first, first + 256).reshape(-1, 1).expand(256, self.channels)
            return part(real_of(x, numbers.reshape(256, self.channels, *(1,) * self.rank).contiguous()))

        table, kind = arithmetic.taken("channels", truth)
        offsets = arithmetic.keep("offsets", lambda: torch.arange(self.channels).float().reshape(-1, *(1,) * self.rank))
        found = kind(look_up(table.flatten(), x.place() * self.channels + offsets))
        return arithmetic.held(type(part).__name__, found, part(x.real)) if arithmetic.rehearsing and part else found


class _Rows(torch.nn.Module):  # type: ignore[misc]
    """A quantised embedding: its rows, as it gives them itself."""

    def __init__(self, part: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.register_buffer("rows", part(torch.arange(part.num_embeddings)).detach().clone())

    def forward(self, indices: Any) -> Any:
        return F.embedding(indices, self.rows)


class Open(torch.nn.Module):  # type: ignore[misc]
    """A module whose quantised parts are in the open. Its constants are known after a rehearsal."""

    def __init__(self, module: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.module, self.arithmetic = module, arithmetic

    def forward(self, *args: Any, **options: Any) -> Any:
        self.arithmetic.position = 0
        with self.arithmetic:
            return self.module(*args, **options)

    def rehearse(self, *args: Any, **options: Any) -> list[str]:
        """Go through the module once, beside PyTorch; keep what was found as buffers. Returns what there is to say."""
        self(*args, **options)
        for (position, what), value in self.arithmetic.kept.items():
            if isinstance(value, torch.Tensor):
                self.register_buffer(f"kept_{position}_{what}", value)
        self.arithmetic.constants = self.get_buffer
        self.arithmetic.rehearsing = False
        for layer in self.modules():
            if isinstance(layer, _Layer | _ByChannel):
                layer.original.clear()
        return [f"{name}: {wrong} of {of} numbers differ from PyTorch's, by up to {most:.3g}"
                for name, (wrong, of, most) in self.arithmetic.off.items() if wrong]  # fmt: skip


def has_static(module: Any) -> bool:
    """Whether tensors of quantised dtypes go through a module: a part of it, or a graph by FX, makes them."""
    return any(is_static(inner) or (isinstance(inner, torch.fx.GraphModule) and _quantises(inner))
               for inner in module.modules())  # fmt: skip


def _quantises(graph: Any) -> bool:
    return any(getattr(node.target, "__name__", "") == "quantize_per_tensor" for node in graph.graph.nodes)


def is_static(part: Any) -> bool:
    """Whether a module is one of PyTorch's statically quantised ones."""
    place = type(part).__module__
    return place.startswith(PACKAGES) and ".dynamic" not in place


_MADE: Final[Mapping[str, Any]] = {
    **dict.fromkeys(_LAYERS, _Layer), **dict.fromkeys(_BY_CHANNEL, _ByChannel), "Embedding": _Rows
}  # fmt: skip


@contextmanager
def opened(module: Any) -> Iterator[Open]:
    """The module in the open, for as long as this lasts; it still has to be rehearsed.

    Raises:
        SetsailError: `convert.unsupported` for a quantised part we have no arithmetic for, by name.
    """
    arithmetic = Arithmetic(FUNCTIONS)
    parts = {n: p for n, p in module.named_modules() if is_static(p)}
    outer = {n: p for n, p in parts.items() if not any(n.startswith(f"{o}.") for o in parts if o != n)}
    made = {n: _MADE[type(p).__name__](p, arithmetic) for n, p in outer.items() if type(p).__name__ in _MADE}
    for part in outer.values():
        if type(part).__name__ not in (*_MADE, *_AS_THEY_ARE):
            raise _refused(part)
    if "" in made:
        yield Open(made[""], arithmetic)
        return
    packed = [(graph, name, getattr(graph, name), _Layer(part, arithmetic))
              for graph in module.modules() if isinstance(graph, torch.fx.GraphModule)
              for name, part in _functional(graph).items()]  # fmt: skip
    numbers = [(inner, name, inner._buffers[name]) for inner in module.modules() for name in _scalars(inner)]
    places = {n: (module.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in made}
    try:
        for inner, name, value in numbers:  # scales must be numbers while the module is followed, no tensors
            del inner._buffers[name]
            setattr(inner, name, value.item())
        for graph, name, _, layer in packed:
            setattr(graph, name, layer)
        for n, (parent, last) in places.items():
            parent._modules[last] = made[n]
        yield Open(module, arithmetic)
    finally:
        for n, (parent, last) in places.items():
            parent._modules[last] = outer[n]
        for inner, name, value in numbers:
            delattr(inner, name)
            inner._buffers[name] = value
        for graph, name, value, _ in packed:
            delattr(graph, name)
            setattr(graph, name, value)


def _functional(graph: Any) -> dict[str, _Packed]:
    """Layers that are functions in a graph, by the attribute that holds their weights, each used once."""
    nodes = [n for n in graph.graph.nodes if getattr(n.target, "_qualified_op_name", "") in _FUNCTIONAL]
    found = {str(node.args[1].target): _Packed(node, graph) for node in nodes}
    if len(found) < len(nodes):
        raise unsupported("packed weights used twice")
    return found


def _scalars(inner: Any) -> list[str]:
    """Buffers that hold a scale or a zero point."""
    if not (isinstance(inner, torch.fx.GraphModule) or is_static(inner)):
        return []
    return [name for name, value in inner._buffers.items()
            if value is not None and value.numel() == 1 and ("scale" in name or "zero_point" in name)]  # fmt: skip


def _parameters(weight: Any) -> tuple[Any, Any]:
    """Scales and zero points of a weight, of all or of each channel."""
    if weight.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
        return weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    return torch.tensor(weight.q_scale()), torch.tensor(weight.q_zero_point())


def _refused(part: Any) -> SetsailError:
    return SetsailError("convert.unsupported", f"the quantised module {type(part).__name__} has no exact conversion",
                        field=type(part).__name__, value=f"{type(part).__module__}.{type(part).__name__}",
                        expected=", ".join((*_LAYERS, *_BY_CHANNEL, "Embedding", *_AS_THEY_ARE)),
                        todo="pack the module as it was before quantising")  # fmt: skip
