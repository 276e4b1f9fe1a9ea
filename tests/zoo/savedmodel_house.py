"""Exports artifacts as SavedModels, in an environment that has TensorFlow, and asks TensorFlow what they answer.

    python savedmodel_house.py FOLDER [NAME…]

Of each `NAME.setsail` in the folder with its `NAME.npz` (`in_INPUT`: rows), and of a Keras model made here, it leaves
`NAME.answers.npz` with the answers of `serving_default`, loaded by TensorFlow alone. Those named are packed again, out
of the SavedModel, as `NAME-again.setsail`. The last line it prints is JSON: name -> the error, or the signatures with
what they take. It is a script of its own: nothing of the tests can be imported where TensorFlow is.
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

from setsail import artifact
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, export, pack

L = keras.layers


def keras_model(folder: Path) -> None:
    """A small classifier of pictures; its own answers lie beside the rows, as `out_…`."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((12, 12, 3)), L.Rescaling(1 / 255), L.Conv2D(4, 3, padding="same", strides=2),
        L.BatchNormalization(), L.ReLU(), L.SeparableConv2D(6, 3), L.GlobalAveragePooling2D(),
        L.Dense(5, activation="softmax"),
    ])  # fmt: skip
    rows = np.random.default_rng(0).uniform(0, 255, (6, 12, 12, 3)).astype(np.float32)
    made = pack(model, Intent(), PackOptions(name="keras", output=folder / "keras.setsail"))
    (given,), (told,) = made.signature.inputs, made.signature.outputs
    truth = np.asarray(model(rows, training=False))
    np.savez(folder / "keras.npz", **{f"in_{given.name}": rows, f"out_{told.name}": truth})


def asked(folder: Path, name: str) -> dict[str, Any]:
    """Export, load by TensorFlow, answer."""
    target = folder / name
    try:
        with artifact.read(folder / f"{name}.setsail") as opened:
            written = export(opened, "savedmodel", target)
            inputs = [spec.name for spec in opened.signature.inputs]
    except SetsailError as fault:
        return {"code": fault.code, "what": fault.what}
    assert written.report.passed
    assert not written.left
    renamed = json.loads((target / "signature.json").read_text()).get("renamed", {}).get("serving_default", {})
    loaded = tf.saved_model.load(str(target))
    function = loaded.signatures["serving_default"]
    takes = function.structured_input_signature[1]
    with np.load(folder / f"{name}.npz") as rows:
        given = {renamed.get(n, n): rows[f"in_{n}"] for n in inputs}
    found = function(**{n: tf.constant(a.astype(object) if a.dtype.kind == "U" else a, takes[n].dtype)
                        for n, a in given.items()})  # fmt: skip
    answers = {n: plain(t.numpy()) for n, t in found.items()}
    np.savez(folder / f"{name}.answers.npz", **answers)
    return {
        "signatures": sorted(loaded.signatures), "inputs": {n: s.shape.as_list() for n, s in takes.items()},
        "outputs": {n: s.shape.as_list() for n, s in function.structured_outputs.items()},
        "files": sorted(p.name for p in target.iterdir()),
    }  # fmt: skip


def plain(array: Any) -> Any:
    found = np.asarray(array)
    return np.char.decode(found.astype("S"), "utf-8") if found.dtype.kind == "O" else found


def again(folder: Path, name: str) -> dict[str, Any]:
    """Pack the SavedModel that was written."""
    try:
        pack(folder / name, Intent(), PackOptions(name=name, output=folder / f"{name}-again.setsail")).close()
    except SetsailError as fault:
        return {"code": fault.code, "what": fault.what}
    return {}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    keras_model(place)
    told = {path.stem: asked(place, path.stem) for path in sorted(place.glob("*.setsail"))}
    told |= {f"{name}-again": again(place, name) for name in sys.argv[2:]}
    print(json.dumps(told))
