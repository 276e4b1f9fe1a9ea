"""GraphPipe: tensors as FlatBuffers over HTTP (docs/wires/graphpipe.md)."""

from setsail.protocols.graphpipe.wire import EVERYWHERE, ROUTES, WIRE

__all__ = ["EVERYWHERE", "ROUTES", "WIRE"]
