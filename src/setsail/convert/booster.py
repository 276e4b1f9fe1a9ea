"""From a boosted ensemble to a Conversion: what XGBoost, LightGBM and CatBoost have in common.

A framework's module parses its model into an `Ensemble` (`trees.py`), says in a `Plan` (`links.py`) how sums become
answers, and gives a function that asks the source itself. Everything else is here: example, signature, probes,
programs and their outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Final

import numpy as np

from setsail.convert.columns import Columns
from setsail.convert.conversion import Conversion, Intent, Probe, Program
from setsail.convert.graph import Graph
from setsail.convert.links import Plan, answers
from setsail.convert.outputs import OUTPUTS
from setsail.convert.probes import Range, boundary, head, synthetic
from setsail.convert.trees import Ensemble
from setsail.errors import SetsailError
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.steps import NONE, Processing
from setsail.tensors import BY_NAME, Array, dtype_of
from setsail.variants import Variant

__all__ = ["Model", "Rows", "assemble", "numbered", "package_versions", "plain_values", "read_rows"]

_EXAMPLE_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Rows:
    """A booster's input of numbers: dtype and width of the table, its own column names, and the example's rows.

    Rows with categories are `Columns` (`columns.py`).
    """

    dtype: str
    width: int
    names: tuple[str, ...] = ()
    example: Array | None = None

    def spec(self) -> TensorSpec:
        return TensorSpec("input", BY_NAME[self.dtype], (BATCH, self.width), columns=self.names, nullable=True)

    def specs(self) -> tuple[TensorSpec, ...]:
        return (self.spec(),)

    def given(self, inputs: Mapping[str, Array]) -> Array:
        """The signature's inputs as the source takes them."""
        return inputs["input"]


# -- the example -------------------------------------------------------------------------------------------------------


def read_rows(intent: Intent, *, width: int, names: tuple[str, ...], dtype: str | None) -> Rows:
    """The table a booster takes.

    Args:
        names: the model's own column names, or empty.
        dtype: the one dtype the source takes, or None for "what the person has": the example's or `--input`'s, with
            float32 where neither says.

    Raises:
        SetsailError: `convert.input` when the example does not fit the model.
    """
    stated = intent.inputs[0].dtype.name if intent.inputs else None
    if intent.inputs:
        _check_stated(intent.inputs, width)
    if intent.example is None:
        return Rows(dtype or stated or "float32", width, names)
    array, names = _table(intent.example, names)
    if array.ndim != 2 or array.shape[1] != width or not len(array):
        raise _unfit("has another shape", list(array.shape), f"[rows, {width}]")
    if array.dtype.kind not in "fiub":
        raise _unfit("is no table of numbers", str(array.dtype), "numbers")
    found = "float32" if array.dtype in (np.float32, np.float16) else "float64"
    chosen = dtype or stated or found
    return Rows(chosen, width, names, array.astype(chosen))


def _check_stated(specs: tuple[TensorSpec, ...], width: int) -> None:
    only = specs[0]
    fits = len(specs) == 1 and len(only.shape) == 2 and only.shape[1] in (width, "d1")
    if not fits or only.dtype.name not in ("float32", "float64"):
        raise SetsailError("convert.input", "the input text does not fit the model", field="--input",
                           value=", ".join(map(str, specs)), expected=f"input:float32[*,{width}]")  # fmt: skip


def _table(example: Any, names: tuple[str, ...]) -> tuple[Array, tuple[str, ...]]:
    """An example as a matrix in the model's column order, and the column names as far as anybody knows them."""
    if hasattr(example, "toarray"):
        raise _unfit("is sparse", type(example).__name__, "dense rows: some models read an absent cell as missing")
    if isinstance(example, Mapping):
        example = {str(k): np.asarray(v) for k, v in example.items()}
        found: tuple[str, ...] = tuple(example)
    elif hasattr(example, "columns") and hasattr(example, "iloc"):
        example = {str(c): example.iloc[:, i].to_numpy() for i, c in enumerate(example.columns)}
        found = tuple(example)
    else:
        return np.asarray(example), names
    alike = {n.replace(" ", "_"): n for n in found} | {n: n for n in found}  # LightGBM writes `_` for a blank
    lacking = [n for n in names if n not in alike]
    if lacking:
        raise _unfit(f"lacks the column {lacking[0]!r} of the model", list(found), ", ".join(names[:12]))
    order = tuple(alike[n] for n in names) or found
    odd = [n for n in order if example[n].dtype.kind not in "fiub"]
    if odd:
        raise _unfit(f"has a column {odd[0]!r} that is no number", str(example[odd[0]].dtype), "numbers")
    return np.stack([example[n] for n in order], axis=1), order


def _unfit(why: str, value: object, expected: str) -> SetsailError:
    return SetsailError("convert.input", f"the example {why}", field="example", value=value, expected=expected)


# -- the conversion ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Model:
    """Everything a framework's module says of one booster.

    Attributes:
        ensemble: None where trees cannot say it (linear boosters); then only the native variant is written.
        run: the source itself: rows as `rows.given` has them -> its outputs by name, before labels are replaced.
        native: the variant that runs the framework's own library, and its file.
        ranges: lowest and highest value of each column in training, where the model says.
        levels: the numbers that stand for categories, by column of a table of numbers.
    """

    framework: str
    estimator: str
    versions: Mapping[str, str]
    plan: Plan
    rows: Rows | Columns
    ensemble: Ensemble | None
    run: Callable[[Any], dict[str, Array]]
    native: Program
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ranges: tuple[tuple[float, float] | None, ...] = ()
    levels: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def numbered(rows: Rows | Columns, columns: Iterable[int]) -> tuple[str, ...]:
    """A note where columns of a table take the numbers of categories whose names nobody knows."""
    asked = [str(rows.names[i] if rows.names else i) for i in sorted(columns)] if isinstance(rows, Rows) else []
    return (f"numbers of categories go into {', '.join(asked)}",) if asked else ()


def package_versions(*packages: str) -> dict[str, str]:
    """Version by package, of imported packages; a distribution may have another name (`xgboost-cpu`)."""
    return {name: str(import_module(name).__version__) for name in sorted(packages)}


def plain_values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters that somebody set to a JSON scalar."""
    kept = {k: v for k, v in sorted(parameters.items()) if isinstance(v, bool | int | float | str)}
    return {k: v for k, v in kept.items() if v == v and v not in (np.inf, -np.inf)}


def assemble(model: Model, intent: Intent) -> Conversion:
    """Probes, signature and programs of a booster.

    Raises:
        SetsailError: `convert.input` for labels that do not fit, `convert.run` when the source fails on its example.
    """
    labels = _labels(model.plan, intent.labels)
    probes = tuple(_probes(model, labels, intent.seed))
    outputs = tuple(_output(name, array, labels) for name, array in probes[0].outputs.items())
    signature = Signature(model.rows.specs(), outputs, OUTPUTS[model.plan.kind].defaults)
    processing, inner = NONE, signature
    if isinstance(model.rows, Columns) and model.rows.matrix:
        inner = Signature(model.rows.inner(), outputs, signature.defaults)
        processing = Processing(model.rows.steps(), inner)
    programs = [*_programs(model, labels, inner), model.native]
    return Conversion(
        framework=model.framework, versions=model.versions, estimator=model.estimator, kind=model.plan.kind,
        signature=signature, programs=tuple(programs), probes=probes, processing=processing,
        hyperparameters=model.hyperparameters, notes=model.notes,
    )  # fmt: skip


def _labels(plan: Plan, wanted: tuple[str, ...]) -> Array | None:
    """Class labels as the signature has them: int64, float64, bool or text."""
    if plan.classes is None:
        if wanted:
            raise SetsailError("convert.input", f"a {plan.kind} has no labels", field="labels", value=list(wanted))
        return None
    if wanted:
        if len(wanted) != len(plan.classes):
            raise SetsailError("convert.input", "the labels do not fit the model", field="labels", value=list(wanted),
                               expected=f"{len(plan.classes)} labels")  # fmt: skip
        return np.array(wanted, dtype=object)
    if plan.classes.dtype.kind in "OUS":
        return np.array([str(c) for c in plan.classes.tolist()], dtype=object)
    return plan.classes.astype(np.int64) if plan.classes.dtype.kind in "iu" else plan.classes


def _output(name: str, array: Array, labels: Array | None) -> TensorSpec:
    dtype = dtype_of(array)
    assert dtype is not None, "boosters answer numbers, and labels are of a dtype we have"
    texts = tuple(str(c) for c in labels.tolist()) if labels is not None and name != "decision" else ()
    return TensorSpec(name, dtype, (BATCH, *array.shape[1:]), labels=texts)


def _probes(model: Model, labels: Array | None, seed: int) -> list[Probe]:
    specs, ranges, rows = model.rows.specs(), _ranges(model), model.rows
    drawn = {"synthetic": synthetic(specs, ranges, seed=seed), "boundary": boundary(specs, ranges, seed=seed)}
    if rows.example is not None:
        example = rows.example if isinstance(rows, Columns) else {"input": rows.example}
        drawn = {"example": head(example, _EXAMPLE_ROWS), **drawn}
    probes = []
    for what, inputs in drawn.items():
        try:
            with warnings.catch_warnings():  # e.g. that an array has no column names
                warnings.simplefilter("ignore")
                found = model.run(rows.given(inputs))
        except SetsailError:
            raise
        except Exception as fault:  # any of the source's own errors
            said = (str(fault).strip() or type(fault).__name__).splitlines()[-1]
            raise SetsailError("convert.run", f"the source model fails on its {what} rows", value=said) from fault
        outputs = {name: _relabelled(name, found[name], model.plan, labels) for name in _names(model.plan, found)}
        span = _span(model, outputs) if what == "boundary" else 0.0
        probes.append(Probe(what, inputs, outputs, leaf_span=span))
    return probes


def _ranges(model: Model) -> Mapping[str, Sequence[Range]]:
    """What the model knows of its columns: levels; bounds of training, else around its thresholds."""
    every = model.ensemble.thresholds if model.ensemble else ()
    if isinstance(model.rows, Columns):
        return model.rows.ranges(every, model.ranges)
    found = []
    for column in range(model.rows.width):
        levels = model.levels.get(column, ())
        low, high = (model.ranges[column] if column < len(model.ranges) else None) or (None, None)
        known = Range(low, high, thresholds=every[column] if every else ())
        found.append(Range(levels=levels) if levels else known)
    return {"input": found}


def _names(plan: Plan, found: Mapping[str, Array]) -> list[str]:
    return [name for name in OUTPUTS[plan.kind].outputs if name in found]


def _relabelled(name: str, array: Array, plan: Plan, labels: Array | None) -> Array:
    if name != "label" or labels is None or plan.classes is None:
        return array
    order = {c: i for i, c in enumerate(plan.classes.tolist())}
    return np.asarray(labels[[order[c] for c in array.tolist()]])


def _span(model: Model, outputs: Mapping[str, Array]) -> float:
    """The largest change of an answer that one leaf makes. Sigmoid and softmax only shrink it."""
    if model.ensemble is None:
        return 0.0
    span = model.ensemble.leaf_span * abs(model.plan.coefficient) / model.plan.average
    if model.plan.link not in ("exp", "signed_square"):
        return span
    top = max((float(np.nanmax(np.abs(a))) for a in outputs.values() if a.dtype.kind == "f"), default=0.0)
    return float(top * np.expm1(span)) if model.plan.link == "exp" else span * (2 * top**0.5 + span)


def _programs(model: Model, labels: Array | None, signature: Signature) -> list[Program]:
    if model.ensemble is None:
        return []
    source = model.ensemble
    kinds = [("onnx", source.dtype)] + ([("onnx-f64", "float64")] if source.dtype == "float32" else [])
    programs = []
    for ident, dtype in kinds:
        ensemble = replace(source, dtype=dtype)
        graph = Graph()
        results = answers(graph, ensemble, model.plan, "input", signature.inputs[0].dtype.name)
        for spec in signature.outputs:
            graph.rename(_named(graph, results, spec, dtype, labels), spec.name)
        data = graph.model(signature.inputs, signature.outputs)
        programs.append(Program(Variant(ident, "onnx", dtype, "model.onnx"), {"model.onnx": data}))
    return programs


def _named(graph: Graph, results: Mapping[str, str], spec: TensorSpec, dtype: str, labels: Array | None) -> str:
    """One output by its public name, in the source's dtype."""
    if spec.name == "label":
        assert labels is not None, "only classifiers have labels"
        if spec.dtype.name == "int64" and labels.tolist() == list(range(len(labels))):
            return results["index"]
        return str(graph.node("Gather", graph.constant(labels), results["index"], axis=0))
    value = results.get(spec.name) or results["value"]
    return value if spec.dtype.name == dtype else graph.cast(value, spec.dtype.name)
