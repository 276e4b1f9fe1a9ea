"""An environment with TensorFlow, and with this setsail, for all tests that need it: 2 GB, and some minutes; and one
that has Keras' other backends too, for live models of theirs: another 3 GB.
"""

from __future__ import annotations

from pathlib import Path

from client_envs import client_python

__all__ = ["PINS", "keras_python", "tensorflow_python"]

ROOT = Path(__file__).parents[2]
PINS = (
    "tensorflow-cpu==2.21.0", "keras==3.15.1", "tf2onnx==1.17.0", "ai-edge-litert==2.3.0", "h5py==3.14.0",
    "protobuf==6.33.6", "numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.31.1",
)  # fmt: skip
BACKENDS = ("torch==2.13.0", "jax[cpu]==0.10.2")


def tensorflow_python() -> Path:
    """Its interpreter. setsail is there as it lies here, with what it depends on."""
    return client_python("tensorflow", *PINS, "-e", str(ROOT))


def keras_python() -> Path:
    """The interpreter of the one with PyTorch and JAX beside TensorFlow."""
    pins = [pin for pin in PINS if not pin.startswith("ai-edge")]
    return client_python("keras", *pins, *BACKENDS, "-e", str(ROOT))
