"""A model of plain tensors, known only by running it: what it answers, whether rows are independent, its probes.

PyTorch modules and ONNX files do not say what they answer; a declared shape may be missing or wrong. So the source is
run at several sizes: a dimension that never changes is a number, one that follows the batch is `N`, one that follows
another free dimension has its symbol. Then single rows are held against the whole batch, because a server merges
requests: a model whose rows influence each other (attention over the wrong axis, a running normalisation) must not be
batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from setsail.convert.conversion import Probe
from setsail.convert.probes import Range, head, synthetic
from setsail.errors import SetsailError
from setsail.parity import ABSOLUTE, RELATIVE
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.tensors import Array, dtype_of

__all__ = ["Observation", "Run", "Source", "observe", "one_by_one", "settle"]

Run = Callable[[Mapping[str, Array]], dict[str, Array]]
_CELLS: Final = 1 << 21  # cells of one input in a probe: an image model gets fewer rows
_ROWS: Final = 64
_KEPT: Final = 256
_SIZES: Final = (8, 16, 32, 64, 128, 224)


@dataclass(frozen=True, slots=True)
class Source:
    """The model as it is, behind one function.

    Attributes:
        run: arrays by name -> outputs by name, in order.
        inputs: the specs; free dimensions are symbols, the batch is `N`.
        example: the person's rows by name, or empty.
        seed: of every draw.
    """

    run: Run
    inputs: tuple[TensorSpec, ...]
    example: Mapping[str, Array]
    seed: int = 0

    @property
    def batched(self) -> bool:
        return bool(self.inputs) and all(s.shape[:1] == (BATCH,) for s in self.inputs)

    def symbols(self) -> tuple[str, ...]:
        """Free dimensions other than the batch, each once."""
        return tuple(dict.fromkeys(d for s in self.inputs for d in s.shape if isinstance(d, str) and d != BATCH))

    def draw(self, rows: int, sizes: Mapping[str, int], seed: int = 0) -> dict[str, Array]:
        """Rows inside the example's ranges; without one, floats in -3..3 and integers 0 or 1, bytes any."""
        fixed = [replace(s, shape=tuple(sizes.get(d, d) if i == 0 and isinstance(d, str) else d
                                        for i, d in enumerate(s.shape))) for s in self.inputs]  # fmt: skip
        ranges = {s.name: _ranges(s, self.example.get(s.name)) for s in self.inputs}
        return synthetic(fixed, ranges, rows=rows, seed=self.seed + seed, sizes=sizes)

    def call(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run, with a failure told as `convert.run`."""
        try:
            return self.run(inputs)
        except SetsailError:
            raise
        except Exception as fault:
            shapes = ", ".join(f"{n} {a.dtype.name}{list(a.shape)}" for n, a in inputs.items())
            raise SetsailError(
                "convert.run",
                f"the model failed on {shapes}",
                value=_last_line(fault),
                expected="a model that runs on rows of these shapes",
                todo="pass --example with rows the model takes, or correct --input",
            ) from fault


@dataclass(frozen=True, slots=True)
class Observation:
    """What running a model showed.

    Attributes:
        sizes: at which its free dimensions were tried first.
        squeezed: outputs that lose their batch axis at a batch of 1; the program has to give it back.
    """

    signature: Signature
    probes: tuple[Probe, ...]
    sizes: Mapping[str, int]
    squeezed: tuple[TensorSpec, ...] = ()


def observe(source: Source, labels: Sequence[str] = ()) -> Observation:
    """Run a source at several sizes; describe its outputs and store its answers.

    Raises:
        SetsailError: `convert.run` when it fails, `convert.unsupported` when it answers differently each time or in a
            dtype we have none for, `convert.input` when rows influence each other or `labels` fit no output.
    """
    base, first = settle(source)
    again = source.call(source.draw(3, base))
    for name, array in first.items():
        if not _same(array, again[name]):
            raise SetsailError("convert.unsupported", f"output {name!r} differs between two runs on the same rows",
                               expected="a deterministic model", todo="switch off sampling in eval mode")  # fmt: skip
    other = _other(source, base)
    runs = [({**base, BATCH: 3}, first), ({**base, BATCH: 3}, source.call(source.draw(3, base, seed=7)))]
    if source.batched:
        runs.append(({**base, BATCH: 5}, source.call(source.draw(5, base))))
    if other:
        runs.append(({**other, BATCH: 3}, source.call(source.draw(3, other))))
    outputs = tuple(_output(name, runs, batched=source.batched) for name in first)
    names = tuple(s.name for s in outputs)
    signature = Signature(source.inputs, _labelled(outputs, labels), names)
    squeezed = _check_rows(source, signature, base) if source.batched and signature.batched else ()
    return Observation(signature, tuple(_probes(source, base, other)), base, squeezed)


def settle(source: Source) -> tuple[dict[str, int], dict[str, Array]]:
    """Sizes for the free dimensions at which the model runs: the example's, else the first of a row of usual sizes."""
    symbols = source.symbols()
    known = {d: size for s in source.inputs if s.name in source.example
             for d, size in zip(s.shape, source.example[s.name].shape, strict=True)
             if isinstance(d, str) and d != BATCH}  # fmt: skip
    fault: SetsailError | None = None
    for size in _SIZES if set(symbols) - set(known) else _SIZES[:1]:
        sizes = dict.fromkeys(symbols, size) | known
        try:
            return sizes, source.call(source.draw(3, sizes))
        except SetsailError as failed:
            fault = fault or failed
    assert fault is not None
    raise fault


def one_by_one(run: Run) -> Run:
    """A model that takes one row at a time, as one that takes many."""

    def each(inputs: Mapping[str, Array]) -> dict[str, Array]:
        rows = len(next(iter(inputs.values())))
        answers = [run({n: a[i : i + 1] for n, a in inputs.items()}) for i in range(rows)]
        return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}

    return each


def _ranges(spec: TensorSpec, example: Array | None) -> list[Range]:
    if example is not None and example.size:
        if example.ndim == 2 and isinstance(spec.shape[-1], int) and spec.dtype.kind in ("float", "string"):
            return [Range.of(example[:, i]) for i in range(example.shape[1])]
        return [Range.of(example)]
    if spec.dtype.size == 1 and spec.dtype.kind in ("int", "uint"):  # pixels and quantised numbers: any value is one
        limits = np.iinfo(spec.dtype.numpy)
        return [Range(low=limits.min, high=limits.max)]
    return [Range(low=0, high=1)] if spec.dtype.kind in ("int", "uint") else [Range()]


def _other(source: Source, base: Mapping[str, int]) -> dict[str, int]:
    """A second set of sizes at which the model runs, all different; empty where there is none."""
    for factor, growth, step in ((1, 0, 1), (2, 1, 0), (2, 0, 0)):
        sizes = {name: size * (factor + growth * i) + step * (1 + i) for i, (name, size) in enumerate(base.items())}
        try:
            if sizes:
                source.call(source.draw(3, sizes))
                return sizes
        except SetsailError:
            continue
    return {}


def _output(name: str, runs: Sequence[tuple[Mapping[str, int], Mapping[str, Array]]], *, batched: bool) -> TensorSpec:
    arrays = [answer[name] for _, answer in runs]
    dtype = dtype_of(arrays[0])
    if dtype is None:
        raise SetsailError("convert.unsupported", f"output {name!r} has dtype {arrays[0].dtype}", field=name,
                           expected="a dtype the wires can carry", todo="cast it to float32 in the model")  # fmt: skip
    if len({a.ndim for a in arrays}) > 1:
        raise SetsailError("convert.unsupported", f"output {name!r} changes its rank with the data", field=name,
                           value=[list(a.shape) for a in arrays], expected="one rank",
                           todo="reshape it in the model")  # fmt: skip
    shape: list[int | str] = []
    for axis in range(arrays[0].ndim):
        found = [a.shape[axis] for a in arrays]
        follows = [s for s in runs[0][0] if found == [sizes[s] for sizes, _ in runs]]
        if BATCH in follows and not batched:
            follows.remove(BATCH)
        follows.sort(key=lambda s: (s != BATCH) if axis == 0 else (s == BATCH))
        if follows:
            shape.append(follows[0])
        else:
            shape.append(found[0] if len(set(found)) == 1 else f"{name}_{axis}")
    return TensorSpec(name, dtype, tuple(shape))


def _labelled(outputs: tuple[TensorSpec, ...], labels: Sequence[str]) -> tuple[TensorSpec, ...]:
    if not labels:
        return outputs
    fits = [s.name for s in outputs if len(s.shape) == 2 and s.shape[1] == len(labels)]
    if not fits:
        raise SetsailError("convert.input", f"{len(labels)} labels fit no output", field="--labels",
                           value=list(labels), expected=", ".join(map(str, outputs)))  # fmt: skip
    return tuple(replace(s, labels=tuple(labels)) if s.name == fits[0] else s for s in outputs)


def _check_rows(source: Source, signature: Signature, sizes: Mapping[str, int]) -> tuple[TensorSpec, ...]:
    """Rows asked alone answer as rows asked together, within the parity tolerance. Returns the squeezed outputs."""
    squeezed: dict[str, TensorSpec] = {}
    inputs = source.draw(7, sizes, seed=3)
    together = source.call(inputs)
    for start, stop in ((0, 1), (6, 7), (1, 4)):
        alone = source.call({n: a[start:stop] for n, a in inputs.items()})
        for name, array in together.items():
            if not _close(array[start:stop], alone[name]):
                raise SetsailError(
                    "convert.input", f"rows {start} to {stop - 1} answer differently alone than beside other rows",
                    field=name, expected="a first axis that is the batch, whose rows do not influence each other",
                    todo="put the batch first, or fix the first axis of every input with a number: "
                    + " ".join(f'--input "{_fixed(s)}"' for s in source.inputs),
                )  # fmt: skip
            if alone[name].ndim != array.ndim:
                squeezed[name] = signature.output(name)
    for spec in squeezed.values():
        if any(isinstance(d, str) for d in spec.shape[1:]):
            raise SetsailError("convert.unsupported", f"output {spec.name!r} loses an axis at a batch of 1",
                               field=spec.name, value=str(spec), expected="one rank at every batch",
                               todo="give squeeze the axis it means")  # fmt: skip
    return tuple(squeezed.values())


def _fixed(spec: TensorSpec) -> str:
    return str(replace(spec, shape=(16, *("*" if isinstance(d, str) else d for d in spec.shape[1:]))))


def _probes(source: Source, base: Mapping[str, int], other: Mapping[str, int]) -> Iterator[Probe]:
    if source.example and all(s.name in source.example for s in source.inputs):
        rows = head(source.example, _KEPT) if source.batched else dict(source.example)
        yield Probe("example", rows, source.call(rows))
    for sizes, most, seed in ((base, _ROWS, 1), (other, 5, 2)):
        if sizes or seed == 1:
            widest = max((int(np.prod(a.shape[1:])) for a in source.draw(1, sizes).values()), default=1)
            drawn = source.draw(max(3, min(most, _CELLS // max(1, widest))), sizes, seed=seed)
            yield Probe("synthetic", drawn, source.call(drawn))


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _close(expected: Array, got: Array) -> bool:
    """Equal but for rounding. A model that squeezes a batch of 1 loses an axis, not its answer."""
    if expected.size != got.size:
        return False
    got = got.reshape(expected.shape)
    if expected.dtype.kind != "f":
        return bool(np.array_equal(expected, got))
    a, b = expected.astype(np.float64), got.astype(np.float64)
    return bool(np.allclose(b, a, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True))


def _last_line(fault: Any) -> str:
    return (str(fault).strip() or type(fault).__name__).splitlines()[0]
