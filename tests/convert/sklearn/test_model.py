"""The whole way of a scikit-learn model: signature, program and probes that agree."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.model import convert
from setsail.errors import SetsailError
from setsail.signature import TensorSpec

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def logistic(y: Any = Y) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X[::2], np.asarray(y)[::2])


def outputs(conversion: Any) -> list[str]:
    return [str(s) for s in conversion.signature.outputs]


def test_a_pipeline_from_end_to_end(agrees: Any) -> None:
    data = load_breast_cancer(as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data[::2], data.target[::2])
    conversion = agrees(model, data.data)
    (table,) = conversion.signature.inputs
    assert str(table) == "input:float64[N,30]"
    assert table.columns[:2] == ("mean radius", "mean texture")
    assert not table.nullable
    assert (conversion.framework, conversion.kind) == ("scikit-learn", "classifier")
    assert conversion.estimator == "Pipeline(StandardScaler, LogisticRegression)"
    assert {"scikit-learn", "numpy", "onnx"} <= set(conversion.versions)
    assert outputs(conversion) == ["label:int64[N]", "probabilities:float64[N,2]"]
    assert [len(p.inputs["input"]) for p in conversion.probes if p.what == "example"] == [569]
    assert {p.what for p in conversion.probes} == {"example", "synthetic", "boundary"}
    assert conversion.programs[0].variant.id == "onnx"
    assert json.loads(json.dumps(conversion.hyperparameters))["logisticregression__C"] == 1.0


def test_one_model_gives_one_artifact() -> None:
    first, second = (convert(logistic(), Intent(example=X)) for _ in range(2))
    assert first.programs[0].files == second.programs[0].files
    assert first.hyperparameters == second.hyperparameters
    for a, b in zip(first.probes, second.probes, strict=True):
        np.testing.assert_array_equal(a.inputs["input"], b.inputs["input"])


@pytest.mark.parametrize(
    ("labels", "spec"),
    [
        (NAMES[Y], "label:string[N]"),
        (NAMES.astype(object)[Y], "label:string[N]"),
        (Y == 1, "label:bool[N]"),
        (Y.astype(np.int8) * 7 - 3, "label:int64[N]"),
        (Y.astype(float), "label:float64[N]"),
    ],
)
def test_labels_are_the_classes_themselves(labels: Any, spec: str, agrees: Any) -> None:
    conversion = agrees(logistic(labels), X)
    assert outputs(conversion)[0] == spec
    assert conversion.signature.output("probabilities").labels == tuple(str(c) for c in np.unique(labels).tolist())


def test_labels_of_the_person() -> None:
    conversion = convert(logistic(), Intent(example=X, labels=("a", "b", "c")))
    assert set(conversion.probes[0].outputs["label"]) <= {"a", "b", "c"}
    assert conversion.signature.output("label").dtype.name == "string"
    with pytest.raises(SetsailError) as caught:
        convert(logistic(), Intent(example=X, labels=("a",)))
    assert caught.value.code == "convert.input"


@pytest.mark.parametrize(
    ("target", "spec"),
    [(X[:, 0], "prediction:float64[N]"), (X[:, :1], "prediction:float64[N,1]"), (X[:, :3], "prediction:float64[N,3]")],
)
def test_a_regressor_keeps_exactly_its_rank(target: Any, spec: str, agrees: Any) -> None:
    assert outputs(agrees(make_pipeline(StandardScaler(), LinearRegression()).fit(X, target), X)) == [spec]


def test_other_kinds(agrees: Any) -> None:
    assert outputs(agrees(LinearSVC().fit(X, Y), X)) == ["label:int64[N]", "decision:float64[N,3]"]
    assert outputs(agrees(LinearSVC().fit(X, Y > 0), X)) == ["label:bool[N]", "decision:float64[N]"]
    clusters = agrees(make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)).fit(X), X)
    assert outputs(clusters) == ["cluster:int32[N]", "distances:float64[N,3]"]
    assert outputs(agrees(OneClassSVM().fit(X), X)) == ["label:int64[N]", "score:float64[N]"]
    assert outputs(agrees(StandardScaler().fit(X), X)) == ["transformed:float64[N,4]"]


def test_a_search_is_the_best_it_found(agrees: Any) -> None:
    search = GridSearchCV(logistic(), {"logisticregression__C": [0.1, 1]}, cv=2).fit(X, Y)
    assert agrees(search, X).estimator == "Pipeline(StandardScaler, LogisticRegression)"


# -- what the inputs are ---------------------------------------------------------------------------------------------


def test_without_an_example_the_model_tells(agrees: Any) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = agrees(make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, Y))
    assert named.signature.inputs[0].columns == ("a", "b", "c", "d")
    synthetic = next(p for p in named.probes if p.what == "synthetic").inputs["input"]
    assert 2 < synthetic[:, 0].min() < synthetic[:, 0].max() < 10  # bounds from the scaler
    assert agrees(logistic()).signature.inputs[0].columns == ()
    with pytest.raises(SetsailError) as caught:
        convert(make_pipeline(FunctionTransformer(), CountVectorizer()).fit(["a bc"]), Intent())
    assert caught.value.code == "convert.example"


@pytest.mark.parametrize(
    ("example", "spec"),
    [
        (X.tolist(), "input:float64[N,4]"),
        (X.astype(np.float32), "input:float32[N,4]"),
        (X.astype(int), "input:float64[N,4]"),
        ({"a": [1.0, 2.0], "b": [1, 2], "c": [1, 2], "d": [1, 2]}, "input:float64[N,4]"),
        (pd.DataFrame(X).astype("Float64"), "input:float64[N,4]"),
    ],
)
def test_examples_of_every_form(example: Any, spec: str, agrees: Any) -> None:
    assert str(agrees(logistic(), example).signature.inputs[0]) == spec


def test_input_texts_in_place_of_an_example() -> None:
    conversion = convert(logistic(), Intent(inputs=(TensorSpec.parse("flower:float32[*,4]"),)))
    assert str(conversion.signature.inputs[0]) == "flower:float32[N,4]"
    columns = tuple(TensorSpec.parse(f"{n}:float64[*]") for n in "abcd")
    assert [s.name for s in convert(logistic(), Intent(inputs=columns)).signature.inputs] == list("abcd")


def frame_model() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(pd.DataFrame(X, columns=list("abcd")), Y)


@pytest.mark.parametrize(
    ("model", "example", "says"),
    [
        (logistic(), X[:, :3], "3 columns"),
        (logistic(), X[0], "not a table"),
        (logistic(), pd.DataFrame(X)[:0], "no rows"),
        (frame_model(), pd.DataFrame(X[:, :3], columns=list("abx")), "lacks the column 'c'"),
        (logistic(), ["some", "text"], "text vectoriser"),
        (logistic(), np.array([[1.0, "a", 2, 3]], dtype=object)[[0, 0]], None),
        (CountVectorizer().fit(["ab cd"]), pd.DataFrame({"t": ["ab"]}), "one column of text"),
        (OneHotEncoder().fit(NAMES.reshape(-1, 1)), np.array([["a"], [3]], dtype=object), "mixes text"),
    ],
)
def test_an_example_that_does_not_fit(model: Any, example: Any, says: str | None) -> None:
    with pytest.raises(SetsailError, match=says) as caught:
        convert(model, Intent(example=example))
    assert caught.value.code == ("convert.input" if says else "convert.run")


def test_input_texts_that_do_not_fit() -> None:
    with pytest.raises(SetsailError) as caught:
        convert(logistic(), Intent(inputs=(TensorSpec.parse("a:float64[*,2]"), TensorSpec.parse("b:float64[*,2]"))))
    assert caught.value.code == "convert.input"


def test_a_source_that_fails_on_its_own_example() -> None:
    with pytest.raises(SetsailError, match="NaN") as caught:
        convert(logistic(), Intent(example=np.full((2, 4), np.nan)))
    assert caught.value.code == "convert.run"


def test_boundary_rows_lie_beside_thresholds_in_front_of_the_scaler(agrees: Any) -> None:
    forest = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=2, random_state=0)).fit(X, Y)
    conversion = agrees(forest, X)
    edges = next(p for p in conversion.probes if p.what == "boundary").inputs["input"]
    scaler, tree = forest[0], forest[1].tree_
    threshold = tree.threshold[0] * scaler.scale_[tree.feature[0]] + scaler.mean_[tree.feature[0]]
    assert np.sum(np.abs(edges[:, tree.feature[0]] - threshold) < 1e-12) >= 3


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_a_booster_behind_a_scaler(package: str, agrees: Any) -> None:
    module = pytest.importorskip(package)
    kind = module.XGBClassifier if package == "xgboost" else module.LGBMClassifier
    quiet = {"verbosity": 0} if package == "xgboost" else {"verbose": -1}
    rows, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), kind(n_estimators=8, n_jobs=1, **quiet)).fit(rows[::2], y[::2])
    conversion = agrees(model, rows, rtol=1e-6, atol=1e-6)
    assert package in conversion.versions
    assert len(next(p for p in conversion.probes if p.what == "boundary").inputs["input"]) > 200


# -- what is refused ---------------------------------------------------------------------------------------------------


class Nameless(BaseEstimator):
    """An estimator of somebody's own, of no kind we know."""

    def fit(self, X: Any, y: Any = None) -> Nameless:
        self.n_features_in_ = X.shape[1]
        return self


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (LogisticRegression(), "LogisticRegression is not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "is not fitted"),
        (object(), "is no scikit-learn estimator"),
        (MultiOutputClassifier(LogisticRegression(max_iter=1000)).fit(X, np.stack([Y, Y], 1)), "several labels"),
        (Nameless().fit(X), "kind"),
        (DBSCAN().fit(X), "fitted on"),
        (LocalOutlierFactor().fit(X), "fitted on"),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str) else v,
)
def test_what_cannot_be_converted_is_named(model: Any, says: str) -> None:
    with pytest.raises(SetsailError, match=says) as caught:
        convert(model, Intent(example=X))
    assert caught.value.code == "convert.unsupported"


def test_levels_close_a_text_column(agrees: Any) -> None:
    frame = pd.DataFrame({"kind": NAMES[Y], "size": X[:, 0]})
    model = make_column_transformer((OneHotEncoder(), ["kind"]), (StandardScaler(), ["size"])).fit(frame)
    kind, size = agrees(model, frame).signature.inputs
    assert (kind.categories, kind.closed, kind.nullable) == (tuple(NAMES), True, False)
    assert (size.categories, size.closed, size.nullable) == ((), False, True)
