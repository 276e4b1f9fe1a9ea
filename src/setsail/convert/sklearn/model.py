"""A fitted scikit-learn estimator or pipeline to a Conversion.

In order: read the layout of the rows (`inputs.py`), find out by asking the source which inputs may be missing, draw
probe rows and run the *source* on them, write the program (`emit.py`), and give its results the names, dtypes and
ranks that the source's own answers have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from setsail.convert.conversion import Conversion, Intent, Program
from setsail.convert.graph import Graph
from setsail.convert.outputs import OUTPUTS
from setsail.convert.sklearn.describe import hyperparameters, title, versions
from setsail.convert.sklearn.emit import Frame, Results, Value, emit
from setsail.convert.sklearn.inputs import Layout, read
from setsail.convert.sklearn.source import Source, probes, refine
from setsail.convert.sklearn.text import steps_of
from setsail.convert.sklearn.values import refuse
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing
from setsail.variants import Variant

__all__ = ["convert"]

_NO_KIND = "serve a classifier, regressor, clusterer, outlier detector or transformer"


def convert(estimator: Any, intent: Intent) -> Conversion:
    """Convert a live, fitted estimator or pipeline.

    Raises:
        SetsailError: `convert.unsupported` naming the estimator that has no exact conversion or is not fitted,
            `convert.example` or `convert.input` for the rows, `convert.run` when the source fails on its own example.
    """
    estimator = getattr(estimator, "best_estimator_", estimator)  # a search answers through the best it found
    _check(estimator)
    kind = _kind(estimator)
    layout, example = read(estimator, intent)
    layout, example, facts = refine(estimator, layout, example, intent.seed)
    kind = "text classifier" if layout.style == "text" and kind == "classifier" else kind
    source = Source(estimator, layout, kind, intent.labels)
    asked = probes(source, example, facts, intent.seed)
    outputs = source.specs(asked[0].outputs)
    program = _program(source, outputs)
    return Conversion(
        framework="scikit-learn",
        versions=versions(estimator),
        estimator=title(estimator),
        kind=kind,
        signature=Signature(layout.specs(), outputs, OUTPUTS[kind].defaults),
        programs=(program,),
        probes=asked,
        processing=Processing(steps_of(estimator, layout)),
        hyperparameters=hyperparameters(estimator),
    )


def _check(estimator: Any) -> None:
    try:
        check_is_fitted(estimator)
    except NotFittedError as fault:
        raise refuse(estimator, "is not fitted", "call fit first") from fault
    except TypeError as fault:
        raise refuse(estimator, "is no scikit-learn estimator") from fault
    if isinstance(getattr(estimator, "classes_", None), list):
        raise refuse(estimator, "predicts several labels for one row", "serve one model for each label")


def _kind(estimator: Any) -> str:
    """The row of the output table. Raises `convert.unsupported` for what has no answer to new rows."""
    if not hasattr(estimator, "predict") and (is_clusterer(estimator) or is_outlier_detector(estimator)):
        raise refuse(
            estimator, "answers only for the rows it was fitted on", "use one with predict (KMeans, novelty=True)"
        )
    if is_classifier(estimator):
        return "classifier" if hasattr(estimator, "predict_proba") else "classifier without probabilities"
    if is_regressor(estimator):
        return "regressor"
    if is_outlier_detector(estimator):
        return "outlier detector"
    if is_clusterer(estimator) or (hasattr(estimator, "predict") and hasattr(estimator, "fit_predict")):
        return "clusterer"  # a mixture calls itself a density estimator
    if hasattr(estimator, "transform"):
        return "transformer"
    raise refuse(estimator, "is of a kind that cannot be served", _NO_KIND)


# -- the program -----------------------------------------------------------------------------------------------------


def _program(source: Source, outputs: tuple[TensorSpec, ...]) -> Program:
    graph = Graph()
    results = emit(graph, source.estimator, _entry(graph, source.layout))
    for spec in outputs:
        _finish(graph, source, results, spec)
    data = graph.model(source.layout.specs(), outputs)
    return Program(Variant("onnx", "onnx", "float64", "model.onnx"), {"model.onnx": data})


def _entry(graph: Graph, layout: Layout) -> Value | Frame:
    """The program's inputs as emitters take them: numbers in float64, integers in int64."""
    if layout.style == "text":
        return Value(layout.columns[0].name, "string", None)
    if layout.style == "table":
        single = layout.dtype.name == "float32"
        name = layout.name if layout.dtype.name == "float64" else graph.cast(layout.name, "float64")
        names = tuple(c.name for c in layout.columns)
        return Value(name, "float64", len(names), names, single=single)
    columns = {}
    for column in layout.columns:
        kind, single = column.dtype.kind, column.dtype.name in ("float32", "float16")
        dtype = {"float": "float64", "int": "int64", "uint": "int64"}.get(kind, kind)
        name = graph.node("Unsqueeze", column.name, graph.constant([1], np.int64))
        name = name if dtype == column.dtype.name else graph.cast(name, dtype)
        columns[column.name] = Value(name, dtype, 1, (column.name,), column.null, single)
    return Frame(columns)


def _finish(graph: Graph, source: Source, results: Results, spec: TensorSpec) -> None:
    """Give one result its public name, the source's dtype and exactly the source's rank."""
    if spec.name == "classes":
        count = len(source.classes)
        rows = graph.node("Shape", source.layout.columns[0].name)
        shape = graph.node("Concat", rows, graph.constant([count], np.int64), axis=0)
        labels = graph.constant(source.classes.reshape(1, -1))
        graph.rename(graph.node("Expand", labels, shape), spec.name)
        return
    if spec.name == "label" and "index" in results:
        graph.rename(graph.node("Gather", graph.constant(source.classes), results["index"].name), spec.name)
        return
    key = "probabilities" if spec.name == "scores" else spec.name
    if key not in results:
        raise refuse(source.estimator, f"has no exact conversion of its {spec.name}")
    value = results[key]
    name = value.name if value.dtype == spec.dtype.name else graph.cast(value.name, spec.dtype.name)
    if (value.width is None) != (len(spec.shape) == 1) or len(spec.shape) > 2:
        shape = [d if isinstance(d, int) else -1 for d in spec.shape]
        name = graph.node("Reshape", name, graph.constant(shape, np.int64))
    graph.rename(name, spec.name)
