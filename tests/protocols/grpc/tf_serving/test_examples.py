"""`Classify`, `Regress` and `MultiInference` with the models of the fake house."""

from __future__ import annotations

from typing import Any

import pytest
from fakehouse import gallery

from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import message

SERVICE = "/tensorflow.serving.PredictionService/"
MESSAGES = {"Classify": "Classification", "Regress": "Regression", "MultiInference": "MultiInference"}


def example(**features: Any) -> dict[str, Any]:
    kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
    told = {
        name: {kinds[type(values[0])]: {"value": values}} if values else {}
        for name, values in {n: v if isinstance(v, list) else [v] for n, v in features.items()}.items()
    }
    return {"features": {"feature": told}}


FLOWER = example(sepal_length=9.0, sepal_width=1.0, petal_length=1, petal_width=1.0)


def ask(method: str, **fields: Any) -> Any:
    kind = "tensorflow.serving." + MESSAGES[method]
    exchange = METHODS[SERVICE + method].decode(message(kind + "Request")(**fields).SerializeToString())
    return message(kind + "Response").FromString(exchange.encode(gallery().answer(exchange.ask)))


def code_of(method: str, **fields: Any) -> str:
    with pytest.raises(SetsailError) as caught:
        ask(method, **fields)
    return caught.value.code


def examples(*rows: Any) -> dict[str, Any]:
    return {"example_list": {"examples": rows}}


def test_classes_and_their_scores() -> None:
    told = ask("Classify", model_spec={"name": "iris"}, input=examples(FLOWER, FLOWER))
    assert len(told.result.classifications) == 2
    classes = told.result.classifications[0].classes
    assert [c.label for c in classes] == ["setosa", "versicolor", "virginica"]
    assert classes[0].score > 0.99
    assert (told.model_spec.version.value, told.model_spec.signature_name) == (1, "serving_default")
    told = ask("Classify", model_spec={"name": "iris", "signature_name": "label"}, input=examples(FLOWER))
    assert [(c.label, c.score) for c in told.result.classifications[0].classes] == [("setosa", 0.0)]


def test_texts_whole_tables_and_unknown_features() -> None:
    told = ask("Classify", model_spec={"name": "review"}, input=examples(example(text="hé".encode(), other=3)))
    assert [c.label for c in told.result.classifications[0].classes] == ["neg", "pos"]
    whole = ask("Classify", model_spec={"name": "iris"}, input=examples(example(input=[9.0, 1.0, 1.0, 1.0])))
    assert whole == ask("Classify", model_spec={"name": "iris"}, input=examples(FLOWER))


def test_values_with_a_context() -> None:
    whole = {"examples": [example(input=[1.0] * 4)], "context": example(age=1.0)}
    assert (
        code_of("Regress", model_spec={"name": "iris"}, input={"example_list_with_context": whole}) == "model.signature"
    )
    rows = {"examples": [example(x=[2.5, 1.0])], "context": example(x=[0.0, 0.0])}
    told = ask("Classify", model_spec={"name": "echo-float32"}, input={"example_list_with_context": rows})
    assert [c.score for c in told.result.classifications[0].classes] == [2.5, 1.0]


def test_several_tasks_over_one_input() -> None:
    spec = {"name": "iris"}
    tasks = [
        {"model_spec": spec, "method_name": "tensorflow/serving/classify"},
        {"model_spec": spec | {"signature_name": "label"}, "method_name": "tensorflow/serving/classify"},
    ]
    told = ask("MultiInference", tasks=tasks, input=examples(FLOWER))
    assert [r.WhichOneof("result") for r in told.results] == ["classification_result"] * 2
    assert [len(r.classification_result.classifications[0].classes) for r in told.results] == [3, 1]
    assert [r.model_spec.signature_name for r in told.results] == ["serving_default", "label"]


CLASSIFY = {"model_spec": {"name": "iris"}, "method_name": "tensorflow/serving/classify"}
OTHER = CLASSIFY | {"model_spec": {"name": "x", "signature_name": "y"}}


@pytest.mark.parametrize(
    ("method", "fields", "code"),
    [
        ("Classify", {"model_spec": {"name": "iris"}}, "request.form"),
        ("Classify", {"input": examples(FLOWER)}, "request.form"),
        ("Classify", {"model_spec": {"name": "iris"}, "input": examples()}, "input.empty"),
        ("Classify", {"model_spec": {"name": "iris"}, "input": examples(example())}, "input.missing"),
        ("Classify", {"model_spec": {"name": "iris", "signature_name": "x"}, "input": examples(FLOWER)},
         "model.signature"),
        ("Regress", {"model_spec": {"name": "iris"}, "input": examples(FLOWER)}, "model.signature"),
        ("MultiInference", {"input": examples(FLOWER)}, "request.form"),
        ("MultiInference", {"tasks": [{"model_spec": {"name": "iris"}}], "input": examples(FLOWER)}, "request.form"),
        ("MultiInference", {"tasks": [CLASSIFY, OTHER], "input": examples(FLOWER)},
         "request.form"),
        ("MultiInference", {"tasks": [CLASSIFY, CLASSIFY | {"method_name": "tensorflow/serving/regress"}],
                            "input": examples(FLOWER)}, "request.form"),
        ("MultiInference", {"tasks": [CLASSIFY | {"model_spec": {"name": "iris", "signature_name": "x"}}],
                            "input": examples(FLOWER)}, "model.signature"),
    ],
)  # fmt: skip
def test_refusals(method: str, fields: Any, code: str) -> None:
    assert code_of(method, **fields) == code


def test_a_feature_without_values_is_missing() -> None:
    rows = examples(example(x=[1.0, 2.0]), example(x=[]))
    assert code_of("Classify", model_spec={"name": "echo-float32"}, input=rows) == "input.ragged"
