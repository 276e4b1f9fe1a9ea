"""Estimators without an emitter of ours: skl2onnx converts that one leaf, in double precision.

Only leaves come here: pipelines, column transformers and ensembles are composed by our own emitters, because the public
converter rounds between steps. ONNX ML opset 3 is asked for always: the newest that has every kernel. What comes
back is held against the source by parity, as everything is.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import skl2onnx
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

from setsail.convert.graph import ML, OPSETS, Graph
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.values import matrix, refuse

__all__ = ["emit"]

_TYPES = {"float64": DoubleTensorType, "int64": Int64TensorType, "string": StringTensorType}
_TODO = "see docs/frameworks/scikit-learn.md for what converts, or use another estimator"


def emit(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Convert one leaf through skl2onnx and append its graph. Raises `convert.unsupported` naming its class."""
    value = matrix(graph, x)
    if value.dtype not in _TYPES:
        value = Value(graph.cast(value.name, "float64"), "float64", value.width)
    model = _convert(estimator, value)
    names = graph.inline(model, [value.name])
    outputs = {proto.name.split("_", 2)[-1]: name for proto, name in zip(model.graph.output, names, strict=True)}
    first, second = names[0], names[1] if len(names) > 1 else None
    if is_classifier(estimator):
        return _classifier(graph, estimator, first, second)
    if is_regressor(estimator):
        return {"prediction": _ranked(graph, first, _answer(estimator, "predict", value))}
    if is_outlier_detector(estimator):
        return _outliers(graph, estimator, first, second)
    if is_clusterer(estimator):
        clusters = {"cluster": Value(graph.node("Reshape", first, graph.constant([-1], np.int64)), "int64", None)}
        if second is not None and hasattr(estimator, "transform"):
            clusters["distances"] = _ranked(graph, second, _answer(estimator, "transform", value))
        return clusters
    if not hasattr(estimator, "transform") or not outputs:
        raise refuse(estimator, "is of a kind that cannot be served", _TODO)
    return {"transformed": _ranked(graph, first, _answer(estimator, "transform", value))}


def _convert(estimator: Any, value: Value) -> Any:
    kind = _TYPES[value.dtype]
    options = {id(estimator): {"zipmap": False}} if is_classifier(estimator) else None
    if options and not hasattr(estimator, "predict_proba"):
        options[id(estimator)]["raw_scores"] = True
    logger = logging.getLogger("skl2onnx")
    level, logger.level = logger.level, logging.ERROR
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return skl2onnx.convert_sklearn(
                estimator, initial_types=[("x", kind([None, value.width]))],
                target_opset={"": OPSETS[""], ML: OPSETS[ML]}, options=options,
            )  # fmt: skip
    except (MissingConverter, MissingShapeCalculator) as fault:
        raise refuse(estimator, "has no exact conversion to ONNX", _TODO) from fault
    except Exception as fault:  # skl2onnx raises whatever its parsers stumble over
        raise refuse(
            estimator, f"has no conversion in double precision: {str(fault).splitlines()[0][:200]}", _TODO
        ) from fault
    finally:
        logger.level = level


def _answer(estimator: Any, method: str, value: Value) -> Any:
    """The source's answer to one row of zeros: its rank and width, which skl2onnx does not keep."""
    row: Any = np.full((1, value.width or 1), "" if value.dtype == "string" else 0.0, dtype=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = getattr(estimator, method)(row.astype(object) if value.dtype == "string" else row)
    return answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)


def _ranked(graph: Graph, name: str, answer: Any) -> Value:
    """skl2onnx's output with exactly the source's rank (it answers (N, 1) for (N,))."""
    name = graph.cast(name, "float64")
    if answer.ndim == 1:
        return Value(graph.node("Reshape", name, graph.constant([-1], np.int64)), "float64", None)
    shape = graph.constant([-1, answer.shape[1]], np.int64)
    return Value(graph.node("Reshape", name, shape), "float64", answer.shape[1])


def _classifier(graph: Graph, estimator: Any, label: str, scores: str | None) -> Results:
    classes = estimator.classes_
    if isinstance(classes, list):
        raise refuse(estimator, "predicts several labels for one row", "serve one model for each label")
    order = list(range(len(classes)))
    if classes.dtype.kind in "OUS":
        keys: dict[str, Any] = {"keys_strings": [str(c) for c in classes]}
    else:
        label = graph.cast(label, "int64")
        keys = {"keys_int64s": [int(c) for c in classes]}
        if keys["keys_int64s"] != classes.tolist():
            raise refuse(estimator, "has class labels that are not whole numbers", "use integer or text labels")
    index = graph.node("LabelEncoder", label, domain=ML, values_int64s=order, **keys)
    results = {"index": Value(graph.node("Reshape", index, graph.constant([-1], np.int64)), "int64", None)}
    if scores is None:
        return results
    scores = graph.cast(scores, "float64")
    if hasattr(estimator, "predict_proba"):
        return results | {"probabilities": Value(scores, "float64", len(classes))}
    if len(classes) == 2:
        last = graph.node("Gather", scores, graph.constant(-1, np.int64), axis=1)
        return results | {"decision": Value(last, "float64", None)}
    return results | {"decision": Value(scores, "float64", len(classes))}


def _outliers(graph: Graph, estimator: Any, label: str, score: str | None) -> Results:
    flat = graph.constant([-1], np.int64)
    results = {"label": Value(graph.node("Reshape", graph.cast(label, "int64"), flat), "int64", None)}
    if score is not None:
        results["score"] = Value(graph.node("Reshape", graph.cast(score, "float64"), flat), "float64", None)
    return results
