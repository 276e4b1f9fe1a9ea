"""Own layers and models of Keras, for any backend: what a person keeps in a module beside the script.

Registered and not, with a call of several arguments, and two that no other backend can follow.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

__all__ = ["Forgetful", "Gated", "Native", "Twofold", "double", "everything", "noise", "soft_sign"]


def soft_sign(x: Any) -> Any:
    """An activation that nobody registered: Keras saves where it is."""
    return x / (1.0 + keras.ops.abs(x))


@keras.saving.register_keras_serializable(package="own")
class Gated(keras.layers.Layer):
    """A registered layer, whose weights are its own."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform", name="kernel")
        self.gate = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform", name="gate")

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, self.kernel) * keras.ops.sigmoid(keras.ops.matmul(x, self.gate))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Twofold(keras.Model):
    """A subclassed model that nobody registered: two arguments, a dict as its answer, sampling in training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.gated, self.norm = Gated(width), keras.layers.BatchNormalization()
        self.drop, self.last = keras.layers.Dropout(0.5), keras.layers.Dense(3, activation="softmax")
        self.places = keras.layers.Embedding(9, width)

    def call(self, x: Any, place: Any, training: bool = False) -> Any:
        there = keras.ops.mean(self.places(place), axis=1)
        hidden = self.drop(self.norm(self.gated(x), training=training) + there, training=training)
        return {"scores": self.last(hidden), "hidden": soft_sign(hidden)}

    def get_config(self) -> dict[str, Any]:
        return {"width": self.width}


class Native(keras.layers.Layer):
    """Computes with its backend's own functions rather than `keras.ops`: no other backend has them."""

    def call(self, x: Any) -> Any:
        return x.clone() if hasattr(x, "clone") else x.block_until_ready()

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


class Forgetful(keras.layers.Layer):
    """Has a state that its configuration does not tell of: what is loaded is another model."""

    factor = 1.0

    def call(self, x: Any) -> Any:
        return x * self.factor


def everything() -> dict[str, Any]:
    """For `--factory own_keras_layers:everything`: what nobody registered, by the name that a file has of it."""
    return {"soft_sign": soft_sign, "Twofold": Twofold}


def double(layer: Any, factor: float = 2.0) -> Any:
    """Change a layer behind Keras' back."""
    layer.factor = factor
    return layer


def noise(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape).astype(np.float32)
