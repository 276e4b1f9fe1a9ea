"""TorchServe's wires: inference, management, metrics' names and tokens (docs/wires/torchserve.md)."""
