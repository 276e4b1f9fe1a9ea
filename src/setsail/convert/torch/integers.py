"""Tensors of PyTorch's quantised dtypes, in the open: whole numbers kept as float32.

A `quint8` tensor of scale s and zero point z stands for (q - z) * s. Here it is the float32 tensor q - z, with s and
z beside it. Products and sums of whole numbers are exact in float32 below 2**24, in any order, so that a convolution of
floats gives the very integer that fbgemm's or QNNPACK's 32-bit accumulator holds; where weights can sum to more, the
sum is taken in parts. What follows is one scaling and one rounding to even, which are done as the engine does them.

Functions of one quantised tensor are tables of its 256 values, and elementwise functions of two are tables of all
65,536 pairs, both filled in by PyTorch itself: exact, whatever the engine's arithmetic is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import onnxscript
import torch
from torch.overrides import TorchFunctionMode

from setsail.errors import SetsailError

__all__ = ["EXACT", "TRANSLATIONS", "Arithmetic", "Integers", "every", "look_up", "real_of", "unsupported"]

EXACT: Final = 1 << 24  # whole numbers up to here are float32 numbers
_LIMITS: Final = {torch.quint8: (0, 255), torch.qint8: (-128, 127)}
_STORED: Final = {torch.quint8: torch.uint8, torch.qint8: torch.int8}
_FEW: Final = 0.01  # of a layer's numbers may round otherwise
_opset = onnxscript.opset20


@torch.library.custom_op("setsail::look_up", mutates_args=())  # type: ignore[untyped-decorator]
def _look_up(table: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """table[place]: any dtype [n], int32 of any shape -> that shape. PyTorch's indexing becomes GatherND, slower."""
    return table[place]


@_look_up.register_fake  # type: ignore[untyped-decorator]
def _(table: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return table.new_empty(place.shape)


def _gather(table: Any, place: Any) -> Any:
    return _opset.Gather(table, place)


TRANSLATIONS: Final[Mapping[Any, Callable[..., Any]]] = {torch.ops.setsail.look_up.default: _gather}


def look_up(table: Any, place: Any) -> Any:
    """Entries of a table, at whole numbers that are floats."""
    return torch.ops.setsail.look_up(table, place.to(torch.int32))


class Integers:
    """A quantised tensor.

    Attributes:
        values: float32, the whole numbers q - zero.
        scale: what one step stands for.
        zero: the zero point.
        dtype: torch.quint8 or torch.qint8.
        real: in a rehearsal, the same tensor as PyTorch has it; else None.
    """

    is_quantized = True

    def __init__(self, arithmetic: Arithmetic, values: Any, scale: float, zero: int, dtype: Any) -> None:
        self.arithmetic, self.values, self.scale, self.zero, self.dtype = arithmetic, values, scale, zero, dtype
        self.real: Any = None
        first, last = _LIMITS[dtype]
        self.low, self.high = first - zero, last - zero

    def like(self, values: Any) -> Integers:
        """Other numbers with the same scale."""
        return Integers(self.arithmetic, values, self.scale, self.zero, self.dtype)

    def place(self) -> Any:
        """Which of the 256 values each is, from 0."""
        return self.values - self.low

    @property
    def shape(self) -> Any:
        return self.values.shape

    @property
    def ndim(self) -> int:
        return int(self.values.ndim)

    @property
    def device(self) -> Any:
        return self.values.device

    def size(self, dim: int | None = None) -> Any:
        return self.values.size() if dim is None else self.values.size(dim)

    def dim(self) -> int:
        return int(self.values.dim())

    def numel(self) -> Any:
        return self.values.numel()

    def __getitem__(self, index: Any) -> Any:
        return self.arithmetic.call("__getitem__", torch.Tensor.__getitem__, (self, index), {})

    def __getattr__(self, name: str) -> Any:
        """A method of tensors, as a function of this one."""
        function = getattr(torch.Tensor, name, None)
        if name.startswith("__") or not callable(function):
            raise AttributeError(name)
        return lambda *args, **options: self.arithmetic.call(name, function, (self, *args), options)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise unsupported(getattr(func, "__name__", str(func)))


class Arithmetic(TorchFunctionMode):  # type: ignore[misc]  # torch is not typed here
    """Does what is asked of quantised tensors, by functions from a table.

    First comes a rehearsal on a few real rows. In it every function is done twice, here and by PyTorch on its own
    tensors; tables are filled, the form of rounding is chosen which gives PyTorch's numbers, and what differs is
    counted. Afterwards the same calls come in the same order, and find what was kept under their position.

    Attributes:
        rehearsing: whether PyTorch does the same beside.
        off: function -> (numbers that differ, of how many, by how many steps at most).
    """

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__()
        self.functions = functions
        self.rehearsing = True
        self.off: dict[str, tuple[int, int, float]] = {}
        self.kept: dict[tuple[int, str], Any] = {}
        self.position = 0
        self.constants: Callable[[str], Any] = lambda name: None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        layer = next((arg for arg in args if isinstance(arg, torch.nn.Module)), None)
        if layer is not None:  # where a graph of FX has packed weights
            return layer(args[0])
        name: str = getattr(func, "_qualified_op_name", "") or getattr(func, "__name__", str(func))
        name = name.removeprefix("aten::")
        if name.startswith("quantize_per") or any(_integers((*args, *options.values()))):
            return self.call(name, func, args, options)
        return func(*args, **options)

    def call(self, name: str, func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Do a function. Raises `convert.unsupported` by its name where there is none."""
        if name not in self.functions:
            raise unsupported(name)
        self.position += 1
        truth = func(*_real(tuple(args)), **_real(options)) if self.rehearsing else None
        found = self.functions[name](self, func, args, options)
        return self.held(name, found, truth) if self.rehearsing else found

    def keep(self, what: str, make: Callable[[], Any]) -> Any:
        """What is made in the rehearsal, and found again afterwards: a tensor, or anything else."""
        key = (self.position, what)
        if self.rehearsing:
            self.kept[key] = make()
        elif isinstance(self.kept.get(key), torch.Tensor):
            return self.constants(f"kept_{key[0]}_{key[1]}")
        if key not in self.kept:
            raise unsupported(what)
        return self.kept[key]

    def held(self, name: str, found: Any, truth: Any) -> Any:
        """An answer of ours against PyTorch's, which the rehearsal goes on with."""
        if isinstance(truth, list | tuple):
            return type(truth)(self.held(name, f, t) for f, t in zip(found, truth, strict=True))
        if not isinstance(truth, torch.Tensor) or not isinstance(found, Integers | torch.Tensor):
            return found
        if isinstance(found, Integers):
            if (found.scale, found.zero, found.dtype) != (truth.q_scale(), truth.q_zero_point(), truth.dtype):
                raise unsupported(name)
            expected = truth.int_repr().float() - found.zero
            self.count(name, found.values, expected)
            found.values, found.real = expected, truth
            return found
        self.count(name, found, truth)
        return truth

    def count(self, name: str, found: Any, expected: Any) -> None:
        """Note how many numbers differ, and by how much."""
        if found.shape != expected.shape:
            raise unsupported(name)
        far = (found.double() - expected.double()).abs()
        wrong, of, most = self.off.get(name, (0, 0, 0.0))
        more = float(far.max()) if far.numel() else 0.0
        self.off[name] = (wrong + int((far > 0).sum()), of + far.numel(), max(most, more))

    def choose(self, name: str, forms: Sequence[str], wrong: Callable[[str], float]) -> str:
        """Of several ways to round, the one which gives PyTorch's numbers most often.

        Args:
            wrong: form -> how large a part of the numbers differs.

        Raises:
            SetsailError: `convert.unsupported` where none gives nearly all of them.
        """

        def best() -> str:
            part, form = min((wrong(form), form) for form in forms)
            if part > _FEW:
                raise SetsailError("convert.unsupported", f"{name} answers other numbers than its weights give",
                                   field=name, value=f"{part:.1%} of them", expected=f"at most {_FEW:.0%}",
                                   todo="pack the module as it was before quantising")  # fmt: skip
            return form

        found: str = self.keep("form", best)
        return found

    def taken(self, what: str, real: Callable[[], Any]) -> tuple[Any, Callable[[Any], Any]]:
        """A table that PyTorch filled, and a function that makes its numbers an answer of the same kind."""
        kind = self.keep(f"{what}_kind", lambda: _kind(real()))
        table = self.keep(what, lambda: _numbers(real()))
        return table, (lambda values: values if kind is None else Integers(self, values.float(), *kind))


def every(x: Integers) -> Any:
    """All 256 values of a tensor like this one, as PyTorch's."""
    first, last = _LIMITS[x.dtype]
    return real_of(x, torch.arange(first, last + 1))


def real_of(x: Integers, numbers: Any) -> Any:
    """PyTorch's tensor with these stored numbers."""
    return torch._make_per_tensor_quantized_tensor(numbers.to(_STORED[x.dtype]), x.scale, x.zero)


def unsupported(name: str) -> SetsailError:
    """What is said of a function that has no arithmetic here."""
    return SetsailError("convert.unsupported", f"{name} of a quantised tensor has no exact conversion", field=name,
                        expected="linear and convolution layers, activations, sums, products, cat, pooling, reshaping",
                        todo="dequantise before it, or pack the module as it was before quantising")  # fmt: skip


def _kind(truth: Any) -> tuple[float, int, Any] | None:
    return (truth.q_scale(), truth.q_zero_point(), truth.dtype) if truth.is_quantized else None


def _numbers(truth: Any) -> Any:
    """As they are stored in the program: centred whole numbers in 16 bits, or floats."""
    return (truth.int_repr().int() - truth.q_zero_point()).to(torch.int16) if truth.is_quantized else truth


def _integers(values: Sequence[Any]) -> list[Integers]:
    return [inner for value in values for inner in (value if isinstance(value, list | tuple) else (value,))
            if isinstance(inner, Integers)]  # fmt: skip


def _real(value: Any) -> Any:
    if isinstance(value, Integers):
        return value.real
    if isinstance(value, list | tuple):
        return type(value)(map(_real, value))
    return {k: _real(v) for k, v in value.items()} if isinstance(value, Mapping) else value
