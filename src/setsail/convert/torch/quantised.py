"""Modules quantised dynamically: `torch.ao.quantization.quantize_dynamic`. Of those quantised statically, see `static`.

Such a module keeps integer weights in packed form, behind operators that no exporter follows. For exporting, each is
replaced by the same arithmetic in the open, bit for bit as fbgemm does it on x86 (the steps are those of
`ChooseQuantizationParams`, `Quantize` and `ReQuantizeForFloat`, read from its answers): the range of the activations
becomes a scale and a zero point, integers are multiplied as integers, and the result is scaled and added to the bias
in one rounding.

The range is that of *all* rows of a call. Rows asked together therefore answer differently from rows asked alone, and
the program takes one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import onnxscript
import torch

from setsail.convert.torch.exporting import export, quiet
from setsail.convert.torch.integers import TRANSLATIONS as LOOKED_UP
from setsail.convert.torch.static import PACKAGES, has_static, is_static, opened
from setsail.errors import SetsailError

__all__ = ["TRANSLATIONS", "export_in_the_open", "in_the_open", "is_dynamic"]

_CEILING: Final = 127  # fbgemm leaves a bit of activations unused, so that sums of two products fit 16 bits
_SMALLEST: Final = 6.1e-5  # a smaller scale is raised to this
_CLOSE: Final = 1e-5

_opset = onnxscript.opset20


@torch.library.custom_op("setsail::int8_product", mutates_args=())  # type: ignore[untyped-decorator]  # torch is not typed here
def _product(x: torch.Tensor, weight: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """(x - zero) @ weight in 32-bit integers: uint8 [.., k], int8 [k, n], uint8 [] -> int32 [.., n]."""
    return (x.int() - zero.int()) @ weight.int()


@_product.register_fake  # type: ignore[untyped-decorator]
def _(x: torch.Tensor, weight: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[1]), dtype=torch.int32)


def _matmul_integer(x: Any, weight: Any, zero: Any) -> Any:
    return _opset.MatMulInteger(x, weight, zero)


# Operators of ours -> how they are written in ONNX, for torch's exporter.
TRANSLATIONS: Final[Mapping[Any, Callable[..., Any]]] = {
    torch.ops.setsail.int8_product.default: _matmul_integer, **LOOKED_UP
}  # fmt: skip


def export_in_the_open(
    module: Any, keywords: bool, told: list[str], specs: Any, rows: Mapping[str, Any], outputs: Any, free: bool
) -> Any:
    """Export a module with quantised parts; see `exporting.export`.

    Args:
        keywords: whether forward takes its inputs by name.
        told: gets a line for each function whose numbers are not PyTorch's, to the bit.
    """
    with quiet(), in_the_open(module) as written, opened(written) as plain:
        if not has_static(module):
            return export(written, specs, rows, outputs, free, keywords=keywords, translations=TRANSLATIONS)
        with torch.no_grad():
            told += plain.rehearse(*(() if keywords else rows.values()), **(rows if keywords else {}))
        return export(plain, specs, rows, outputs, free, keywords=keywords, translations=TRANSLATIONS)


class _Linear(torch.nn.Module):  # type: ignore[misc]
    """A dynamically quantised linear layer, written out."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        weight, bias = layer.weight(), layer.bias()
        if weight.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric):
            scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
        else:
            scales, zeros = torch.tensor(weight.q_scale()), torch.tensor(weight.q_zero_point())
        if bool(zeros.any()):
            raise _unsupported(layer, "weights with a zero point", "weights quantised symmetrically")
        self.register_buffer("weight", weight.int_repr().t().contiguous())
        self.register_buffer("scales", scales.float())
        self.register_buffer("bias", torch.zeros(weight.shape[0]) if bias is None else bias.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, zero = _parameters(x)
        quantised = torch.clamp(torch.round(x * (1 / scale) + zero), 0, 255).to(torch.uint8)
        product = torch.ops.setsail.int8_product(quantised, self.weight, zero.to(torch.uint8))
        # as one fused multiply-add: the product is exact in doubles, and rounded once
        return (product.double() * (scale * self.scales).double() + self.bias.double()).float()


class _Half(torch.nn.Module):  # type: ignore[misc]
    """A linear layer whose weights are halves and whose arithmetic is single: quantize_dynamic(dtype=torch.float16)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight().detach().float())
        self.register_buffer("bias", None if layer.bias() is None else layer.bias().detach().float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight, self.bias)


def _parameters(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point for a tensor's values, both float32."""
    every = x.flatten()
    low, high = torch.clamp(every.amin(0), max=0).double(), torch.clamp(every.amax(0), min=0).double()
    exact = (high - low) / _CEILING
    nothing = (exact.float() == 0) | torch.isinf(1 / exact.float())
    exact = torch.where(nothing, torch.full_like(exact, 0.1), exact)
    more = torch.clamp(_SMALLEST / exact, min=1)  # by which a small range is stretched
    scale, low, high = exact * more, low * more, high * more
    below, above = low / scale, high / scale
    zero = torch.where(below.abs() < _CEILING + above.abs(), -below, _CEILING - above)
    return scale.float(), torch.clamp(torch.round(zero), 0, _CEILING).float()


def is_dynamic(module: torch.nn.Module) -> bool:
    """Whether a part of the module is one of PyTorch's dynamically quantised modules."""
    return any(map(_is_part, module.modules()))


def _is_part(inner: Any) -> bool:
    return type(inner).__module__.startswith(PACKAGES) and not is_static(inner)


@contextmanager
def in_the_open(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The module with every dynamically quantised part written out, for as long as this lasts.

    Raises:
        SetsailError: `convert.unsupported` for a quantised part we have no arithmetic for, by name, or one whose
            answers ours are not (another engine than fbgemm made them).
    """
    parts = {name: inner for name, inner in module.named_modules() if _is_part(inner)}
    # what lies inside a quantised part (its packed weights) goes with it
    outer = {n: p for n, p in parts.items() if not any(n.startswith(f"{other}.") for other in parts if other != n)}
    made = {name: _written_out(part) for name, part in outer.items()}
    if "" in made:
        yield made[""]
        return
    places = {name: (module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in made}
    try:
        for name, (parent, last) in places.items():
            parent._modules[last] = made[name]
        yield module
    finally:
        for name, (parent, last) in places.items():
            parent._modules[last] = outer[name]


def _written_out(part: Any) -> torch.nn.Module:
    kind = f"{type(part).__module__}.{type(part).__name__}"
    if not kind.endswith("quantized.dynamic.modules.linear.Linear"):
        raise _unsupported(part, kind, "linear layers quantised dynamically")
    half = part._packed_params.dtype == torch.float16
    made = _Half(part) if half else _Linear(part)
    generator = torch.Generator().manual_seed(0)
    for spread in (1.0, 30.0):
        x = torch.randn((5, part.in_features), generator=generator) * spread
        with torch.no_grad():
            expected = part(x)
            far = float((made(x) - expected).abs().max())
        if far > _CLOSE * max(1.0, float(expected.abs().max())):
            raise _unsupported(part, f"a difference of {far:.3g}", "answers of the fbgemm engine (x86)")
    return made


def _unsupported(part: Any, value: str, expected: str) -> SetsailError:
    return SetsailError("convert.unsupported", f"the quantised module {type(part).__name__} has no exact conversion",
                        field=type(part).__name__, value=value, expected=expected,
                        todo="pack the module as it was before quantising")  # fmt: skip
