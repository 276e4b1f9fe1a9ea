"""MLflow's `python_function`: the contract that a directory's signature gives, rows as a model takes them, its answers.

MLflow is not needed here; `tests/zoo/test_mlflow_zoo.py` has the real one.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pandas = pytest.importorskip("pandas", reason="needs pandas")
pytest.importorskip("yaml", reason="needs PyYAML: pip install setsail[mlflow]")

from mlmodel import columns, directory, tensor  # noqa: E402

from setsail.apps import pyfunc  # noqa: E402
from setsail.apps.code import WrongAnswerError  # noqa: E402
from setsail.apps.pyfunc_entry import entry  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402
from setsail.signature import Signature  # noqa: E402
from setsail.tensors import NULL  # noqa: E402

PYFUNC = {"python_function": {"loader_module": "mlflow.pyfunc.model"}}


def options(folder: Path, inputs: Any = (), outputs: Any = ()) -> Any:
    made = entry(directory(folder / "my model", PYFUNC, inputs=inputs, outputs=outputs))
    assert made is not None
    assert (made.kind, made.trust, made.name) == ("pyfunc", "pyfunc", "my-model")
    return made.options


def model(folder: Path, predict: Any, inputs: Any, outputs: Any) -> pyfunc.Model:
    told = options(folder, inputs, outputs)
    signature = Signature.from_json(told["signature"], tuple(told["defaults"]))
    return pyfunc.Model(SimpleNamespace(predict=predict), signature, told)


ONE = [{"type": "double", "required": True}]
UNNAMED = [tensor("float32", -1)]


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        (columns(a="double", b="double"), UNNAMED, "(input:float64[N,2]) -> (prediction:float32[N])"),
        (columns(a="double", b="long"), ONE, "(a:float64[N], b:int64[N]) -> (prediction:float64[N])"),
        (columns(a="string", at="datetime"), columns(x="long", y="string"),
         "(a:string[N], at:string[N]) -> (x:int64[N], y:string[N])"),
        ([tensor("float32", -1, 28, -1)], UNNAMED, "(input:float32[N,28,input_2]) -> (prediction:float32[N])"),
        ([tensor("int64", -1, -1, name="ids")], UNNAMED, "(ids:int64[N,ids_1]) -> (prediction:float32[N])"),
        ([{"type": "string", "required": True}], ONE, "(input:string[N]) -> (prediction:float64[N])"),
    ],
)  # fmt: skip
def test_the_signature_is_made_of_mlflows(inputs: Any, outputs: Any, expected: str, tmp_path: Path) -> None:
    told = options(tmp_path, inputs, outputs)
    assert str(Signature.from_json(told["signature"], tuple(told["defaults"]))) == expected


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((), ()), (columns(a="double"), ()),
        ([{"type": "object", "properties": {}, "name": "a", "required": True}], ONE),
        ([tensor("float32", 3, 4)], UNNAMED), (columns(a="any"), ONE),
    ],
)  # fmt: skip
def test_what_tensors_cannot_say_is_left_to_mlflows_own_server(inputs: Any, outputs: Any, tmp_path: Path) -> None:
    assert options(tmp_path, inputs, outputs)["form"] == "requests"


def test_a_directory_without_python_function_is_no_code(tmp_path: Path) -> None:
    assert entry(directory(tmp_path / "m", {"onnx": {"data": "model.onnx"}})) is None


def test_a_model_of_columns_gets_a_data_frame(tmp_path: Path) -> None:
    seen = []

    def predict(frame: Any) -> Any:
        seen.append(frame)
        return pandas.DataFrame({"total": frame["a"] + frame["b"], "city": frame["city"]})

    inputs = columns(a="double", b="long", city="string", at="datetime")
    code = model(tmp_path, predict, inputs, columns(total="double", city="string"))
    rows = {"a": np.array([1.5, 2]), "b": np.array([1, 2]), "city": np.array(["Rome", NULL], dtype=object),
            "at": np.array(["2026-11-21", "2026-11-22T10:00:00"], dtype=object)}  # fmt: skip
    answer = code.run(rows)
    np.testing.assert_array_equal(answer["total"], [2.5, 4])
    assert answer["city"].tolist() == ["Rome", NULL]
    assert [str(t) for t in seen[0].dtypes[["a", "b", "at"]]][:2] == ["float64", "int64"]
    assert seen[0]["at"].dtype.kind == "M"


def test_a_table_is_a_data_frame_too_and_tensors_are_arrays(tmp_path: Path) -> None:
    table = model(tmp_path / "1", lambda f: f["b"].to_numpy(), columns(a="double", b="double"), ONE)
    np.testing.assert_array_equal(table.run({"input": np.array([[1.0, 2], [3, 4]])})["prediction"], [2, 4])
    array = model(tmp_path / "2", lambda x: x.sum(axis=1), [tensor("float32", -1, 2)], UNNAMED)
    np.testing.assert_array_equal(array.run({"input": np.ones((3, 2), np.float32)})["prediction"], [2, 2, 2])
    named = model(tmp_path / "3", lambda x: {"y": x["x"] * 2}, [tensor("float32", -1, name="x")], UNNAMED)
    np.testing.assert_array_equal(named.run({"x": np.ones(2, np.float32)})["prediction"], [2, 2])
    texts = model(tmp_path / "4", lambda x: [t.upper() for t in x], [{"type": "string"}], [{"type": "string"}])
    assert texts.run({"input": np.array(["a", "b"], dtype=object)})["prediction"].tolist() == ["A", "B"]


@pytest.mark.parametrize(
    "answer",
    [
        [{"total": 1.0, "name": "a"}, {"total": 2.0, "name": "b"}],
        {"total": [1.0, 2.0], "name": ["a", "b"]},
        {"name": ["a", "b"], "total": [1, 2], "more": [0, 0]},
        np.array([[1.0, "a"], [2.0, "b"]], dtype=object),
    ],
)
def test_named_outputs_come_in_any_form(answer: Any, tmp_path: Path) -> None:
    if isinstance(answer, np.ndarray):
        answer = pandas.DataFrame({"total": [1.0, 2.0], "name": ["a", "b"]})
    code = model(tmp_path, lambda _: answer, columns(a="double"), columns(total="double", name="string"))
    found = code.run({"input": np.zeros((2, 1))})
    np.testing.assert_array_equal(found["total"], [1, 2])
    assert found["name"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ([1.0], "double"), ([[1.0, 2.0], [3.0, 4.0]], "double"), (["a", "b"], "double"), ([1.5, 2.5], "long"),
        (None, "double"), (3.0, "double"), ([2**40, 1], "integer"), ([True, False], "double"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_as_declared_is_the_models_fault(answer: Any, output: str, tmp_path: Path) -> None:
    code = model(tmp_path, lambda _: answer, columns(a="double"), [{"type": output}])
    with pytest.raises(WrongAnswerError):
        code.run({"input": np.zeros((2, 1))})


def test_without_mlflow_the_pip_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(SetsailError, match=r"requirements\.txt") as told:
        pyfunc.load(options(tmp_path, columns(a="double"), ONE))
    assert told.value.code == "dependency.missing"
