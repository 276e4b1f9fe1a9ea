"""`setsail.load` in this process: what a person may hand over, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper
from scaled import ROWS, artifact
from scaled import signature as scaled_signature

from setsail.artifact import Draft, write
from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.parity import Check, ParityReport
from setsail.serving.model import Model, body_of
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array
from setsail.variants import Variant


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    artifact(tmp_path / "a.setsail").close()
    with Model(tmp_path / "a.setsail") as made:
        yield made


TABLE = Signature(
    (replace(TensorSpec.parse("input:float32[N,2]"), columns=("age", "income")),),
    (TensorSpec.parse("y:float32[N]"),),
    ("y",),
)
MIXED = Signature(
    (
        TensorSpec.parse("age:float64[N]"),
        replace(TensorSpec.parse("city:string[N]"), nullable=True),
        TensorSpec.parse("children:int64[N]"),
    ),
    (TensorSpec.parse("y:float32[N]"),),
    ("y",),
)


def bound(signature: Signature, X: Any) -> dict[str, Array]:
    return bind(signature, body_of(signature, X))


# -- what comes back -----------------------------------------------------------------------------------------------


def test_an_array_gives_the_default_output_and_a_mapping_all_of_them(model: Model) -> None:
    assert model.predict(ROWS).tolist() == (ROWS * 2).tolist()
    everything = model.predict({"x": ROWS})
    assert list(everything) == ["y", "total"]
    assert everything["total"].tolist() == [6, 14, 22]
    assert model.signature == scaled_signature()
    assert (model.name, "x:float32[N,2]" in repr(model)) == ("scaled", True)


def test_several_default_outputs_come_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["scores"]), helper.make_node("Neg", ["x"], ["classes"])]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N"]) for n in ("x", "scores", "classes")]
    made = helper.make_model(
        helper.make_graph(nodes, "g", infos[:1], infos[1:]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    both = tuple(TensorSpec.parse(f"{n}:float32[N]") for n in ("scores", "classes"))
    write(
        Draft(
            name="two", version=1, framework="onnx", versions={}, estimator="Two", kind="tensors", hyperparameters={},
            signature=Signature((TensorSpec.parse("x:float32[N]"),), both, ("scores", "classes")),
            variants=((Variant("onnx", "onnx", "float32", "m.onnx"), {"m.onnx": made.SerializeToString()}),),
            parity=ParityReport("onnx", "float32", 1.0, (Check("synthetic", 0, 1, 0, 0.0, "", 0),)), samples={},
            environment={}, notes=(),
        ),
        tmp_path / "two.setsail",
    ).close()  # fmt: skip
    with Model(tmp_path / "two.setsail") as model:
        answer = model.predict([1.0, 2.0])
    assert {name: array.tolist() for name, array in answer.items()} == {"scores": [1, 2], "classes": [-1, -2]}


def test_a_closed_model_says_so(tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail").close()
    model = Model(tmp_path / "a.setsail")
    model.close()
    with pytest.raises(SetsailError) as caught:
        model.predict(ROWS)
    assert caught.value.code == "model.not_ready"


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        Model(tmp_path / "missing.setsail")
    assert caught.value.code == "artifact.missing"


# -- what may be handed over ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1.1, 2], [3, 4]]),
        [[1.1, 2], [3, 4]],
        [np.array([1.1, 2]), np.array([3, 4])],
        [[np.float64(1.1), np.int64(2)], [3, 4]],
        pd.DataFrame({"age": [1.1, 3], "income": [2, 4]}),
        pd.DataFrame({"income": [2, 4], "age": [1.1, 3]}),
        {"age": np.array([1.1, 3]), "income": np.array([2, 4])},
        {"age": [1.1, 3], "income": (2, 4)},
        {"input": np.array([[1.1, 2], [3, 4]])},
        [{"age": 1.1, "income": 2}, {"income": 4, "age": np.float32(3)}],
    ],
)
def test_a_table_in_any_form_is_rounded_as_the_source_rounds(X: Any) -> None:
    arrays = bound(TABLE, X)
    assert arrays["input"].dtype == np.float32
    assert arrays["input"].tolist() == np.array([[1.1, 2], [3, 4]], dtype=np.float32).tolist()


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"age": [1, 2], "city": ["Bonn", None], "children": [0, 3]}),
        pd.DataFrame({"age": [1, 2], "city": pd.Categorical(["Bonn", None]), "children": [0, 3]}),
        pd.DataFrame({"age": [1.0, 2], "city": np.array(["Bonn", np.nan], dtype=object), "children": pd.array([0, 3])}),
        {"age": np.array([1, 2], dtype=np.int32), "city": np.array(["Bonn", None]), "children": np.array([0, 3])},
        np.array([[1, "Bonn", 0], [2, None, 3]], dtype=object),
        (np.array([1.0, 2]), ["Bonn", None], np.array([0, 3], dtype=np.uint8)),
        [[1, "Bonn", 0], [2, None, 3]],
    ],
)
def test_mixed_columns_in_any_form(X: Any) -> None:
    arrays = bound(MIXED, X)
    assert {n: a.tolist() for n, a in arrays.items()} == {"age": [1, 2], "city": ["Bonn", NULL], "children": [0, 3]}
    assert [a.dtype.name for a in arrays.values()] == ["float64", "object", "int64"]


@pytest.mark.parametrize(
    ("signature", "X", "code"),
    [
        (TABLE, np.ones((2, 3)), "input.shape"),
        (TABLE, np.array([[1e300, 0]]), "input.range"),
        (TABLE, np.array([[np.nan, 0]]), "input.nan"),
        (TABLE, np.array([[1j, 0]]), "input.dtype"),
        (TABLE, np.array([["a", "b"]]), "input.dtype"),
        (TABLE, pd.DataFrame({"age": [1], "wage": [2]}), "input.unknown"),
        (TABLE, pd.DataFrame({"age": [1]}), "input.missing"),
        (TABLE, (np.ones((1, 2)), np.ones(1)), "input.unknown"),
        (MIXED, (np.ones(1),), "input.missing"),
        (MIXED, np.ones((2, 2)), "input.shape"),
        (MIXED, {"age": np.ones(1), "city": ["x"], "children": np.array([0.5])}, "input.dtype"),
        (MIXED, {"age": np.ones(1), "city": np.array([7]), "children": [0]}, "input.dtype"),
        (MIXED, {"age": np.ones(1), "city": ["x"], "children": np.array([2**64 - 1], dtype=np.uint64)}, "input.range"),
        (MIXED, {"age": np.ones(2), "city": ["x"], "children": [0]}, "input.length"),
    ],
)
def test_what_cannot_be_meant_is_refused(signature: Signature, X: Any, code: str) -> None:
    with pytest.raises(SetsailError) as caught:
        bound(signature, X)
    assert caught.value.code == code
