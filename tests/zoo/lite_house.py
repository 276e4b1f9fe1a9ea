"""Makes the zoo's quantised TensorFlow Lite files with TensorFlow's own converter, and packs them.

    python lite_house.py FOLDER

Leaves for each `NAME.tflite`, `NAME.setsail` and `NAME.npz` (`in_0`: rows, `out_OUTPUT`: what a plain interpreter
answers to all of them at once, or one by one where the batch is fixed). The last line it prints is JSON: the formats
that were packed. It is a script of its own: nothing of the tests can be imported where TensorFlow is.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from setsail.convert.conversion import Intent
from setsail.packing import PackOptions, pack

L, Input, K = keras.layers, keras.Input, keras.Sequential
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(24, 4)).astype(np.float32)
IMAGES = RNG.normal(size=(16, 8, 8, 3)).astype(np.float32)


def dense() -> Any:
    return K([Input((4,)), L.Dense(8, activation="relu"), L.Dense(3)])


def convolution() -> Any:
    layers = [L.Conv2D(8, 3, activation="relu"), L.MaxPooling2D(), L.GlobalAveragePooling2D()]
    return K([Input((8, 8, 3)), *layers, L.Dense(4, activation="softmax")])


def depthwise() -> Any:
    """As in MobileNet: depthwise, then across channels, beside a way around both."""
    x = Input((8, 8, 3))
    h = L.ReLU(6)(L.Conv2D(6, 1)(x))
    h = L.Add()([h, L.Conv2D(6, 1)(L.ReLU(6)(L.DepthwiseConv2D(3, padding="same")(h)))])
    return keras.Model(x, L.Dense(3)(L.Flatten()(h)))


def written(model: Any, rows: Any, folder: Path, *, io: str, batch: int | None = None, inside: str = "int8") -> bytes:
    """A file of TensorFlow's converter.

    Args:
        io: dtype of what it takes and gives. batch: a number fixes it.
        inside: `int8`; `int16` for activations of 16 bits; `range` for weights of 8 bits and activations of floats.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.TensorSpec([batch, *rows.shape[1:]], tf.float32)
    archive.add_endpoint("serve", lambda x: model(x, training=False), input_signature=[spec])
    archive.write_out(str(folder / "saved"), verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if inside != "range":
        sets, narrow = tf.lite.OpsSet, tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        wide = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.representative_dataset = lambda: ([row[None]] for row in rows)
        converter.target_spec.supported_ops = [wide if inside == "int16" else narrow]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(io)
    return bytes(converter.convert())


def quantised(content: bytes, rows: Any) -> Any:
    """Rows as the file takes them."""
    given = Interpreter(model_content=content).get_input_details()[0]
    if given["dtype"] == np.float32:
        return rows
    scale, zero = given["quantization"]
    limits = np.iinfo(given["dtype"])
    return np.clip(np.round(rows / scale + zero), limits.min, limits.max).astype(given["dtype"])


def answered(content: bytes, rows: Any) -> Any:
    interpreter = Interpreter(model_content=content, num_threads=1)
    given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    free = given["shape_signature"][0] == -1
    found = []
    for part in [rows] if free else [rows[i : i + 1] for i in range(len(rows))]:
        interpreter.resize_tensor_input(given["index"], part.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], part)
        interpreter.invoke()
        found.append(interpreter.get_tensor(answer["index"]).copy())
    return np.concatenate(found)


HOUSE: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    **{f"tflite-{io}-dense": (dense, TABLE, {"io": io}) for io in ("uint8", "float32")},
    **{f"tflite-{io}-image": (convolution, IMAGES, {"io": io}) for io in ("int8", "uint8", "float32")},
    **{f"tflite-{io}-depthwise": (depthwise, IMAGES, {"io": io}) for io in ("int8", "uint8", "float32")},
    "tflite-int8-one": (convolution, IMAGES, {"io": "int8", "batch": 1}),
    "tflite-int16-image": (convolution, IMAGES, {"io": "int16", "inside": "int16"}),
    "tflite-range-image": (convolution, IMAGES, {"io": "float32", "inside": "range"}),
}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    place, formats = Path(sys.argv[1]), {}
    for name, (make, rows, how) in HOUSE.items():
        content = written(make(), rows, place, **how)
        (place / f"{name}.tflite").write_bytes(content)
        taken = quantised(content, rows)
        artifact = pack(place / f"{name}.tflite", Intent(), PackOptions(name=name, output=place / f"{name}.setsail"))
        np.savez(
            place / f"{name}.npz", in_0=taken, **{f"out_{artifact.signature.outputs[0].name}": answered(content, taken)}
        )
        formats[name] = [artifact.variants[0].format, artifact.variants[0].max_batch]
    print(json.dumps(formats))
