"""Every transformer of ours, on rows it was not fitted on, against the source at double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.model import convert
from setsail.errors import SetsailError

X, Y = load_iris(return_X_y=True)
HOLES = X.copy()
HOLES[::7, 0] = HOLES[3::11, 2] = np.nan
GRAINY = np.round(X)  # few distinct values: repeated quantiles

NUMERIC = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler((-2, 3), clip=True),
    MinMaxScaler(),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False, quantile_range=(5, 95)),
    Normalizer("l1"),
    Normalizer("l2"),
    Normalizer("max"),
    Binarizer(threshold=2.5),
    KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
    KBinsDiscretizer(3, encode="onehot", strategy="uniform"),
    KBinsDiscretizer(3, encode="onehot-dense", strategy="kmeans"),
    PolynomialFeatures(3),
    PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    PowerTransformer(),
    PowerTransformer("box-cox", standardize=False),
    QuantileTransformer(n_quantiles=20),
    VarianceThreshold(0.5),
    SelectKBest(k=2),
    SelectFromModel(LogisticRegression(max_iter=500)),
    PCA(2),
    PCA(3, whiten=True),
    IncrementalPCA(2),
    TruncatedSVD(2),
    FunctionTransformer(),
    FunctionTransformer(np.log1p),
]


@pytest.mark.parametrize("step", NUMERIC, ids=lambda s: repr(s).replace(" ", ""))
def test_numeric_transformers(step: Any, agrees: Any) -> None:
    model = step.fit(X[::2], Y[::2])
    conversion = agrees(model, None if getattr(step, "method", "") != "box-cox" else X)
    assert conversion.kind == "transformer"
    agrees(model, X)


@pytest.mark.parametrize("step", [StandardScaler(), MinMaxScaler(), RobustScaler(), PowerTransformer()])
def test_missing_numbers_pass_through_where_the_source_passes_them(step: Any, agrees: Any) -> None:
    assert agrees(step.fit(HOLES[::2]), HOLES).signature.inputs[0].nullable


def test_repeated_quantiles(agrees: Any) -> None:
    agrees(QuantileTransformer(n_quantiles=10).fit(GRAINY[::2]), X)


def test_the_normal_quantile_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        convert(QuantileTransformer(n_quantiles=10, output_distribution="normal").fit(X), Intent(example=X))
    assert caught.value.code == "convert.unsupported"


@pytest.mark.parametrize("step", [StandardScaler(), MinMaxScaler(), RobustScaler(), PolynomialFeatures(2)])
def test_float32_rows_are_rounded_where_the_source_rounds(step: Any, agrees: Any) -> None:
    small = X.astype(np.float32)
    conversion = agrees(step.fit(small[::2]), small, rtol=0, atol=0)
    assert conversion.signature.inputs[0].dtype.name == "float32"
    assert conversion.signature.outputs[0].dtype.name == "float32"


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("indicator", [False, True])
def test_numeric_imputers(strategy: str, indicator: bool, agrees: Any) -> None:
    conversion = agrees(SimpleImputer(strategy=strategy, add_indicator=indicator).fit(HOLES), HOLES)
    assert conversion.signature.inputs[0].nullable


def test_imputers_of_other_missing_values_and_empty_columns(agrees: Any) -> None:
    agrees(SimpleImputer(missing_values=-1).fit(np.where(np.isnan(HOLES), -1, HOLES)), np.nan_to_num(HOLES, nan=-1))
    empty = HOLES.copy()
    empty[:, 1] = np.nan
    model = SimpleImputer(keep_empty_features=True).fit(empty)
    agrees(model, empty)
    agrees(MissingIndicator(features="all").fit(HOLES), HOLES)
    agrees(MissingIndicator().fit(HOLES), HOLES[:20])


def towns(null: Any, dtype: Any) -> pd.DataFrame:
    """Two text columns, one with missing values."""
    rng = np.random.default_rng(0)
    town = rng.choice(np.array(["Bern", "Rome", "Oslo", "Ürümqi", ""], dtype=object), 90, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    town[::9] = null
    size = np.where(rng.random(90) < 0.5, "s", "l").astype(object)
    return pd.DataFrame({"town": pd.Series(town, dtype=dtype), "size": pd.Series(size, dtype=dtype)})


MISSING = [
    pytest.param(None, object, id="None"),
    pytest.param(np.nan, object, id="NaN"),
    pytest.param(np.nan, "str", id="str"),
]
HOT = [
    OneHotEncoder(),
    OneHotEncoder(sparse_output=False),
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(drop="first"),
    OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=12),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="first"),
    OneHotEncoder(handle_unknown="ignore", min_frequency=12),
    OrdinalEncoder(),
    OrdinalEncoder(encoded_missing_value=-5),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=3),
]


@pytest.mark.parametrize(("null", "dtype"), MISSING)
@pytest.mark.parametrize("step", HOT, ids=lambda s: repr(s).replace(" ", ""))
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_categories_in_text_with_missing_values(step: Any, null: Any, dtype: Any, agrees: Any) -> None:
    rows = towns(null, dtype)
    conversion = agrees(step.fit(rows), rows)
    town, size = conversion.signature.inputs
    assert town.nullable
    assert set(town.categories) == {"Bern", "Rome", "Oslo", "Ürümqi", ""}
    closed = step.handle_unknown == "error"
    assert (town.closed, size.closed) == (closed, closed)
    assert size.nullable == (not closed)
    boundary = next(p for p in conversion.probes if p.what == "boundary")
    assert "\ufdd0" in boundary.inputs["town"]
    agrees(step)  # without an example the levels say what the inputs are


def test_encoders_on_numbers(agrees: Any) -> None:
    codes = GRAINY.copy()
    codes[::13, 1] = np.nan
    agrees(OneHotEncoder(handle_unknown="ignore").fit(codes), codes)
    agrees(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=99).fit(codes), codes)
    conversion = agrees(OneHotEncoder().fit(codes), codes)
    assert [s.closed for s in conversion.signature.inputs] == [True] * 4  # a closed column is an input of its own
    assert [s.nullable for s in conversion.signature.inputs] == [False, True, False, False]
    assert conversion.signature.inputs[3].categories == ("0.0", "1.0", "2.0")
    agrees(OneHotEncoder(handle_unknown="ignore").fit(GRAINY.astype(int)), GRAINY.astype(int))


@pytest.mark.parametrize("classes", [2, 3])
def test_target_encoder(classes: int, agrees: Any) -> None:
    rows = towns(np.nan, object)
    agrees(
        TargetEncoder(target_type="binary" if classes == 2 else "multiclass").fit(rows, np.arange(90) % classes), rows
    )


@pytest.mark.parametrize(("null", "dtype"), MISSING)
def test_text_imputers(null: Any, dtype: Any, agrees: Any) -> None:
    rows = towns(null, dtype)
    missing = None if null is None else np.nan
    step = SimpleImputer(missing_values=missing, strategy="most_frequent", add_indicator=False)
    model = make_pipeline(step, OneHotEncoder(handle_unknown="ignore"))
    agrees(model.fit(rows), rows)


def test_an_imputer_of_nan_does_not_fill_none(agrees: Any) -> None:
    rows = towns(None, object)
    model = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder()).fit(rows)
    agrees(model, rows)


def test_python_functions_are_refused() -> None:
    with pytest.raises(SetsailError, match="double") as caught:
        convert(FunctionTransformer(double).fit(X), Intent(example=X))
    assert caught.value.code == "convert.unsupported"


def double(values: Any) -> Any:
    return values * 2
