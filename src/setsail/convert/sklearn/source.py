"""The source model as something that answers signature-shaped rows, and the rows it is asked.

`Source.run` is the truth every program is held against. `refine` asks the source what may be missing; `probes` draws
rows (`convert/probes.py`) and stores the source's answers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from sklearn.exceptions import NotFittedError

from setsail.convert.conversion import Probe
from setsail.convert.outputs import OUTPUTS
from setsail.convert.probes import Range, boundary, head, synthetic
from setsail.convert.sklearn.facts import Facts, learn, parts
from setsail.convert.sklearn.inputs import Layout
from setsail.convert.sklearn.ties import tied
from setsail.convert.sklearn.values import refuse
from setsail.errors import SetsailError
from setsail.signature import BATCH, TensorSpec
from setsail.tensors import NULL, Array, dtype_of

__all__ = ["Source", "probes", "refine"]

_EXAMPLE_ROWS: Final = 1000
_SYNTHETIC_ROWS: Final = 128
_MOST_NAMES: Final = 1000  # a vocabulary's worth of names would outweigh the model's own contract
_ENCODERS: Final = ("OneHotEncoder", "OrdinalEncoder")


@dataclass(frozen=True, slots=True)
class Source:
    """The estimator as something that answers signature-shaped rows with signature-shaped outputs."""

    estimator: Any
    layout: Layout
    kind: str
    labels: tuple[str, ...]

    @property
    def classes(self) -> Array:
        """The labels in the order of the scores, in the signature's dtype; `--labels` replaces the model's own."""
        classes = np.asarray(self.estimator.classes_)
        if self.labels:
            if len(self.labels) != len(classes):
                raise SetsailError("convert.input", "the labels do not fit the model", field="labels",
                                   value=list(self.labels), expected=f"{len(classes)} labels")  # fmt: skip
            return np.array(self.labels, dtype=object)
        if classes.dtype.kind in "OUS":
            return np.array([str(c) for c in classes.tolist()], dtype=object)
        return classes.astype(np.int64) if classes.dtype.kind in "iu" else classes

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The source's own outputs by name."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = self.layout.rows(inputs)
            return {name: self._answer(name, rows) for name in self._names()}

    def _names(self) -> list[str]:
        names = list(OUTPUTS[self.kind].outputs)
        if self.kind == "clusterer" and not hasattr(self.estimator, "transform"):
            names.remove("distances")
        if self.kind == "outlier detector" and not hasattr(self.estimator, "decision_function"):
            names.remove("score")
        if self.kind == "classifier without probabilities" and not hasattr(self.estimator, "decision_function"):
            names.remove("decision")
        return names

    def _answer(self, name: str, rows: Any) -> Array:
        model = self.estimator
        if name == "classes":
            return np.tile(self.classes, (len(rows), 1))
        if name == "label" and self.kind != "outlier detector":
            predicted = np.asarray(model.predict(rows))
            order = {c: i for i, c in enumerate(np.asarray(model.classes_).tolist())}
            return np.asarray(self.classes[[order[p] for p in predicted.tolist()]])
        method = _METHODS.get(name, "predict")
        answer = getattr(model, method)(rows)
        array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
        if array.dtype.kind in "iu" and name == "label":
            array = array.astype(np.int64)
        if isinstance(answer, list) or (array.dtype.kind == "O" and dtype_of(array) is None):
            raise refuse(model, "answers with something that is no array")
        return array

    def specs(self, outputs: Mapping[str, Array]) -> tuple[TensorSpec, ...]:
        """The signature's outputs, read off the source's own answers."""
        specs = []
        for name, array in outputs.items():
            dtype = dtype_of(array)
            if dtype is None:
                raise refuse(self.estimator, f"answers {name} as {array.dtype}, which has no wire type")
            labelled = name in ("label", "probabilities", "scores", "decision") and self.kind != "outlier detector"
            labels = tuple(str(c) for c in self.classes.tolist()) if labelled else ()
            if name == "decision" and (array.ndim == 1 or array.shape[1] != len(labels)):
                labels = ()
            columns = _feature_names(self.estimator, array) if name == "transformed" else ()
            specs.append(TensorSpec(name, dtype, (BATCH, *array.shape[1:]), columns=columns, labels=labels))
        return tuple(specs)


_METHODS: Mapping[str, str] = {
    "probabilities": "predict_proba",
    "scores": "predict_proba",
    "decision": "decision_function",
    "score": "decision_function",
    "distances": "transform",
    "transformed": "transform",
}


def _feature_names(estimator: Any, array: Array) -> tuple[str, ...]:
    try:
        names = tuple(str(n) for n in estimator.get_feature_names_out())
    except (AttributeError, ValueError, NotFittedError):
        return ()
    return names if array.ndim == 2 and len(names) == array.shape[1] <= _MOST_NAMES else ()


# -- what may be missing ---------------------------------------------------------------------------------------------


def refine(
    estimator: Any, layout: Layout, example: dict[str, Array] | None, seed: int
) -> tuple[Layout, dict[str, Array] | None, list[Facts]]:
    """Add to the columns what the model knows of them, and whether the source takes a missing value there."""
    facts = learn(estimator, len(layout.columns))
    columns = tuple(
        replace(c, facts=f, null=f.null or c.null) if c.dtype.kind == "string" else replace(c, facts=f)
        for c, f in zip(layout.columns, facts, strict=True)
    )
    layout = replace(layout, columns=columns)
    if layout.style == "text":
        return layout, example, facts
    rows = head(example, 1) if example else synthetic(layout.specs(), _ranges(layout, facts), rows=1, seed=seed)
    taken = _nullable(estimator, layout, rows)
    columns = tuple(replace(c, nullable=n) for c, n in zip(layout.columns, taken, strict=True))
    layout = replace(layout, columns=columns)
    contracts = {c.nullable for c in columns} | ({"levels"} if any(f.closed for f in facts) else set())
    if layout.style == "table" and len(contracts) > 1:
        example = layout.split(example) if example else None
        layout = layout.apart()
    return layout, example, facts


def _nullable(estimator: Any, layout: Layout, rows: dict[str, Array]) -> list[bool]:
    """Ask the source, one column at a time, whether it takes a missing value."""
    apart = layout.split(rows) if layout.style == "table" else rows
    single = layout.apart()
    able = [c.dtype.kind in ("float", "string") for c in layout.columns]

    def taken(chosen: list[int]) -> bool:
        tried = {name: array.copy() for name, array in apart.items()}
        for i in chosen:
            column = layout.columns[i]
            tried[column.name][:] = NULL if column.dtype.kind == "string" else np.nan
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                method = getattr(estimator, "predict", None) or estimator.transform
                method(single.rows(tried))
        except Exception:  # whatever the source says, it does not take it
            return False
        return True

    if taken([i for i, a in enumerate(able) if a]):
        return able
    if not any(type(p).__name__ in ("ColumnTransformer", *_ENCODERS) for p in parts(estimator)):
        return [False] * len(able)
    return [a and taken([i]) for i, a in enumerate(able)]


# -- probes ----------------------------------------------------------------------------------------------------------


def _ranges(layout: Layout, facts: list[Facts]) -> dict[str, list[Range]]:
    found = [
        Range(f.low, f.high, f.levels or f.samples, f.thresholds, missing=c.nullable, closed=f.closed)
        for c, f in zip(layout.columns, facts, strict=True)
    ]
    if layout.style == "table":
        return {layout.name: found}
    return {c.name: [r] for c, r in zip(layout.columns, found, strict=True)}


def probes(source: Source, example: dict[str, Array] | None, facts: list[Facts], seed: int) -> tuple[Probe, ...]:
    layout = source.layout
    ranges = _ranges(layout, facts)
    if example is not None:
        ranges = _seen(layout, ranges, example)
    specs = layout.specs()
    drawn = [("synthetic", synthetic(specs, ranges, rows=_SYNTHETIC_ROWS, seed=seed))]
    drawn.append(("boundary", boundary(specs, ranges, seed=seed)))
    found = []
    if example is not None:
        rows = head(example, _EXAMPLE_ROWS)
        try:
            found.append(Probe("example", rows, source.run(rows)))
        except SetsailError:
            raise
        except Exception as fault:  # any of the source's own errors
            said = str(fault).strip().splitlines() or [type(fault).__name__]
            raise SetsailError(
                "convert.run", "the source model fails on the example", field="example", value=said[0]
            ) from fault
    for what, rows in drawn:
        probe = _answered(source, what, rows) if rows else None
        if probe is not None:
            found.append(probe)
    if not found:
        raise SetsailError("convert.run", "the source model fails on every row drawn for it",
                           todo="pass example= with a few rows the model takes")  # fmt: skip
    return tuple(part for probe in found for part in _apart(source, probe))


def _apart(source: Source, probe: Probe) -> list[Probe]:
    """Rows that chance decides in the source itself are compared as rows of their own."""
    ties = tied(source.estimator, source.layout.rows(probe.inputs))
    if ties is None or not ties[0].any():
        return [probe]
    mask, span = ties

    def cut(rows: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        return {n: a[rows] for n, a in probe.inputs.items()}, {n: a[rows] for n, a in probe.outputs.items()}

    rest = [Probe(probe.what, *cut(~mask))] if not mask.all() else []
    return [*rest, Probe("tied", *cut(mask), span)]


def _seen(layout: Layout, ranges: dict[str, list[Range]], example: dict[str, Array]) -> dict[str, list[Range]]:
    """Bounds of numbers as in the example. Its texts are never used: what is drawn must be nobody's."""
    known: dict[str, list[Range]] = {}
    for name, columns in ranges.items():
        array = example[name].reshape(len(example[name]), -1)
        known[name] = []
        for index, column in enumerate(columns):
            if array.dtype.kind in "biuf" and not column.levels:
                seen = Range.of(array[:, index])
                column = replace(column, low=seen.low, high=seen.high, integer=seen.integer)
            known[name].append(column)
    return known


def _answered(source: Source, what: str, rows: dict[str, Array]) -> Probe | None:
    """Drawn rows with the source's answers; rows the source itself refuses are left out."""
    try:
        return Probe(what, rows, source.run(rows))
    except SetsailError:
        raise
    except Exception:  # some row is one the source refuses: keep the others
        count = min(len(next(iter(rows.values()))), 256)
        kept = [i for i in range(count) if _runs(source, {n: a[i : i + 1] for n, a in rows.items()})]
        if not kept:
            return None
        rows = {name: array[kept] for name, array in rows.items()}
        return Probe(what, rows, source.run(rows))


def _runs(source: Source, row: dict[str, Array]) -> bool:
    try:
        source.run(row)
    except Exception:  # the question is only whether it runs
        return False
    return True
