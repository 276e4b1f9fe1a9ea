"""TensorFlow Serving over gRPC on every engine: its statuses, and its name in the counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fakehouse import echo, iris
from furnished import furnish

from setsail.protocols.grpc.pool import message
from setsail.server.grpc_engines import ENGINES
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import BY_NAME

grpc = pytest.importorskip("grpc")
PREDICTION = "/tensorflow.serving.PredictionService/"
PREDICT = message("tensorflow.serving.PredictRequest")
PREDICTED = message("tensorflow.serving.PredictResponse")


class Live:
    def __init__(self, engine: str) -> None:
        self.server = Server(Settings(port=0, admin_port=-1, grpc_engine=engine, grpc_port=0))
        sleepy = echo(BY_NAME["float32"], "sleepy")
        sleepy.state = "loading"
        furnish(self.server.house, echo(BY_NAME["float32"]), iris(), sleepy)
        self.server.start()
        self.channel = grpc.insecure_channel(self.server.grpc_target)

    def predict(self, values: Any = ((1.0, 2.0),), timeout: float = 20.0, **spec: Any) -> Any:
        array = np.array(values, np.float32)
        tensor = {"dtype": 1, "tensor_shape": {"dim": [{"size": size} for size in array.shape]}}
        asked = PREDICT(model_spec=spec, inputs={"x": tensor | {"tensor_content": array.tobytes()}})
        told = self.channel.unary_unary(PREDICTION + "Predict")(asked.SerializeToString(), timeout=timeout)
        return PREDICTED.FromString(told)

    def fault(self, **spec: Any) -> tuple[str, str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            self.predict(**spec)
        metadata = dict(caught.value.trailing_metadata() or ())
        return caught.value.code().name, metadata["x-setsail-error"], caught.value.details()

    def close(self) -> None:
        self.channel.close()
        self.server.close()


@pytest.fixture(scope="module", params=ENGINES)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    made = Live(request.param)
    yield made
    made.close()


def test_the_same_request_again_with_other_values(live: Live) -> None:
    """The first is read by protobuf, the others by what was learnt of it."""
    for number in range(5):
        told = live.predict([[number, 2.5]], name="echo-float32")
        assert list(told.outputs["y"].float_val) == [number, 2.5]
        assert (told.model_spec.version.value, told.model_spec.signature_name) == (1, "serving_default")


def test_statuses_are_the_originals(live: Live) -> None:
    status, code, text = live.fault(name="nobody")
    assert (status, code) == ("NOT_FOUND", "model.unknown")
    assert text.endswith("Servable not found for request: Latest(nobody)")
    assert live.fault(name="sleepy")[:2] == ("NOT_FOUND", "model.not_ready")
    assert live.fault(name="iris", signature_name="logits")[:2] == ("FAILED_PRECONDITION", "model.signature")
    assert live.fault(name="echo-float32", version={"value": 7})[:2] == ("NOT_FOUND", "model.version")
    assert live.fault(name="echo-float32", version={"value": 7})[2].endswith("Specific(echo-float32, 7)")
    assert live.fault(name="echo-float32", version_label="canary")[:2] == ("INVALID_ARGUMENT", "model.label")


def test_its_calls_are_counted_under_its_name(live: Live) -> None:
    live.predict(name="echo-float32")
    live.fault(name="iris", signature_name="logits")
    counted = {(model, wire, code) for model, _, wire, code in live.server.meter.snapshot().requests}
    assert ("echo-float32", "tf-serving-grpc", "ok") in counted
    assert {wire for _, wire, _ in counted} == {"tf-serving-grpc"}
    assert {code for _, _, code in counted} >= {"ok", "model.signature"}


def test_sessions_and_unknown_methods(live: Live) -> None:
    for path in ("/tensorflow.serving.SessionService/SessionRun", PREDICTION + "PredictStreamed"):
        with pytest.raises(grpc.RpcError) as caught:
            live.channel.unary_unary(path)(b"", timeout=20)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
