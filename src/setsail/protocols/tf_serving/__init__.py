"""TensorFlow Serving's REST API and KServe's V1, which share their paths (docs/wires/tf-serving.md)."""

from setsail.protocols.tf_serving.paths import ORIGINAL_ROUTES, ROUTES
from setsail.protocols.tf_serving.wire import ORIGINAL, WIRE

__all__ = ["ORIGINAL", "ORIGINAL_ROUTES", "ROUTES", "WIRE"]
