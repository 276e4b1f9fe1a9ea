"""Makes the zoo's live Keras models of one backend, in an environment that has it, and packs them.

    KERAS_BACKEND=torch python keras_house.py FOLDER ZOO

ZOO is the folder of `own_keras_layers.py`. Leaves for each model `NAME.setsail` and `NAME.npz` (`in_INPUT`,
`out_OUTPUT` by the artifact's names: what the model itself answers in this process), and for each refusal its code and
text; the last line it prints is JSON.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
sys.path.insert(0, sys.argv[2])

import keras
import numpy as np
import own_keras_layers as own

from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack

BACKEND = keras.backend.backend()
L, Input, K = keras.layers, keras.Input, keras.Sequential
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(24, 4)).astype(np.float32)
IMAGES = RNG.uniform(0, 255, (8, 12, 12, 3)).astype(np.float32)
TOKENS = RNG.integers(0, 9, (12, 5)).astype(np.int32)
CODES = np.array([10, 20, 30, 40, 0, -1] * 4, dtype=np.int64)[:, None]

Rows = Mapping[str, Any]  # input's name in the artifact -> its rows
Made = tuple[Any, Callable[[], Any], Rows]  # a model, its own answer to the rows, and the rows


def trained(model: Any, rows: Any) -> Any:
    """A few steps towards noise, where the backend can train: weights and running statistics are nobody's defaults."""
    if BACKEND != "numpy":
        answer = model(rows, training=False)
        model.compile("adam", "mse")
        model.fit(rows, keras.tree.map_structure(lambda t: own.noise(RNG, *t.shape), answer), epochs=2, verbose=0)
    return model


def image() -> Made:
    prepare = [L.Rescaling(1 / 127.5, offset=-1), L.RandomFlip()]
    middle = [L.Conv2D(4, 3, padding="same"), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(), L.Conv2D(6, 3, 2),
              L.GlobalAveragePooling2D(), L.Dropout(0.5)]  # fmt: skip
    model = trained(K([Input((12, 12, 3)), *prepare, *middle, L.Dense(5, activation="softmax")]), IMAGES)
    return model, lambda: model(IMAGES, training=False), {"input": IMAGES}


def two_inputs() -> Made:
    """Inputs and outputs by name, with preprocessing that was fitted here: its statistics travel with the model."""
    scale, codes = L.Normalization(), L.IntegerLookup(output_mode="one_hot")
    scale.adapt(TABLE * 9 + 4)
    codes.adapt(CODES[:3])
    a, b = Input((4,), name="size"), Input((1,), name="code", dtype="int64")
    h = L.Concatenate()([scale(a), codes(b)])
    hidden = own.Gated(6)(h)
    outputs = {
        "price": L.Dense(1)(hidden),
        "kind": L.Dense(3, activation="softmax")(L.Activation(own.soft_sign)(hidden)),
    }
    rows = {"size": TABLE * 9 + 4, "code": CODES}
    model = keras.Model({"size": a, "code": b}, outputs)
    if BACKEND == "torch":  # on JAX Keras can answer with a lookup inside, and not train
        trained(model, rows)
    return model, lambda: model(rows, training=False), rows


def subclassed() -> Made:
    """Never built before it is packed: the example says what it takes, and calls it first."""
    model = own.Twofold(6)
    rows = {"x": TABLE[:12], "place": TOKENS}
    return model, lambda: model(rows["x"], rows["place"], training=False), rows


def recurrent() -> Made:
    """Whole numbers, a free axis, a list of answers."""
    x = Input((None,), dtype="int32")
    h = L.Bidirectional(L.LSTM(3, return_sequences=True))(L.Embedding(9, 4, mask_zero=True)(x))
    model = trained(keras.Model(x, [L.GRU(3)(h), L.Dense(2)(L.GlobalMaxPooling1D()(h))]), TOKENS)
    return model, lambda: model(TOKENS, training=False), {"input": TOKENS}


def double() -> Made:
    """JAX computes with float32 whatever it is asked for, and answers so; the program takes float64 all the same."""
    rows = TABLE.astype(np.float64)
    x = Input((4,), dtype="float64")
    h = L.Dense(2, dtype="float64")(x)
    model = keras.Model(x, [h, L.Discretization(bin_boundaries=[0.0])(h)])
    return model, lambda: model(rows, training=False), {"input": rows}


def table() -> Made:
    model = K([Input((4,)), L.Dense(8, activation="gelu"), L.LayerNormalization(), L.Dense(3)])
    return model, lambda: model(TABLE, training=False), {"input": TABLE}


LIVE: dict[str, dict[str, Callable[[], Made]]] = {
    "torch": {"image": image, "two-inputs": two_inputs, "subclassed": subclassed, "recurrent": recurrent,
              "double": double},
    "jax": {"image": image, "two-inputs": two_inputs, "subclassed": subclassed, "double": double},
    "numpy": {"table": table},
}  # fmt: skip
FILES: dict[str, dict[str, Callable[[], Made]]] = {
    "torch": {"keras": two_inputs, "h5": image, "subclassed": subclassed},
    "jax": {"keras": two_inputs, "h5": image}, "numpy": {},
}  # fmt: skip


# -- what is refused ---------------------------------------------------------------------------------------------------


class Here(keras.Model):
    """In the script itself, where no other process finds it."""

    def __init__(self) -> None:
        super().__init__()
        self.last = L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(x)


class Unsaved(Here):
    """Made of something that is no number, text or list, and of which it tells nobody."""

    def __init__(self, thing: Any) -> None:
        super().__init__()
        self.thing = thing


def built(model: Any) -> Any:
    model(TABLE)
    return model


def text() -> Any:
    x = Input((1,), dtype="string", name="word")
    return keras.Model(x, L.Embedding(4, 2)(L.StringLookup(vocabulary=["red", "green"])(x)))


def elsewhere() -> Any:
    """A class of a module that is in no file: the script made it."""
    module = types.ModuleType("made_up_layers")
    module.Linear = type("Linear", (L.Dense,), {"__module__": "made_up_layers"})  # type: ignore[attr-defined]
    sys.modules["made_up_layers"] = module
    return K([Input((4,)), module.Linear(2)])


def forgotten() -> Any:
    return K([Input((4,)), own.double(own.Forgetful())])


REFUSED: dict[str, dict[str, Callable[[], Any]]] = {
    "torch": {
        "text": text, "in-the-script": lambda: built(Here()), "unsaved": lambda: built(Unsaved(object())),
        "unbuilt": lambda: K([L.Dense(2)]), "elsewhere": elsewhere, "forgotten": forgotten,
        "native": lambda: K([Input((4,)), own.Native()]),
    },
    "jax": {"text": text, "in-the-script": lambda: built(Here()), "native": lambda: K([Input((4,)), own.Native()])},
    "numpy": {},
}  # fmt: skip


# -- what is left behind -----------------------------------------------------------------------------------------------


def kept(folder: Path, name: str, source: Any, answer: Callable[[], Any], rows: Rows, **intent: Any) -> None:
    """Pack, and write rows and the model's own answers down by the artifact's names."""
    truth = answer() if intent.get("example") is None else None
    trust = ("pickle",) if intent.get("factory") else ()
    with pack(source, Intent(**intent), PackOptions(name=name, output=folder / f"{name}.setsail", trust=trust)) as made:
        names = [s.name for s in made.signature.outputs]
    truth = answer() if truth is None else truth
    flat = keras.tree.flatten(truth)
    arrays = {f"out_{n}": keras.ops.convert_to_numpy(v) for n, v in zip(names, flat, strict=True)}
    if isinstance(truth, dict):
        assert sorted(truth) == names, (sorted(truth), names)
    np.savez(folder / f"{name}.npz", **arrays, **{f"in_{n}": v for n, v in rows.items()})


def packed(folder: Path) -> list[str]:
    for name, make in LIVE[BACKEND].items():
        model, answer, rows = make()
        example = {"example": rows} if not model.built else {}
        kept(folder, f"keras-{BACKEND}-{name}", model, answer, rows, **example)
    for ending, make in FILES[BACKEND].items():
        model, answer, rows = make()
        called = answer()
        path = folder / f"{ending}.{'h5' if ending == 'h5' else 'keras'}"
        model.save(path)
        more: dict[str, Any] = {"factory": "own_keras_layers:everything"} if path.suffix == ".keras" else {}
        more |= {"example": rows} if ending == "subclassed" else {}
        kept(folder, f"keras-{BACKEND}-file-{ending}", path, lambda called=called: called, rows, **more)
    return sorted(p.stem for p in folder.glob("*.npz"))


def refusals(folder: Path) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for name, make in REFUSED[BACKEND].items():
        try:
            pack(make(), Intent(), PackOptions(name="x", output=folder / "x.setsail")).close()
            told[name] = ["", ""]
        except SetsailError as fault:
            told[name] = [fault.code, str(fault)]
    return told


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    place = Path(sys.argv[1])
    print(json.dumps({"packed": packed(place), "refused": refusals(place)}))
