"""From one fitted estimator to nodes: the table of emitters, and how they compose.

An emitter takes the graph, the fitted estimator and its input value, appends nodes and returns named results:

    transformer        {"transformed": Matrix}
    classifier         {"index": class index int64 [N], "probabilities": Matrix} and/or {"decision": Matrix | 1-D}
    regressor          {"prediction": 1-D or Matrix, as the source}
    clusterer          {"cluster": int [N], "distances": Matrix}
    outlier detector   {"label": int64 [N], "score": 1-D}

so that a pipeline, a union, a vote or a stack is a call of `emit` inside another emitter. `index` is an index into
`classes_`; only the outermost level turns it into labels. What has no emitter goes to skl2onnx (`fallback.py`), and
whatever comes out is held against the source by parity like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from setsail.convert.graph import Graph

__all__ = ["EMITTERS", "Emitter", "Frame", "Results", "Value", "emit"]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph.

    Attributes:
        name: its ONNX name.
        dtype: `float64`, `float32`, `int64`, `bool` or `string`.
        width: columns of a `[N, width]` matrix; None for a 1-D `[N]` value.
        names: column names, where they are known (ColumnTransformer selects by them).
        null: what a missing text is in the source, "nan" or "None": scikit-learn takes them for two values.
        single: whether the numbers are float32 in the source, held here in float64. Scalers round as it does.
    """

    name: str
    dtype: str
    width: int | None
    names: tuple[str, ...] = ()
    null: str = "nan"
    single: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """A table of mixed columns: name -> `[N, 1]` value."""

    columns: Mapping[str, Value]


Results = dict[str, Value]
Emitter = Callable[[Graph, Any, Any], Results]

# Qualified class name -> "module:function" below this package. A subclass uses its nearest listed base.
EMITTERS: Final[dict[str, str]] = {
    # -- composition
    "sklearn.compose._column_transformer.ColumnTransformer": "compose:column_transformer",
    "sklearn.compose._target.TransformedTargetRegressor": "compose:target",
    "sklearn.model_selection._search.BaseSearchCV": "compose:search",
    "sklearn.pipeline.FeatureUnion": "compose:feature_union",
    "sklearn.pipeline.Pipeline": "compose:pipeline",
    # -- text
    "sklearn.feature_extraction.text.CountVectorizer": "text:count",
    "sklearn.feature_extraction.text.HashingVectorizer": "text:hashing",
    "sklearn.feature_extraction.text.TfidfTransformer": "text:tfidf_transformer",
    "sklearn.feature_extraction.text.TfidfVectorizer": "text:tfidf",
    # -- preprocessing
    "sklearn.decomposition._base._BasePCA": "preprocess:projection",
    "sklearn.decomposition._truncated_svd.TruncatedSVD": "preprocess:projection",
    "sklearn.feature_selection._base.SelectorMixin": "preprocess:selector",
    "sklearn.impute._base.MissingIndicator": "impute:missing_indicator",
    "sklearn.impute._base.SimpleImputer": "impute:simple_imputer",
    "sklearn.preprocessing._data.Binarizer": "preprocess:binarizer",
    "sklearn.preprocessing._data.MaxAbsScaler": "preprocess:max_abs_scaler",
    "sklearn.preprocessing._data.MinMaxScaler": "preprocess:min_max_scaler",
    "sklearn.preprocessing._data.Normalizer": "preprocess:normalizer",
    "sklearn.preprocessing._data.PowerTransformer": "preprocess:power",
    "sklearn.preprocessing._data.QuantileTransformer": "preprocess:quantile",
    "sklearn.preprocessing._data.RobustScaler": "preprocess:robust_scaler",
    "sklearn.preprocessing._data.StandardScaler": "preprocess:standard_scaler",
    "sklearn.preprocessing._discretization.KBinsDiscretizer": "preprocess:bins",
    "sklearn.preprocessing._encoders.OneHotEncoder": "encode:one_hot",
    "sklearn.preprocessing._encoders.OrdinalEncoder": "encode:ordinal",
    "sklearn.preprocessing._function_transformer.FunctionTransformer": "preprocess:function",
    "sklearn.preprocessing._polynomial.PolynomialFeatures": "preprocess:polynomial",
    "sklearn.preprocessing._target_encoder.TargetEncoder": "encode:target_encoder",
    # linear models
    "sklearn.linear_model._base.LinearModel": "linear:regressor",
    "sklearn.linear_model._base.LinearClassifierMixin": "linear:classifier",
    "sklearn.linear_model._stochastic_gradient.BaseSGDRegressor": "linear:regressor",
    "sklearn.linear_model._stochastic_gradient.SGDClassifier": "linear:sgd",
    "sklearn.linear_model._logistic.LogisticRegression": "linear:logistic_regression",
    "sklearn.linear_model._glm.glm._GeneralizedLinearRegressor": "linear:generalized",
    "sklearn.linear_model._ransac.RANSACRegressor": "linear:ransac",
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": "linear:discriminant",
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": "linear:quadratic",
    # -- support vector machines
    "sklearn.svm._base.BaseSVC": "svm:classifier",
    "sklearn.svm._classes.SVR": "svm:regressor",
    "sklearn.svm._classes.NuSVR": "svm:regressor",
    "sklearn.svm._classes.OneClassSVM": "svm:one_class",
    # -- neighbours
    "sklearn.neighbors._classification.KNeighborsClassifier": "neighbours:classifier",
    "sklearn.neighbors._regression.KNeighborsRegressor": "neighbours:regressor",
    "sklearn.neighbors._nearest_centroid.NearestCentroid": "neighbours:centroid",
    "sklearn.neighbors._lof.LocalOutlierFactor": "neighbours:local_outliers",
    # -- clusters and shapes
    "sklearn.cluster._kmeans.KMeans": "cluster:k_means",
    "sklearn.cluster._kmeans.MiniBatchKMeans": "cluster:k_means",
    "sklearn.mixture._gaussian_mixture.GaussianMixture": "cluster:mixture",
    "sklearn.covariance._elliptic_envelope.EllipticEnvelope": "cluster:elliptic",
    "sklearn.linear_model._stochastic_gradient.SGDOneClassSVM": "cluster:linear_one_class",
    # -- naive Bayes
    "sklearn.naive_bayes.GaussianNB": "bayes:gaussian",
    "sklearn.naive_bayes.MultinomialNB": "bayes:multinomial",
    "sklearn.naive_bayes.ComplementNB": "bayes:complement",
    "sklearn.naive_bayes.BernoulliNB": "bayes:bernoulli",
    "sklearn.naive_bayes.CategoricalNB": "bayes:categorical",
    # -- neural networks
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier": "neural:classifier",
    "sklearn.neural_network._multilayer_perceptron.MLPRegressor": "neural:regressor",
    # -- estimators of estimators
    "sklearn.ensemble._bagging.BaggingClassifier": "ensembles:bagging_classifier",
    "sklearn.ensemble._bagging.BaggingRegressor": "ensembles:bagging_regressor",
    "sklearn.ensemble._stacking.StackingClassifier": "ensembles:stacking_classifier",
    "sklearn.ensemble._stacking.StackingRegressor": "ensembles:stacking_regressor",
    "sklearn.ensemble._voting.VotingClassifier": "ensembles:voting_classifier",
    "sklearn.ensemble._voting.VotingRegressor": "ensembles:voting_regressor",
    "sklearn.multiclass.OneVsOneClassifier": "multiclass:one_vs_one",
    "sklearn.multiclass.OneVsRestClassifier": "multiclass:one_vs_rest",
    "sklearn.multioutput.MultiOutputRegressor": "multiclass:multi_output",
    "sklearn.multioutput.RegressorChain": "multiclass:chain",
    "sklearn.calibration.CalibratedClassifierCV": "calibration:calibrated",
    "sklearn.isotonic.IsotonicRegression": "calibration:isotonic",
    "sklearn.model_selection._classification_threshold.FixedThresholdClassifier": "calibration:fixed_threshold",
    "sklearn.model_selection._classification_threshold.TunedThresholdClassifierCV": "calibration:tuned_threshold",
    "sklearn.dummy.DummyClassifier": "standins:dummy_classifier",
    "sklearn.dummy.DummyRegressor": "standins:dummy_regressor",
    "sklearn.frozen._frozen.FrozenEstimator": "standins:frozen",
    "sklearn.semi_supervised._self_training.SelfTrainingClassifier": "standins:self_training",
    # -- trees and boosters
    "sklearn.tree._classes.DecisionTreeClassifier": "trees:classifier",
    "sklearn.tree._classes.DecisionTreeRegressor": "trees:regressor",
    "sklearn.ensemble._forest.ForestClassifier": "trees:forest_classifier",
    "sklearn.ensemble._forest.ForestRegressor": "trees:forest_regressor",
    "sklearn.ensemble._gb.BaseGradientBoosting": "trees:gradient_boosting",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting": "trees:histogram_boosting",
    "sklearn.ensemble._iforest.IsolationForest": "isolation:forest",
    "sklearn.ensemble._weight_boosting.AdaBoostClassifier": "trees:ada_boost",
    "xgboost.sklearn.XGBModel": "boosters:xgboost",
    "lightgbm.sklearn.LGBMModel": "boosters:lightgbm",
    "sklearn.kernel_ridge.KernelRidge": "kernels:ridge",
}


def emit(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Append one fitted estimator. Raises `convert.unsupported` naming its class when there is no exact way."""
    for base in type(estimator).__mro__:
        target = EMITTERS.get(f"{base.__module__}.{base.__qualname__}")
        if target is not None:
            module, function = target.split(":")
            emitter: Emitter = getattr(import_module(f"setsail.convert.sklearn.{module}"), function)
            return emitter(graph, estimator, x)
    fallback: Emitter = import_module("setsail.convert.sklearn.fallback").emit
    return fallback(graph, estimator, x)
