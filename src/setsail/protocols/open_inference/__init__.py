"""Open Inference Protocol v2 over REST (docs/wires/open-inference.md), and what of it gRPC shares.

    form             the JSON of a prediction's request
    tensors          its tensors: declared datatypes and shapes, values as JSON or bytes
    content_types    MLServer's `content_type` of a tensor
    infer            request to question; answers: back again
    classification   Triton's classes instead of values
    refusals         what the protocol's servers have and setsail has not, by name
    server, health, metadata, configuration, figures, repository    everything but predictions
    dialects, routes    the servers that speak it, and each one's paths

`ROUTES` are answered on the data port; `TRITON`, `KSERVE` and `MLSERVER` by who imitates one of them.
"""

from setsail.protocols.open_inference.dialects import WIRE
from setsail.protocols.open_inference.routes import KSERVE, MLSERVER, ROUTES, TRITON

__all__ = ["KSERVE", "MLSERVER", "ROUTES", "TRITON", "WIRE"]
