"""Rows to try a converted model on, drawn from nobody's data.

Three kinds of probe exist (`Probe.what`): `example`, the person's own rows; `synthetic`, drawn here from what the model
says about its columns; `boundary`, drawn here beside everything that decides (thresholds, category levels, missing
values, extremes). A converter builds its inputs here, runs the *source* on them and stores what it answered.

How to use it::

    ranges = {"input": [Range(low=0, high=8, thresholds=(2.45, 4.95)), Range(levels=(0, 1, 2))]}
    rows = synthetic(signature.inputs, ranges, rows=128, seed=intent.seed)            # {"input": [128, 2]}
    edges = boundary(signature.inputs, ranges, seed=intent.seed, limit=2000)          # {"input": [R, 2]} or {}

* `specs` are the signature's inputs, of any dtype and rank. `ranges` maps an input's name to one `Range` for each
  column of its last axis ([N, k] input) or to a single one ([N] input); inputs without an entry get `Range()`.
* Free dimensions other than the batch get their size from `sizes` (`{"seq": 7}`), else 8.
* `missing` values are drawn only where the input is `nullable` and the column's `Range.missing` is not switched off:
  NaN for floats, NULL for text.
* `Range.of(values)` reads a column of example rows; combine it with thresholds through `dataclasses.replace`.
* `boundary` returns {} where there is nothing to be beside. `head(inputs, n)` keeps the first n rows.

All draws come from `numpy.random.default_rng(seed)`, so that one model gives one artifact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from setsail.signature import TensorSpec
from setsail.tensors import NULL, Array

__all__ = ["UNKNOWN", "Range", "Ranges", "boundary", "head", "synthetic"]

UNKNOWN: Final = "never seen in training"
_WORDS: Final = ("", "a", "Zebra", "ünïcode", "two words", "7")
_MISSING_SHARE: Final = 0.1
_DEFAULT_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Range:
    """What is known about one column.

    Attributes:
        low, high: where numbers lie; None for "not known" (then from the thresholds, else -3 to 3, integers 0 to 9).
        levels: the values of a categorical column, numbers or texts; drawn instead of a range.
        thresholds: where the model decides.
        integer: whether a float column holds whole numbers.
        missing: whether values may be missing (where the input is nullable at all).
        closed: whether the model refuses a value that is not in `levels`.
    """

    low: float | None = None
    high: float | None = None
    levels: tuple[Any, ...] = ()
    thresholds: tuple[float, ...] = ()
    integer: bool = False
    missing: bool = True
    closed: bool = False

    @classmethod
    def of(cls, values: Array, *, max_levels: int = 64) -> Range:
        """The range of a column of rows: bounds of numbers, levels of text, and whether any value is missing."""
        if values.dtype.kind in "OUST":
            texts = [str(v) for v in values.ravel().tolist()]
            levels = tuple(sorted(set(texts) - {NULL}))[:max_levels]
            return cls(levels=levels, missing=NULL in texts)
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size == 0:
            return cls()
        whole = bool(values.dtype.kind != "f" or np.all(finite == np.round(finite)))
        return cls(float(finite.min()), float(finite.max()), integer=whole, missing=finite.size < values.size)

    def bounds(self, kind: str) -> tuple[float, float]:
        """Lowest and highest value to draw for a dtype of this kind."""
        low, high = (0.0, 9.0) if kind in ("int", "uint") or self.integer else (-3.0, 3.0)
        finite = [t for t in self.thresholds if math.isfinite(t)]
        if finite:
            spread = max(max(finite) - min(finite), abs(max(finite)), 1e-3)
            low, high = min(finite) - 0.5 * spread, max(finite) + 0.5 * spread
        return (low if self.low is None else self.low, high if self.high is None else self.high)


Ranges = Mapping[str, Sequence[Range]]


def synthetic(
    specs: Sequence[TensorSpec],
    ranges: Ranges | None = None,
    *,
    rows: int = 128,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Draw `rows` rows for every input, in order; missing values and rounded decimals among them."""
    rng = np.random.default_rng(seed)
    return {spec.name: _draw(rng, spec, _columns(spec, ranges or {}), rows, sizes or {}) for spec in specs}


def boundary(
    specs: Sequence[TensorSpec],
    ranges: Ranges | None = None,
    *,
    seed: int = 0,
    limit: int = 2000,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Rows in which one cell each lies on an edge: beside a threshold, a level, an unknown level, missing, extreme.

    The other cells are synthetic. When there are more than `limit` edges, an even, seeded choice of them is kept.
    """
    edges = [
        (spec.name, column, value)
        for spec in specs
        if len(spec.shape) <= 2
        for column, known in enumerate(_columns(spec, ranges or {}))
        for value in _edges(spec, known)
    ]
    if not edges:
        return {}
    if len(edges) > limit:
        chosen = np.random.default_rng(seed).choice(len(edges), size=limit, replace=False)
        edges = [edges[i] for i in np.sort(chosen)]
    inputs = synthetic(specs, ranges, rows=len(edges), seed=seed + 1, sizes=sizes)
    for row, (name, column, value) in enumerate(edges):
        array = inputs[name]
        array[(row, column) if array.ndim == 2 else row] = value
    return inputs


def head(inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """The first `rows` rows of every input."""
    return {name: array[:rows] for name, array in inputs.items()}


def _columns(spec: TensorSpec, ranges: Ranges) -> Sequence[Range]:
    """One range for each column of the last axis; one for everything where the last axis is not columns."""
    known = tuple(ranges.get(spec.name, ()))
    last = spec.shape[-1] if len(spec.shape) == 2 else 1
    if isinstance(last, int) and len(known) == last:
        return known
    default = known[0] if known else Range()
    return (default,) * (last if isinstance(last, int) else 1)


def _draw(
    rng: np.random.Generator, spec: TensorSpec, columns: Sequence[Range], rows: int, sizes: Mapping[str, int]
) -> Array:
    shape = tuple(rows if i == 0 and isinstance(d, str) else d if isinstance(d, int) else sizes.get(d, _DEFAULT_SIZE)
                  for i, d in enumerate(spec.shape))  # fmt: skip
    if len(shape) != 2 or len(columns) != shape[1]:
        return _values(rng, spec, columns[0], shape)
    return np.stack([_values(rng, spec, known, shape[:1]) for known in columns], axis=1)


def _values(rng: np.random.Generator, spec: TensorSpec, known: Range, shape: tuple[int, ...]) -> Array:
    """Draw one block of cells of one range."""
    kind, dtype = spec.dtype.kind, spec.dtype.numpy
    missing = rng.random(shape) < _MISSING_SHARE if spec.nullable and known.missing else np.zeros(shape, dtype=bool)
    levels = known.levels or spec.categories
    if kind == "string" or levels:
        pool = _pool(kind, levels, closed=known.closed or spec.closed)
        values = np.empty(len(pool), dtype=dtype)
        values[:] = pool
        drawn: Array = values[rng.integers(0, len(values), size=shape)]
    elif kind == "bool":
        return np.asarray(rng.integers(0, 2, size=shape).astype(bool))
    else:
        low, high = known.bounds(kind)
        if kind in ("int", "uint"):
            limits = np.iinfo(dtype)
            low, high = max(low, limits.min), min(high, limits.max)
            return np.asarray(rng.integers(int(low), int(high), size=shape, endpoint=True).astype(dtype))
        numbers = rng.uniform(low, max(high, low), size=shape)
        decimals = 0 if known.integer else max(0, 2 - round(math.log10(max(high - low, 1e-12))))
        rounded = np.round(numbers, decimals)
        drawn = np.where(rng.random(shape) < (1.0 if known.integer else 0.5), rounded, numbers).astype(dtype)
    if kind in ("float", "string"):
        drawn[missing] = NULL if kind == "string" else np.nan
    return drawn


def _pool(kind: str, levels: tuple[Any, ...], *, closed: bool) -> list[Any]:
    """The texts or levels to draw from, an unknown one among them where the model takes it."""
    if kind != "string":
        return [float(v) if kind == "float" else int(v) for v in levels]
    pool = [str(v) for v in levels] or list(_WORDS)
    return pool if closed else [*pool, UNKNOWN]


def _edges(spec: TensorSpec, known: Range) -> list[Any]:
    """The values of one column at which something changes, each once, in a fixed order."""
    kind, dtype = spec.dtype.kind, spec.dtype.numpy
    levels = known.levels or spec.categories
    closed = known.closed or spec.closed
    found: list[Any] = []
    if kind == "string":
        found += [str(v) for v in levels] + ([] if closed else [UNKNOWN, ""])
        if spec.nullable and known.missing:
            found.append(NULL)
        return list(dict.fromkeys(found))
    if kind == "bool":
        return [False, True]
    if levels:
        numbers = [float(v) for v in levels]
        found += numbers if closed else [*numbers, max(numbers) + 1, min(numbers) - 1]
    else:
        for threshold in known.thresholds:
            found += _beside(float(threshold), dtype)
        low, high = known.bounds(kind)
        span = (high - low) or 1.0
        found += [low, high, low - span, high + span, 0.0]
    if kind in ("int", "uint"):
        limits = np.iinfo(dtype)
        return list(dict.fromkeys(int(v) for v in found if math.isfinite(v) and limits.min <= v <= limits.max))
    if spec.nullable and known.missing:
        found.append(math.nan)
    return list(dict.fromkeys(found))


def _beside(threshold: float, dtype: np.dtype[Any]) -> list[float]:
    """A threshold, one step of the dtype (and of float32, to which many sources cast) either side, and decimals."""
    if not math.isfinite(threshold):
        return []
    if dtype.kind != "f":
        return [math.floor(threshold), math.ceil(threshold), math.floor(threshold) - 1, math.ceil(threshold) + 1]
    steps: list[float] = []
    with np.errstate(over="ignore"):
        for kind in dict.fromkeys((dtype, np.dtype(np.float32))):
            at = kind.type(threshold)
            steps += [float(v) for v in (np.nextafter(at, kind.type(-np.inf)), at, np.nextafter(at, kind.type(np.inf)))]
    size = math.floor(math.log10(abs(threshold))) if threshold else 0
    for decimals in (1 - size, 3 - size):
        scale = 10.0**decimals
        if math.isfinite(threshold * scale):
            steps += [math.floor(threshold * scale) / scale, math.ceil(threshold * scale) / scale]
    return [v for v in dict.fromkeys(steps) if math.isfinite(v)]
