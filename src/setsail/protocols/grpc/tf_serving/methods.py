"""The methods of TensorFlow Serving's three services."""

from __future__ import annotations

from typing import Final

from setsail.protocols.grpc.method import UNARY, Method
from setsail.protocols.grpc.tf_serving import examples, models, predict
from setsail.protocols.grpc.tf_serving.spec import WIRE, named, status

__all__ = ["ROWS"]

_PREDICTIONS: Final = {"Predict": predict.predict, "Classify": examples.classify, "Regress": examples.regress}
_OTHERS: Final = {
    "PredictionService/MultiInference": examples.multi_inference,
    "PredictionService/GetModelMetadata": models.metadata,
    "ModelService/GetModelStatus": models.status,
    "ModelService/HandleReloadConfigRequest": models.reload_config,
    "SessionService/SessionRun": models.session_run,
}
_PACKAGE: Final = "/tensorflow.serving."
ROWS: Final = (
    *(
        Method(f"{_PACKAGE}PredictionService/{name}", UNARY, decode, model=named, wire=WIRE, status=status)
        for name, decode in _PREDICTIONS.items()
    ),
    *(Method(_PACKAGE + path, UNARY, decode, wire=WIRE, status=status) for path, decode in _OTHERS.items()),
)
