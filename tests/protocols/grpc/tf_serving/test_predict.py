"""`Predict` with the models of the fake house."""

from __future__ import annotations

from typing import Any

import pytest
from fakehouse import gallery

from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import message

PATH = "/tensorflow.serving.PredictionService/Predict"
PREDICT = message("tensorflow.serving.PredictRequest")
PREDICTED = message("tensorflow.serving.PredictResponse")


def doubles(values: list[float], width: int = 4) -> dict[str, Any]:
    dims = [{"size": len(values) // width}, {"size": width}]
    return {"dtype": 2, "tensor_shape": {"dim": dims}, "double_val": values}


def ask(**fields: Any) -> Any:
    sent = PREDICT(**{"model_spec": {"name": "iris"}, "inputs": {"input": doubles([9, 1, 1, 1])}, **fields})
    exchange = METHODS[PATH].decode(sent.SerializeToString())
    return PREDICTED.FromString(exchange.encode(gallery().answer(exchange.ask)))


def refusal(**fields: Any) -> tuple[str, int]:
    with pytest.raises(SetsailError) as caught:
        ask(**fields)
    return caught.value.code, METHODS[PATH].status(caught.value)[0]


def test_an_answer_names_the_version_and_the_signature() -> None:
    told = ask()
    spec = told.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("iris", 1, "serving_default")
    assert set(told.outputs) == {"probabilities"}
    assert len(told.outputs["probabilities"].float_val) == 3
    assert [d.size for d in told.outputs["probabilities"].tensor_shape.dim] == [1, 3]


def test_signatures_filters_versions_and_labels() -> None:
    told = ask(model_spec={"name": "iris", "signature_name": "label"})
    assert (set(told.outputs), told.model_spec.signature_name) == ({"label"}, "label")
    assert told.outputs["label"].string_val == [b"setosa"]
    assert set(ask(output_filter=["label", "probabilities"]).outputs) == {"label", "probabilities"}
    assert ask(model_spec={"name": "iris", "version": {"value": 1}}).outputs
    assert ask(model_spec={"name": "iris", "version_label": "stable"}).model_spec.version.value == 1


def test_a_float_widens_and_columns_have_names() -> None:
    single = {"dtype": 1, "tensor_shape": {"dim": [{"size": 1}, {"size": 4}]}, "float_val": [9, 1, 1, 1]}
    assert ask(inputs={"input": single}).outputs == ask().outputs
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    columns = {name: {"dtype": 2, "tensor_shape": {"dim": [{"size": 1}]}, "double_val": [9 if i == 0 else 1]}
               for i, name in enumerate(names)}  # fmt: skip
    assert ask(inputs=columns).outputs == ask().outputs


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"model_spec": {}}, "request.form", 3),
        ({"model_spec": {"name": "nobody"}}, "model.unknown", 5),
        ({"model_spec": {"name": "iris", "version": {"value": 9}}}, "model.version", 5),
        ({"model_spec": {"name": "iris", "version": {"value": 0}}}, "model.version", 5),
        ({"model_spec": {"name": "iris", "version_label": "canary"}}, "model.label", 3),
        ({"model_spec": {"name": "iris", "signature_name": "logits"}}, "model.signature", 9),
        ({"model_spec": {"name": "sleepy"}}, "model.not_ready", 5),
        ({"output_filter": ["nothing"]}, "output.unknown", 3),
        ({"output_filter": ["label", "label"]}, "output.unknown", 3),
        ({"inputs": {}}, "input.missing", 3),
        ({"inputs": {"input": doubles([9, 1, 1, 1]), "y": doubles([1], 1)}}, "input.unknown", 3),
        ({"inputs": {"input": doubles([1, 2, 3], 3)}}, "input.shape", 3),
        ({"inputs": {"input": {"dtype": 7, "tensor_shape": {"dim": [{"size": 1}]}}}}, "input.dtype", 3),
        ({"predict_streamed_options": {"request_state": "SPLIT"}}, "request.unsupported", 12),
    ],
)
def test_refusals(fields: Any, code: str, status: int) -> None:
    assert refusal(**fields) == (code, status)


def test_a_message_that_is_none() -> None:
    with pytest.raises(SetsailError) as caught:
        METHODS[PATH].decode(b"\xff\xff")
    assert caught.value.code == "request.malformed"


def test_options_that_change_no_answer_are_taken() -> None:
    assert ask(client_id=b"c", request_options={"client_id": b"c"}).outputs == ask().outputs
