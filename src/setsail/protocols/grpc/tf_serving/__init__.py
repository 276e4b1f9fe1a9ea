"""TensorFlow Serving over gRPC: its three services as rows of the table of methods (docs/wires/tf-serving-grpc.md)."""
