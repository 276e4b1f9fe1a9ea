"""Pipelines, unions and column transformers as the source composes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.compose import column_indices
from setsail.convert.sklearn.model import convert
from setsail.errors import SetsailError

X, Y = load_iris(return_X_y=True)


def people(dtype: Any = object, null: Any = np.nan) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    town = rng.choice(np.array(["Bern", "Rome", "Oslo"], dtype=object), 120)
    town[::8] = null
    age = rng.normal(40, 12, 120)
    age[::9] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "town": pd.Series(town, dtype=dtype),
            "visits": rng.integers(0, 9, 120),
            "member": rng.random(120) < 0.4,
            "sex": pd.Series(rng.choice(np.array(["f", "m"], dtype=object), 120), dtype=dtype),
        }
    )


def target(frame: pd.DataFrame) -> Any:
    return (frame["visits"] + (frame["town"] == "Bern") * 3 > 5).astype(int)


@pytest.mark.parametrize(("dtype", "null"), [(object, None), (object, np.nan), ("str", np.nan)])
def test_numbers_and_text_with_missing_values(dtype: Any, null: Any, agrees: Any) -> None:
    frame = people(dtype, null)
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        (OneHotEncoder(handle_unknown="ignore"), ["town"]),
        (OneHotEncoder(drop="if_binary"), ["sex"]),
        remainder="passthrough",
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame[:80], target(frame)[:80])
    conversion = agrees(model, frame)
    assert [str(s) for s in conversion.signature.inputs] == [
        "age:float64[N]", "town:string[N]", "visits:int64[N]", "member:bool[N]", "sex:string[N]",
    ]  # fmt: skip
    assert [s.nullable for s in conversion.signature.inputs] == [True, True, False, False, False]
    assert conversion.signature.input("sex").closed
    assert not conversion.signature.input("town").closed
    assert conversion.estimator == "Pipeline(ColumnTransformer, LogisticRegression)"


@pytest.mark.parametrize(
    "chosen",
    [["b", "d"], [0, -1], slice(1, 3), slice("b", "c"), slice(-3, -1), [True, False, True, True],
     np.array([False, True, True, False]), lambda frame: [1, 2], make_column_selector("c|d"), "b", 2],
    ids=lambda c: "function" if callable(c) else repr(c),
)  # fmt: skip
@pytest.mark.parametrize("remainder", ["drop", "passthrough", MinMaxScaler()])
def test_every_way_to_choose_columns(chosen: Any, remainder: Any, agrees: Any) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    step: Any = "passthrough" if isinstance(chosen, str | int) else StandardScaler()
    if isinstance(chosen, str | int):
        chosen = [chosen]
    model = ColumnTransformer([("chosen", step, chosen), ("gone", "drop", [0])], remainder=remainder)
    conversion = agrees(model.fit(frame), frame)
    assert conversion.signature.table is not None
    assert conversion.signature.table.columns == ("a", "b", "c", "d")


def test_columns_of_an_array_and_weights(agrees: Any) -> None:
    model = ColumnTransformer(
        [("a", StandardScaler(), [3, 0]), ("b", MinMaxScaler(), slice(0, 2))],
        remainder="passthrough",
        transformer_weights={"a": 0.25},
    )
    agrees(model.fit(X), X)
    assert column_indices(model, []) == []


def test_unions_with_weights_and_parts_left_out(agrees: Any) -> None:
    union = FeatureUnion(
        [("a", StandardScaler()), ("b", "drop"), ("c", "passthrough"), ("d", MinMaxScaler())],
        transformer_weights={"a": 10, "d": 0.1},
    )
    agrees(Pipeline([("union", union), ("nothing", "passthrough"), ("model", LogisticRegression())]).fit(X, Y), X)


def test_pipelines_in_pipelines_and_column_transformers_in_a_row(agrees: Any) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    first = ColumnTransformer([("scaled", StandardScaler(), ["a", "c"])], remainder="passthrough")
    second = ColumnTransformer([("again", MinMaxScaler(), ["scaled__c"])], remainder="drop")
    first.set_output(transform="pandas")
    agrees(make_pipeline(make_pipeline(first, second), FunctionTransformer(), StandardScaler()).fit(frame), frame)


def test_columns_that_differ_in_what_may_be_missing_are_inputs_of_their_own(agrees: Any) -> None:
    holes = X.copy()
    holes[::5, 1] = np.nan
    columns = ColumnTransformer([("filled", SimpleImputer(), [1]), ("rest", "passthrough", [0, 2, 3])])
    conversion = agrees(make_pipeline(columns, LogisticRegression(max_iter=500)).fit(holes, Y), holes)
    assert [(s.name, s.nullable) for s in conversion.signature.inputs] == [
        ("x0", False), ("x1", True), ("x2", False), ("x3", False),
    ]  # fmt: skip


def test_mixed_columns_of_an_object_array(agrees: Any) -> None:
    table = people().to_numpy(dtype=object)[:, :2]
    columns = ColumnTransformer([("n", SimpleImputer(), [0]), ("t", OrdinalEncoder(), [1])])
    conversion = agrees(columns.fit(table), table)
    assert [str(s) for s in conversion.signature.inputs] == ["x0:float64[N]", "x1:string[N]"]


@pytest.mark.parametrize(
    "scale",
    [StandardScaler(), MinMaxScaler(), FunctionTransformer(np.log1p, np.expm1), FunctionTransformer(np.log, np.exp)],
)
def test_a_target_is_turned_back(scale: Any, agrees: Any) -> None:
    rows, y = load_diabetes(return_X_y=True)
    model = TransformedTargetRegressor(LinearRegression(), transformer=scale, check_inverse=False)
    assert str(agrees(model.fit(rows, y), rows).signature.outputs[0]) == "prediction:float64[N]"
    if isinstance(scale, StandardScaler):
        two = TransformedTargetRegressor(LinearRegression(), transformer=scale).fit(rows, np.stack([y, -y], axis=1))
        assert str(agrees(two, rows).signature.outputs[0]) == "prediction:float64[N,2]"


@pytest.mark.parametrize(
    "model",
    [
        TransformedTargetRegressor(LinearRegression(), func=np.sqrt, inverse_func=lambda v: v**2),
        make_pipeline(FunctionTransformer(lambda v: v * 2), LinearRegression()),
    ],
    ids=["target", "step"],
)
def test_python_code_inside_is_refused(model: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        convert(model.fit(X, Y.astype(float)), Intent(example=X))
    assert caught.value.code == "convert.unsupported"


def test_a_column_that_nothing_reads_needs_an_example(agrees: Any) -> None:
    frame = people()
    model = make_column_transformer((OneHotEncoder(), ["sex"]), (SimpleImputer(), ["age"])).fit(frame)
    with pytest.raises(SetsailError, match="'town'") as caught:
        convert(model, Intent())
    assert caught.value.code == "convert.example"
    agrees(model, frame)


def test_text_that_is_passed_through_beside_numbers_is_refused() -> None:
    frame = people()
    model = make_column_transformer((StandardScaler(), ["visits"]), ("passthrough", ["sex"])).fit(frame)
    with pytest.raises(SetsailError, match="text and numbers") as caught:
        convert(model, Intent(example=frame))
    assert caught.value.code == "convert.unsupported"
