"""The zoo: real models, trained here, packed, served over HTTP, asked every way, and always right.

Read ZOO as a catalogue. Every answer is held against the model that went in, by the parity rule of `contract.md` §6,
on rows of which most were not there in training, one at a time and many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb
from bundled import CANCER, DIABETES, DIGITS, IRIS, PEOPLE, TEXTS, WINE, Data, with_holes
from embedding import TABLE, embedding
from keeper import Keeper, Specimen, keeping
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, PoissonRegressor, SGDClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

Make = Callable[[Path], Specimen]

# What the source calls each output, in the order of the published table.
METHODS: Mapping[str, str] = {
    "label": "predict", "prediction": "predict", "cluster": "predict", "probabilities": "predict_proba",
    "scores": "predict_proba", "decision": "decision_function", "score": "decision_function",
    "distances": "transform", "transformed": "transform",
}  # fmt: skip


def by_method(model: Any, X: Any) -> dict[str, Any]:
    """Every output an estimator of scikit-learn's form can give, asked of itself."""
    outputs = {name: getattr(model, method)(X) for name, method in METHODS.items() if hasattr(model, method)}
    if hasattr(model, "predict_proba"):
        outputs["classes"] = np.broadcast_to(model.classes_, outputs["scores"].shape)
    return outputs


def estimator(model: Any, data: Data) -> Make:
    """Trained on a data set, packed with its training rows as the example."""

    def make(folder: Path) -> Specimen:
        fitted = model.fit(data.X) if isinstance(model, KMeans | PCA | IsolationForest) else model.fit(data.X, data.y)
        return Specimen(fitted, data.rows, partial(by_method, fitted), example=data.X)

    return make


def target(data: Data, y: Any) -> Data:
    return Data(data.X, np.asarray(y), data.rows)


def scaled(model: Any) -> Any:
    return make_pipeline(StandardScaler(), model)


def mixed(model: Any, **encoder: Any) -> Any:
    """Numbers and words with holes in both, in front of a model."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", **encoder)
    return make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (words, make_column_selector(dtype_exclude="number")),
        ),
        model,
    )


HOLES = Data(with_holes(WINE.X), WINE.y, with_holes(WINE.rows))
COUNTS = target(DIABETES, DIABETES.y // 25)
HIGH = target(PEOPLE, np.where(PEOPLE.y > 140, "high", "low"))
NAMED = target(IRIS, np.array(["setosa", "versicolor", "virginica"])[IRIS.y])
SMALL: dict[str, Any] = {"n_estimators": 12, "random_state": 0}
XGB: dict[str, Any] = {"n_estimators": 12, "max_depth": 4, "n_jobs": 1}
LGB: dict[str, Any] = {"n_estimators": 12, "num_leaves": 15, "n_jobs": 1, "verbose": -1}


# -- boosters without a wrapper, and files -----------------------------------------------------------------------------


def booster_outputs(booster: Any, kind: str, X: Any) -> dict[str, Any]:
    """What a bare booster says, under the names of its kind."""
    raw = booster.predict(xgb.DMatrix(X)) if isinstance(booster, xgb.Booster) else booster.predict(X)
    if kind != "classifier":
        return {{"regressor": "prediction", "ranker": "score"}[kind]: raw}
    scores = raw if raw.ndim == 2 else np.stack([1 - raw, raw], axis=1)
    return {"label": scores.argmax(1), "probabilities": scores}


def xgb_booster(data: Data, kind: str, file: str = "", group: list[int] | None = None, **options: Any) -> Make:
    """Trained without a wrapper; as a file when it has a name. No example: a booster knows its columns."""

    def make(folder: Path) -> Specimen:
        train = xgb.DMatrix(data.X, data.y)
        if group:
            train.set_group(group)
        booster = xgb.train({"nthread": 1, "max_depth": 4} | options, train, 12)
        truth = partial(booster_outputs, booster, kind)
        if not file:
            return Specimen(booster, data.rows.astype(np.float32), truth)
        booster.save_model(folder / file)
        return Specimen(folder / file, data.rows.astype(np.float32), truth)

    return make


def lgb_file(data: Data, kind: str, **options: Any) -> Make:
    def make(folder: Path) -> Specimen:
        options_ = {"verbosity": -1, "num_threads": 1, "num_leaves": 15} | options
        booster = lgb.train(options_, lgb.Dataset(data.X, data.y), 12)
        booster.save_model(folder / f"{kind}.txt")
        return Specimen(folder / f"{kind}.txt", data.rows, partial(booster_outputs, booster, kind))

    return make


def xgb_ranker(data: Data) -> Make:
    def make(folder: Path) -> Specimen:
        model = xgb.XGBRanker(**XGB).fit(data.X, data.y, group=[10] * (len(data.X) // 10))
        return Specimen(model, data.rows, lambda X: {"score": model.predict(X)}, example=data.X)

    return make


def skops_file(model: Any, data: Data) -> Make:
    """Read by type and never unpickled, so no trust is asked for."""

    def make(folder: Path) -> Specimen:
        import skops.io

        fitted = model.fit(data.X, data.y)
        skops.io.dump(fitted, folder / "model.skops")
        return Specimen(folder / "model.skops", data.rows, partial(by_method, fitted), example=data.X)

    return make


def joblib_file(model: Any, data: Data) -> Make:
    def make(folder: Path) -> Specimen:
        import joblib

        fitted = model.fit(data.X, data.y)
        joblib.dump(fitted, folder / "model.joblib")
        truth = partial(by_method, fitted)
        return Specimen(folder / "model.joblib", data.rows, truth, example=data.X, trust=("pickle",))

    return make


# -- ONNX files --------------------------------------------------------------------------------------------------------


def onnx_from_skl2onnx(folder: Path) -> Specimen:
    """As the public converter writes it, in float32 and with its ZipMap; the truth is the file itself."""
    import onnxruntime as ort
    from skl2onnx import to_onnx

    model = LogisticRegression(max_iter=500).fit(IRIS.X, NAMED.y)
    content = to_onnx(model, IRIS.X[:1].astype(np.float32)).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])

    def truth(X: Any) -> dict[str, Any]:
        label, maps = session.run(None, {"X": X})
        scores = np.array([[row[c] for c in model.classes_] for row in maps])
        return {"label": label, "probabilities": scores, "output_label": label, "output_probability": scores}

    return Specimen(folder / "model.onnx", IRIS.rows.astype(np.float32), truth)


def onnx_network(folder: Path, batch: Any, opset: int, external: bool = False) -> Specimen:
    """A network written by hand; the truth is the same arithmetic in numpy."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(5)
    w1, b1, w2 = (rng.normal(size=s).astype(np.float32) for s in ((4, 8), (8,), (8, 3)))
    nodes = [
        helper.make_node("Gemm", ["features", "w1", "b1"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["logits"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "network", [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(a, n) for n, a in (("w1", w1), ("b1", b1), ("w2", w2))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(folder / "net.onnx"), save_as_external_data=external, location="net.bin", size_threshold=0)

    def truth(X: Any) -> dict[str, Any]:
        return {"logits": np.maximum(X @ w1 + b1, 0) @ w2}

    return Specimen(folder / "net.onnx", IRIS.rows.astype(np.float32), truth)


def onnx_two_inputs(folder: Path) -> Specimen:
    """Integers beside floats."""
    path, rows = embedding(folder, 40)

    def truth(X: Any) -> dict[str, Any]:
        weighed = TABLE[X[0]] * X[1]
        return {"weighed": weighed, "total": weighed.sum(1)}

    return Specimen(path, rows, truth, example=rows)


# -- the catalogue -----------------------------------------------------------------------------------------------------

ZOO: Mapping[str, Make] = {
    # linear
    "linear-regression": estimator(LinearRegression(), DIABETES),
    "linear-regression-column": estimator(LinearRegression(), target(DIABETES, DIABETES.y[:, None])),
    "elastic-net": estimator(scaled(ElasticNet(alpha=0.1)), DIABETES),
    "poisson-regression": estimator(scaled(PoissonRegressor()), COUNTS),
    "log-target": estimator(
        TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1), DIABETES
    ),
    "logistic": estimator(scaled(LogisticRegression()), CANCER),
    "logistic-words": estimator(LogisticRegression(max_iter=500), NAMED),
    "sgd-hinge": estimator(scaled(SGDClassifier(random_state=0)), WINE),
    "polynomial": estimator(make_pipeline(PolynomialFeatures(2), StandardScaler(), LinearRegression()), IRIS),
    # trees and forests
    "tree": estimator(DecisionTreeClassifier(random_state=0), IRIS),
    "tree-regression": estimator(DecisionTreeRegressor(max_depth=6, random_state=0), DIABETES),
    "random-forest": estimator(RandomForestClassifier(**SMALL), CANCER),
    "random-forest-regression": estimator(RandomForestRegressor(**SMALL), DIABETES),
    "extra-trees": estimator(ExtraTreesClassifier(**SMALL), DIGITS),
    "gradient-boosting": estimator(GradientBoostingClassifier(**SMALL), WINE),
    "gradient-boosting-regression": estimator(GradientBoostingRegressor(**SMALL), DIABETES),
    "hist-boosting": estimator(HistGradientBoostingClassifier(max_iter=12), HOLES),
    "hist-boosting-regression": estimator(HistGradientBoostingRegressor(max_iter=12), DIABETES),
    "isolation-forest": estimator(IsolationForest(**SMALL), CANCER),
    # vectors, neighbours, clusters
    "svc": estimator(scaled(SVC()), WINE),
    "linear-svc": estimator(scaled(LinearSVC(random_state=0)), CANCER),
    "svr": estimator(scaled(SVR()), DIABETES),
    "one-class-svm": estimator(scaled(OneClassSVM()), IRIS),
    "neighbours": estimator(scaled(KNeighborsClassifier()), WINE),
    "neighbours-regression": estimator(KNeighborsRegressor(weights="distance"), DIABETES),
    "k-means": estimator(scaled(KMeans(4, n_init=1, random_state=0)), WINE),
    "pca": estimator(scaled(PCA(5, random_state=0)), CANCER),
    # others
    "naive-bayes": estimator(GaussianNB(), WINE),
    "mlp": estimator(scaled(MLPClassifier((16,), random_state=0, tol=1e-2)), DIGITS),
    "gaussian-process": estimator(scaled(GaussianProcessRegressor(alpha=1.0, optimizer=None)), IRIS),
    # models of models
    "calibrated": estimator(CalibratedClassifierCV(GaussianNB(), cv=3), CANCER),
    "calibrated-isotonic": estimator(
        CalibratedClassifierCV(LinearSVC(random_state=0, max_iter=20000), method="isotonic", cv=3),
        Data(StandardScaler().fit_transform(WINE.X), WINE.y, StandardScaler().fit(WINE.X).transform(WINE.rows)),
    ),
    "voting": estimator(
        VotingClassifier([("l", scaled(LogisticRegression())), ("b", GaussianNB())], voting="soft"), WINE
    ),
    "stacking": estimator(
        StackingRegressor([("r", RandomForestRegressor(**SMALL)), ("l", LinearRegression())], cv=3), DIABETES
    ),
    "bagging": estimator(BaggingClassifier(DecisionTreeClassifier(max_depth=4), **SMALL), WINE),
    # numbers and words with holes
    "people": estimator(mixed(LogisticRegression()), HIGH),
    "people-forest": estimator(mixed(RandomForestRegressor(**SMALL), drop="if_binary"), PEOPLE),
    "people-xgboost": estimator(mixed(xgb.XGBRegressor(**XGB)), PEOPLE),
    # text
    "text-tfidf": estimator(make_pipeline(TfidfVectorizer(), LogisticRegression()), TEXTS),
    "text-counts": estimator(
        make_pipeline(CountVectorizer(ngram_range=(1, 2), strip_accents="unicode"), MultinomialNB()), TEXTS
    ),
    "text-svc": estimator(make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC(random_state=0)), TEXTS),
    # XGBoost
    "xgboost": estimator(xgb.XGBClassifier(**XGB), CANCER),
    "xgboost-classes": estimator(xgb.XGBClassifier(**XGB), Data(HOLES.X, HOLES.y, HOLES.rows)),
    "xgboost-regression": estimator(xgb.XGBRegressor(**XGB), DIABETES),
    "xgboost-poisson": estimator(xgb.XGBRegressor(objective="count:poisson", **XGB), COUNTS),
    "xgboost-scaled": estimator(scaled(xgb.XGBClassifier(**XGB)), CANCER),
    "xgboost-ranker": xgb_ranker(Data(IRIS.X[:110], IRIS.y[:110], IRIS.rows)),
    "xgboost-booster": xgb_booster(HOLES, "classifier", objective="multi:softprob", num_class=3),
    "xgboost-ubj": xgb_booster(CANCER, "classifier", "model.ubj", objective="binary:logistic"),
    "xgboost-json": xgb_booster(DIABETES, "regressor", "model.json", objective="reg:squarederror", booster="dart"),
    # LightGBM
    "lightgbm": estimator(lgb.LGBMClassifier(**LGB), CANCER),
    "lightgbm-classes": estimator(lgb.LGBMClassifier(**LGB), HOLES),
    "lightgbm-regression": estimator(lgb.LGBMRegressor(**LGB), DIABETES),
    "lightgbm-quantile": estimator(lgb.LGBMRegressor(objective="quantile", alpha=0.9, **LGB), DIABETES),
    "lightgbm-txt": lgb_file(WINE, "classifier", objective="multiclass", num_class=3),
    "lightgbm-txt-counts": lgb_file(COUNTS, "regressor", objective="poisson"),
    # files
    "skops": skops_file(scaled(LogisticRegression()), WINE),
    "joblib": joblib_file(scaled(SVC()), IRIS),
    "onnx-skl2onnx": onnx_from_skl2onnx,
    "onnx-free-batch": partial(onnx_network, batch="batch", opset=7),
    "onnx-batch-of-one": partial(onnx_network, batch=1, opset=13),
    "onnx-external-weights": partial(onnx_network, batch="batch", opset=18, external=True),
    "onnx-two-inputs": onnx_two_inputs,
}


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


@pytest.mark.parametrize("name", ZOO)
def test_served_as_trained(name: str, keeper: Keeper, tmp_path: Path) -> None:
    keeper.check(name, ZOO[name](tmp_path))


def test_all_are_served_by_one_server(keeper: Keeper) -> None:
    """Whoever came first is still there, beside all who came later."""
    index = keeper.session.post(f"{keeper.server.url}/v2/repository/index", timeout=10).json()
    assert {row["state"] for row in index} == {"READY"}
    assert len(index) > 1
