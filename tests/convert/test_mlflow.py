"""MLflow model directories: the model of the flavour, with the signature, the example and the answer that MLflow has.

Everything here is written by hand (`doubles/mlmodel.py`); `tests/zoo/test_mlflow_zoo.py` has what MLflow itself writes.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install setsail[mlflow]")
pandas = pytest.importorskip("pandas", reason="needs pandas")

import joblib  # noqa: E402
import lightgbm as lgb  # noqa: E402
import xgboost as xgb  # noqa: E402
from mlmodel import columns, directory, split, tensor  # noqa: E402
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder  # noqa: E402

import setsail  # noqa: E402
from setsail.convert import recognise, registry  # noqa: E402
from setsail.convert.conversion import Conversion, Intent  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
FRAME = pandas.DataFrame(X, columns=["first", "second", "third one"])
NAMES = columns(**dict.fromkeys(FRAME.columns, "double"))
PYFUNC = {"python_function": {"loader_module": "mlflow.sklearn", "python_version": "3.11.7"}}


def converted(folder: Path, **intent: Any) -> Conversion:
    return registry.from_file(recognise(folder), Intent(**intent))


def sklearn(folder: Path, model: Any = None, *, frame: Any = FRAME, predict_fn: str = "predict", **more: Any) -> Path:
    model = LogisticRegression().fit(frame, Y) if model is None else model
    flavours = {
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle", "code": None},
        "python_function": {"model_path": "model.pkl", "predict_fn": predict_fn},
    }
    directory(folder, flavours, **({"inputs": NAMES} | more))
    joblib.dump(model, folder / "model.pkl")
    return folder


def booster(folder: Path, objective: str = "binary:logistic", *, model_class: str = "", **more: Any) -> Path:
    options = {
        "objective": objective,
        "max_depth": 2,
        "nthread": 1,
        **({"num_class": 2} if "multi" in objective else {}),
    }
    model = xgb.train(options, xgb.DMatrix(X, Y), 3)
    flavour = {"data": "model.ubj", "model_class": model_class or "xgboost.core.Booster"}
    directory(folder, {"xgboost": flavour} | PYFUNC, **({"inputs": NAMES} | more))
    model.save_model(folder / "model.ubj")
    return folder


# -- what a directory is -----------------------------------------------------------------------------------------------


def _touch(name: str, data: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return make


@pytest.mark.parametrize(
    ("flavours", "make", "found"),
    [
        ({"sklearn": {"pickled_model": "model.pkl"}}, _touch("model.pkl", pickle.dumps({})), ("mlflow", "pickle")),
        ({"xgboost": {"data": "model.json"}}, _touch("model.json", b'{"learner":{}}'), ("mlflow", None)),
        ({"lightgbm": {"data": "model.lgb"}}, _touch("model.lgb", b"tree\nversion=v4\n"), ("mlflow", None)),
        ({"lightgbm": {"data": "model.pkl"}}, _touch("model.pkl", pickle.dumps({})), ("mlflow", "pickle")),
        ({"catboost": {"data": "model.cb"}}, _touch("model.cb", b"CBM1...."), ("mlflow", None)),
        ({}, None, ("mlflow-pyfunc", "pyfunc")),
        ({"prophet": {"data": "model.pr"}}, None, ("mlflow-pyfunc", "pyfunc")),
        # a form that nobody here reads: MLflow can still run it
        ({"xgboost": {"data": "model.xgb"}}, _touch("model.xgb", b"binf...."), ("mlflow-pyfunc", "pyfunc")),
    ],
)  # fmt: skip
def test_a_directory_needs_the_trust_of_the_model_in_it(
    flavours: Any, make: Callable[[Path], None] | None, found: tuple[str, str | None], tmp_path: Path
) -> None:
    directory(tmp_path / "m", flavours | PYFUNC)
    if make is not None:
        make(tmp_path / "m")
    source = recognise(tmp_path / "m")
    assert (source.format, source.trust) == found


def test_a_flavour_that_nothing_here_runs_is_refused_by_name(tmp_path: Path) -> None:
    directory(tmp_path / "m", {"spark": {"model_data": "sparkml"}})
    with pytest.raises(SetsailError, match="spark") as told:
        recognise(tmp_path / "m")
    assert told.value.code == "source.unknown"


def test_code_is_served_and_not_packed(tmp_path: Path) -> None:
    directory(tmp_path / "m", PYFUNC)
    with pytest.raises(SetsailError, match="setsail serve DIR --trust pyfunc") as told:
        setsail.pack(tmp_path / "m", trust=["pyfunc"], output=tmp_path / "m.setsail")
    assert told.value.code == "convert.unsupported"


def test_a_pickle_behind_another_flavour_is_not_loaded(tmp_path: Path) -> None:
    directory(tmp_path / "m", {"onnx": {"data": "model.onnx"}} | PYFUNC)
    (tmp_path / "m" / "model.onnx").write_bytes(pickle.dumps({}))
    with pytest.raises(SetsailError) as told:
        recognise(tmp_path / "m")
    assert told.value.code == "source.damaged"


def test_a_directory_that_changed_since_it_was_recognised_is_not_loaded(tmp_path: Path) -> None:
    source = recognise(booster(tmp_path / "m"))
    shutil.rmtree(tmp_path / "m")
    sklearn(tmp_path / "m")
    with pytest.raises(SetsailError, match="not what it was") as told:
        registry.from_file(source, Intent())
    assert told.value.code == "source.trust"


# -- what is carried over ----------------------------------------------------------------------------------------------


def test_names_of_columns_come_from_the_signature(tmp_path: Path) -> None:
    made = converted(booster(tmp_path / "m"))
    assert made.signature.inputs[0].columns == ("first", "second", "third one")
    assert made.signature.inputs[0].dtype.name == "float32"  # XGBoost's own


def test_names_keep_the_models_order_and_the_signatures_spelling(tmp_path: Path) -> None:
    """LightGBM writes `_` for a blank; the signature may list columns in another order, and more of them."""
    model = lgb.train({"objective": "regression", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2},
                      lgb.Dataset(FRAME, Y), 3)  # fmt: skip
    inputs = columns(unused="string", **{"third one": "double", "first": "double", "second": "double"})
    folder = directory(tmp_path / "m", {"lightgbm": {"data": "model.lgb"}}, inputs=inputs)
    model.save_model(folder / "model.lgb")
    made = converted(folder)
    assert made.signature.inputs[0].columns == ("first", "second", "third one")
    assert any("unused" in note for note in made.notes)


def test_the_input_example_is_the_example(tmp_path: Path) -> None:
    made = converted(sklearn(tmp_path / "m", example=split(FRAME[:7])))
    example = next(p for p in made.probes if p.what == "example")
    np.testing.assert_allclose(example.inputs["input"], X[:7], atol=1e-9)
    assert converted(tmp_path / "m", example=FRAME[:2]).probes[0].inputs["input"].shape == (2, 3)  # a person's own wins


def test_columns_of_text_and_numbers(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"age": X[:, 0], "city": np.array(["Rome", "Oslo"], dtype=object)[Y]})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough"),
        LinearRegression(),
    ).fit(frame, X[:, 1])
    inputs = columns(age="double", city="string")
    for index, more in enumerate(({"example": split(frame[:5])}, {})):
        made = converted(sklearn(tmp_path / f"m{index}", model, inputs=inputs, **more))
        assert [str(spec) for spec in made.signature.inputs] == ["age:float64[N]", "city:string[N]"]


def test_an_example_that_is_no_rows_is_left_out_with_a_note(tmp_path: Path) -> None:
    made = converted(sklearn(tmp_path / "m", example={"data": [1]}, kind="sparse_matrix_csr"))
    assert all(p.what != "example" for p in made.probes)
    assert any("input_example.json was not used" in note for note in made.notes)


def test_an_example_that_does_not_fit_is_told_as_the_directorys(tmp_path: Path) -> None:
    with pytest.raises(SetsailError, match="MLflow's input example") as told:
        converted(sklearn(tmp_path / "m", example={"columns": ["first"], "data": [[1.0]]}))
    assert told.value.code == "convert.input"


def test_versions_that_differ_are_notes_and_ids_are_not_carried(tmp_path: Path) -> None:
    pins = "mlflow==3.17.2\nxgboost==1.7.6\npandas==1.0\n"
    with setsail.pack(booster(tmp_path / "m", requirements=pins), output=tmp_path / "m.setsail") as packed:
        assert any(note.startswith("saved with xgboost 1.7.6, converted with") for note in packed.notes)
        assert not any("pandas" in note for note in packed.notes)
        assert packed.signature.defaults == ("prediction",)
    data = (tmp_path / "m.setsail").read_bytes()
    assert b"0123456789abcdef0123456789abcdef" not in data
    assert b"fedcba9876543210" not in data
    with setsail.load(tmp_path / "m.setsail") as model:
        truth = xgb.Booster(model_file=tmp_path / "m" / "model.ubj").predict(xgb.DMatrix(X))
        np.testing.assert_allclose(model.predict(FRAME), truth, rtol=1e-3, atol=1e-4)


# -- what MLflow answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "model_class", "answer", "output"),
    [
        ("binary:logistic", "", "prediction", tensor("float32", -1)),
        ("binary:logistic", "xgboost.sklearn.XGBClassifier", "label", tensor("int64", -1)),
        ("binary:logitraw", "", "decision", tensor("float32", -1)),
        ("binary:hinge", "", "label", tensor("float32", -1)),
        ("multi:softprob", "", "probabilities", tensor("float32", -1, 2)),
        ("multi:softmax", "", "label", tensor("float32", -1)),
        ("reg:squarederror", "", "prediction", tensor("float32", -1)),
    ],
)  # fmt: skip
def test_a_bare_booster_answers_its_scores(
    objective: str, model_class: str, answer: str, output: Any, tmp_path: Path
) -> None:
    """As `predict` of the flavour does; the schema of outputs, as MLflow would infer it, has nothing against it."""
    made = converted(booster(tmp_path / "m", objective, model_class=model_class, outputs=[output]))
    assert made.signature.defaults == (answer,)
    assert not any("calls the answer" in note for note in made.notes)
    if not model_class:
        truth = xgb.Booster(model_file=tmp_path / "m" / "model.ubj").predict(
            xgb.DMatrix(made.probes[0].inputs["input"])
        )
        np.testing.assert_allclose(made.probes[0].outputs[answer], truth, rtol=1e-5)


def test_predict_fn_is_the_answer(tmp_path: Path) -> None:
    assert converted(sklearn(tmp_path / "a")).signature.defaults == ("label",)
    assert converted(sklearn(tmp_path / "b", predict_fn="predict_proba")).signature.defaults == ("probabilities",)
    with pytest.raises(SetsailError, match="predict_log_proba") as told:
        converted(sklearn(tmp_path / "c", predict_fn="predict_log_proba"))
    assert told.value.code == "convert.unsupported"


def test_an_answer_of_another_shape_than_the_signature_says_is_a_note(tmp_path: Path) -> None:
    made = converted(sklearn(tmp_path / "m", outputs=[tensor("float64", -1, 2)]))
    assert "MLflow's signature calls the answer float64[-1, 2]; it is label:int64[N]" in made.notes


def test_parameters_are_refused_where_mlflow_uses_them(tmp_path: Path) -> None:
    params = [{"name": "output_margin", "type": "boolean", "default": True, "shape": None}]
    with pytest.raises(SetsailError, match="output_margin") as told:
        converted(booster(tmp_path / "a", params=params))
    assert told.value.code == "convert.unsupported"
    assert any("output_margin" in note for note in converted(sklearn(tmp_path / "b", params=params)).notes)


# -- what cannot be right ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inputs",
    [
        columns(a="double", b="double"),
        columns(first="double", second="double", third="double"),
        columns(**{"first": "string", "second": "double", "third one": "double"}),
        [tensor("float64", -1, 4)],
        [tensor("float64", -1, 3, name="a"), tensor("float64", -1, 3, name="b")],
        [tensor("str", -1, 3)],
    ],
)  # fmt: skip
def test_a_signature_that_contradicts_the_model_is_refused(inputs: Any, tmp_path: Path) -> None:
    with pytest.raises(SetsailError, match="contradicts the model") as told:
        converted(sklearn(tmp_path / "m", inputs=inputs), example=FRAME[:4])
    assert told.value.code == "convert.input"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "flavors: 3", "flavors: {}", "flavors: {sklearn: model.pkl}", "a: [", "flavors: {1: {}}",
        "flavors: {xgboost: {data: 3}}", "flavors: {xgboost: {data: missing.ubj}}",
        "flavors: {xgboost: {data: ../model.ubj}}", "flavors: {xgboost: {data: /etc/passwd}}",
        "flavors: {python_function: {}}\nsignature: 3", "flavors: {python_function: {}}\nsignature: {inputs: '{'}",
        "flavors: {python_function: {}}\nsignature: {inputs: '[3]'}", "--- {}\n--- {}",
        "flavors: {python_function: {}}\nsaved_input_example_info: 3", "flavors: !!python/object:os.system {}",
        "flavors: {pytorch: {model_data: data}}", "at: 2026-99-99",
    ],
)  # fmt: skip
def test_a_file_that_is_no_mlmodel_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "m" / "data").mkdir(parents=True)
    (tmp_path / "m" / "MLmodel").write_text(text)
    (tmp_path / "model.ubj").write_bytes(b"")
    with pytest.raises(SetsailError) as told:
        recognise(tmp_path / "m")
    assert told.value.code == "source.damaged"


def test_without_pyyaml_the_pip_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory(tmp_path / "m", PYFUNC)
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(SetsailError) as told:
        recognise(tmp_path / "m")
    assert told.value.code == "dependency.missing"
    assert 'pip install "setsail[mlflow]"' in told.value.message


# -- pipelines of transformers: the model in one folder, its tokenizer in another --------------------------------------


def pipeline(folder: Path, *, kind: str = "BertForSequenceClassification", **options: Any) -> Path:
    """What `mlflow.transformers.save_model` writes, around a directory of transformers."""
    flavour = {
        "task": "text-classification", "pipeline_model_type": kind, "model_binary": "model", "code": None,
        "components": ["tokenizer"], "instance_type": "TextClassificationPipeline", "torch_dtype": "torch.float32",
        **options,
    }  # fmt: skip
    directory(folder, {"transformers": flavour} | PYFUNC, inputs=[{"type": "string", "required": True}])
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": [kind]}))
    (folder / "model" / "model.safetensors").write_bytes(b"")
    (folder / "components" / "tokenizer").mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ("mlflow", None)),
        ({"task": "text-generation", "kind": "LlamaForCausalLM"}, ("mlflow-pyfunc", "pyfunc")),
        ({"task": "zero-shot-classification"}, ("mlflow-pyfunc", "pyfunc")),  # it asks for labels with each text
        ({"model_binary": None, "source_model_name": "some/model"}, ("mlflow-pyfunc", "pyfunc")),
        ({"peft_adaptor": "peft"}, ("mlflow-pyfunc", "pyfunc")),
        ({"model_config": {"top_k": 5}}, ("mlflow-pyfunc", "pyfunc")),
        ({"model_config": {"batch_size": 5}}, ("mlflow", None)),
    ],
)  # fmt: skip
def test_a_pipeline_is_packed_where_its_task_is_ours(
    options: Any, found: tuple[str, str | None], tmp_path: Path
) -> None:
    source = recognise(pipeline(tmp_path / "m", **options))
    assert (source.format, source.trust) == found


def test_a_tokenizer_that_brings_code_is_refused_wherever_it_lies(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "m")
    settings = json.dumps({"auto_map": {"AutoTokenizer": ["mine.Mine", None]}})
    (folder / "components" / "tokenizer" / "tokenizer_config.json").write_text(settings)
    with pytest.raises(SetsailError, match="auto_map") as told:
        converted(folder)
    assert told.value.code == "convert.unsupported"


def test_parts_that_lead_out_of_the_directory_are_refused(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "m")
    (folder / "components" / "tokenizer").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "components" / "tokenizer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SetsailError) as told:
        converted(folder)
    assert told.value.code == "source.damaged"


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("several", [False, True])
def test_a_pipeline_answers_a_label_and_its_score(several: bool, tmp_path: Path) -> None:
    hugging = pytest.importorskip("hugging", reason="needs transformers and torch")
    folder = pipeline(tmp_path / "m")
    shutil.rmtree(folder / "model")
    options = {"problem_type": "multi_label_classification"} if several else {}
    model, tokenizer = hugging.bert(folder / "model", **options), hugging.word_pieces()
    for part in (folder / "model").glob("*token*"):
        shutil.move(part, folder / "components" / "tokenizer" / part.name)
    made = converted(folder)
    assert made.signature.defaults == ("label", "score")
    packed = setsail.pack(folder, output=tmp_path / "m.setsail")
    assert any("flavour transformers" in note for note in packed.notes)
    texts = np.array(["the cat sat", "a bad film", "why?"], dtype=object)
    asked = hugging.transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)(list(texts))
    with setsail.load(packed) as loaded:
        answer = loaded.predict(texts)
    assert answer["label"].tolist() == [row["label"] for row in asked]
    np.testing.assert_allclose(answer["score"], [row["score"] for row in asked], rtol=1e-3, atol=1e-4)
