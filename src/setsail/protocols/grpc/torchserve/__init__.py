"""TorchServe over gRPC: inference and management (docs/wires/torchserve.md)."""
