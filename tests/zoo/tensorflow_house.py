"""Makes the zoo's models of TensorFlow, in an environment that has it, and packs them.

    python tensorflow_house.py FOLDER

Leaves for each model `NAME.setsail` and `NAME.npz` (`in_0`, `in_1`, … rows; `out_OUTPUT` the model's own answers), and
for each refusal its code and text; the last line it prints is JSON. It is a script of its own: nothing of the tests can
be imported where TensorFlow is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
import tensorflow as tf

from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack

L, Input, K = keras.layers, keras.Input, keras.Sequential
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(24, 4)).astype(np.float32)
IMAGES = RNG.uniform(0, 255, (8, 16, 16, 3)).astype(np.float32)
SERIES = RNG.normal(size=(8, 7, 4)).astype(np.float32)
TOKENS = RNG.integers(0, 30, (12, 7)).astype(np.int32)
WORDS = np.array(["red", "green", "blue", "mauve", "", "Red"], dtype=object)[:, None]
CODES = np.array([10, 20, 30, 40, 0, -1], dtype=np.int64)[:, None]

Made = tuple[Any, tuple[Any, ...]]  # a model, and rows for each of its inputs


def trained(model: Any, *rows: Any) -> Made:
    """A few steps towards noise, so that weights and running statistics are nobody's defaults."""
    target = RNG.normal(size=np.shape(model(rows[0]))).astype(np.float32)
    model.compile("adam", "mse")
    model.fit(rows[0], target, epochs=2, verbose=0)
    return model, rows


def table() -> Made:
    layers = [L.Dense(8, activation="relu"), L.BatchNormalization(), L.Dropout(0.5), L.Dense(3, activation="softmax")]
    return trained(K([Input((4,)), *layers]), TABLE)


def dense() -> Made:
    return K([Input((4,)), L.Dense(8, activation="relu"), L.Dense(3)]), (TABLE,)


def image_classifier(varied: bool = True) -> Made:
    """What a classifier of images looks like: the picture's values are scaled, and varied in training, inside it."""
    prepare: list[Any] = [L.Rescaling(1 / 127.5, offset=-1)]
    prepare += [L.RandomFlip(), L.RandomRotation(0.1), L.RandomZoom(0.1)] if varied else []
    middle = [L.Conv2D(4, 3, padding="same"), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(),
              L.SeparableConv2D(6, 3, strides=2), L.GlobalAveragePooling2D()]  # fmt: skip
    return trained(K([Input((16, 16, 3)), *prepare, *middle, L.Dense(5, activation="softmax")]), IMAGES)


def any_size() -> Made:
    return K([Input((None, None, 3)), L.Resizing(8, 8), L.Conv2D(4, 3), L.GlobalMaxPooling2D(), L.Dense(2)]), (IMAGES,)


def normalised() -> Made:
    scale = L.Normalization()
    scale.adapt(TABLE * 9 + 4)
    return K([Input((4,)), scale, L.Dense(3)]), (TABLE * 9 + 4,)


def attention() -> Made:
    x = Input((None, 4))
    h = L.LayerNormalization()(L.MultiHeadAttention(2, 4)(x, x) + x)
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(h))), (SERIES,)


def recurrent() -> Made:
    layers = [L.Embedding(30, 4, mask_zero=True), L.Bidirectional(L.LSTM(3, return_sequences=True)), L.GRU(3)]
    return K([Input((None,), dtype="int32"), *layers, L.Dense(2)]), (TOKENS,)


def two_by_two() -> Made:
    """Several inputs and outputs, by position: own names are kept, counted ones are not."""
    a, b = Input((3,)), Input((1,), name="side")
    h = L.Concatenate()([a, b])
    out = [L.Dense(2)(h), L.Dense(3, activation="softmax", name="kind")(h)]
    return keras.Model([a, b], out), (TABLE[:, :3], TABLE[:, 3:])


def by_name() -> Made:
    a, b = Input((3,), name="a"), Input((1,), name="b", dtype="int32")
    h = L.Concatenate()([a, L.Flatten()(L.Embedding(10, 4)(b))])
    model = keras.Model({"a": a, "b": b}, {"price": L.Dense(1)(h), "kind": L.Dense(3, activation="softmax")(h)})
    return model, (TABLE[:, :3], (np.arange(24, dtype=np.int32) % 10)[:, None])


def lookups() -> Made:
    """Text and integers by their place in a vocabulary; what is in none has a place of its own."""
    word, code = Input((1,), dtype="string", name="word"), Input((1,), dtype="int64", name="code")
    a = L.Flatten()(L.Embedding(6, 3)(L.StringLookup(vocabulary=["red", "green", "blue"])(word)))
    b = L.IntegerLookup(vocabulary=[10, 20, 30], output_mode="one_hot")(code)
    return keras.Model([word, code], L.Dense(2)(L.Concatenate()([a, b]))), (WORDS, CODES)


def encoded() -> Made:
    x = Input((3,), dtype="int32")
    return keras.Model(x, L.Dense(2)(L.CategoryEncoding(num_tokens=30, output_mode="multi_hot")(x))), (TOKENS[:, :3],)


def bucketed() -> Made:
    x = Input((4,))
    buckets = L.Discretization(bin_boundaries=[-1.0, 0.0, 0.5])(x)
    return keras.Model(x, L.Dense(2)(L.Flatten()(L.Embedding(4, 3)(buckets)))), (TABLE,)


def gelu() -> Made:
    """The exact one, by `Erfc`, which tf2onnx does not know."""
    layers = [L.Conv1D(6, 3, activation="gelu"), L.Conv1DTranspose(4, 3), L.UnitNormalization(), L.Flatten()]
    return K([Input((7, 4)), *layers, L.Dense(2, activation="selu")]), (SERIES,)


class Own(keras.Model):
    """A subclassed model: no graph, a call in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = L.Dense(6), L.BatchNormalization(), L.Dropout(0.5), L.Dense(2)

    def call(self, x: Any, training: bool = False) -> Any:
        h = self.drop(self.norm(keras.ops.tanh(self.first(x)), training=training), training=training)
        return {"scores": keras.ops.softmax(self.last(h)), "hidden": h}


def subclassed() -> Made:
    model = Own()
    model(TABLE)
    return model, (TABLE,)


def double() -> Made:
    return K([Input((4,), dtype="float64"), L.Dense(2, dtype="float64")]), (TABLE.astype(np.float64),)


def text_vectors() -> Made:
    layer = L.TextVectorization(max_tokens=20, output_sequence_length=5, vocabulary=["a", "cat"])
    return K([Input((1,), dtype="string"), layer, L.Embedding(20, 4), L.Flatten(), L.Dense(1)]), (WORDS,)


def hashed() -> Made:
    return K([Input((1,), dtype="string"), L.Hashing(8), L.Embedding(8, 2), L.Flatten()]), (WORDS,)


def steps_of_time() -> Made:
    """A loop over a free dimension, which tf2onnx translates wrongly."""
    return K([Input((None, 4)), L.TimeDistributed(L.Dense(3)), L.GlobalMaxPooling1D()]), (SERIES,)


LIVE: dict[str, Callable[[], Made]] = {
    "keras-table": table, "keras-image": image_classifier, "keras-any-size": any_size, "keras-normalised": normalised,
    "keras-attention": attention, "keras-recurrent": recurrent, "keras-two-by-two": two_by_two,
    "keras-by-name": by_name, "keras-lookups": lookups, "keras-encoded": encoded, "keras-bucketed": bucketed,
    "keras-gelu": gelu, "keras-subclassed": subclassed, "keras-double": double,
}  # fmt: skip
REFUSED: dict[str, Callable[[], Made]] = {
    "text-vectors": text_vectors, "hashed": hashed, "steps-of-time": steps_of_time,
}  # fmt: skip


# -- files -------------------------------------------------------------------------------------------------------------


class Scaler(tf.Module):
    """Four signatures; none is the default, and of one a row's answer depends on the others."""

    def __init__(self) -> None:
        self.factor = tf.Variable(3.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def scaled(self, x: Any) -> Any:
        return {"y": x * self.factor, "total": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def echo(self, text: Any) -> Any:
        return {"same": text}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, name="p"), tf.TensorSpec([None, 2], tf.float32, name="q")]
    )
    def pair(self, p: Any, q: Any) -> Any:
        return {"sum": p + q}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def split(self, text: Any) -> Any:
        return {"words": tf.strings.split(text).to_tensor()}


def truth(model: Any, rows: tuple[Any, ...]) -> Any:
    tensors = [tf.constant(r) for r in rows]
    return model(tensors if len(tensors) > 1 else tensors[0], training=False)


def saved(folder: Path, ending: str, made: Made) -> tuple[Path, Any]:
    model, rows = made
    path = folder / f"model{ending}"
    model.save(path)
    return path, truth(model, rows)


def exported(folder: Path, made: Made) -> tuple[Path, Any]:
    model, rows = made
    model.export(folder / "exported", verbose=False)
    served = tf.saved_model.load(str(folder / "exported"))
    function = served.signatures["serving_default"]
    asked = dict(zip((t.name for t in model.inputs), map(tf.constant, rows), strict=True))
    return folder / "exported", {name: tensor.numpy() for name, tensor in function(**asked).items()}


def scaler(folder: Path) -> tuple[Path, Any]:
    module = Scaler()
    names = ("scaled", "echo", "pair", "split")
    tf.saved_model.save(module, folder / "scaler", signatures={name: getattr(module, name) for name in names})
    return folder / "scaler", module.scaled(tf.constant(TABLE))


def lite(folder: Path, made: Made, quantised: bool) -> tuple[Path, Any]:
    model, rows = made
    model.export(folder / "for_lite", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "for_lite"))
    given = rows[0]
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in given)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path = folder / ("quantised.tflite" if quantised else "float.tflite")
    path.write_bytes(converter.convert())
    return path, interpreted(path, quantise(path, given) if quantised else given)


def interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path), num_threads=1)


def quantise(path: Path, rows: Any) -> Any:
    scale, zero = interpreter(path).get_input_details()[0]["quantization"]
    return np.clip(np.round(rows / scale + zero), -128, 127).astype(np.int8)


def interpreted(path: Path, rows: Any) -> Any:
    model = interpreter(path)
    place = model.get_input_details()[0]["index"]
    model.resize_tensor_input(place, rows.shape)
    model.allocate_tensors()
    model.set_tensor(place, rows)
    model.invoke()
    return {"output": model.get_tensor(model.get_output_details()[0]["index"]).copy()}


# -- what is left behind -----------------------------------------------------------------------------------------------


def kept(folder: Path, name: str, model: Any, rows: tuple[Any, ...], answer: Any, **options: Any) -> None:
    """Pack, and write rows and answers down by the artifact's own names of outputs."""
    trust = options.pop("trust", ())
    settings = PackOptions(name=name, output=folder / f"{name}.setsail", trust=trust)
    artifact = pack(model, Intent(**options), settings)
    names = [s.name for s in artifact.signature.outputs]
    flat = answer if isinstance(answer, dict) else dict(zip(names, keras.tree.flatten(answer), strict=True))
    if len(flat) == 1:
        flat = {names[0]: next(iter(flat.values()))}
    arrays = {f"in_{i}": plain(r) for i, r in enumerate(rows)} | {f"out_{n}": plain(v) for n, v in flat.items()}
    np.savez(folder / f"{name}.npz", **arrays)


def plain(array: Any) -> Any:
    """Numbers as they are, text as numpy's fixed-width text: a `.npz` needs no pickle for either."""
    found = np.asarray(array)
    return found.astype(str) if found.dtype.kind in "OS" else found


def packed(folder: Path) -> list[str]:
    for name, make in LIVE.items():
        model, rows = make()
        kept(folder, name, model, rows, truth(model, rows))
    kept(folder, "keras-file", *with_rows(saved(folder, ".keras", table()), TABLE))
    kept(folder, "keras-h5", *with_rows(saved(folder, ".h5", table()), TABLE))
    kept(folder, "keras-file-lookups", *with_rows(saved(folder, ".keras", lookups()), WORDS, CODES))
    double_it = K([Input((4,)), L.Lambda(lambda x: x * 2), L.Dense(2)])
    path, answer = saved(folder, ".keras", (double_it, (TABLE,)))
    kept(folder, "keras-lambda", path, (TABLE,), answer, trust=("pickle",))
    kept(folder, "saved-model", *with_rows(exported(folder, image_classifier(False)), IMAGES))
    # a signature's inputs are in the order of their names
    kept(folder, "saved-model-lookups", *with_rows(exported(folder / "b", lookups()), CODES, WORDS))
    path, answer = scaler(folder)
    kept(folder, "saved-model-signature", path, (TABLE,), answer, signature="scaled")
    kept(folder, "tflite", *with_rows(lite(folder, image_classifier(False), False), IMAGES))
    path, answer = lite(folder, dense(), True)
    kept(folder, "tflite-int8", path, (quantise(path, TABLE),), answer)
    return sorted(p.stem for p in folder.glob("*.npz"))


def with_rows(found: tuple[Path, Any], *rows: Any) -> tuple[Path, tuple[Any, ...], Any]:
    return found[0], rows, found[1]


def refusals(folder: Path) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    attempts: dict[str, Callable[[], Any]] = {name: (lambda make=make: make()[0]) for name, make in REFUSED.items()}
    attempts["which-signature"] = lambda: scaler(folder / "again")[0]
    attempts["lambda"] = lambda: folder / "model.keras"  # the last one saved has a Lambda
    attempts["weights-alone"] = lambda: weights(folder)
    attempts["still-sampling"] = lambda: exported(folder / "again", image_classifier())[0]  # Keras exports it so
    attempts["unbuilt"] = lambda: K([L.Dense(2)])
    for name, make in attempts.items():
        try:
            pack(make(), Intent(), PackOptions(name="x", output=folder / "x.setsail"))
            told[name] = ["", ""]
        except SetsailError as fault:
            told[name] = [fault.code, str(fault)]
    return told


def weights(folder: Path) -> Path:
    table()[0].save_weights(folder / "only.weights.h5")
    return folder / "only.weights.h5"


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    place = Path(sys.argv[1])
    print(json.dumps({"packed": packed(place), "refused": refusals(place)}))
