"""Hostile Keras archives, HDF5 files and SavedModels, written by hand: name -> (code of the answer, generator).

A generator gets a folder and gives the path to pack. `LIVE_ATTACKS` is a script for where TensorFlow is: what looks
harmless to whoever only looks, and must be stopped in the child; each of them writes a canary if it runs.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from saved_models import function, graph, node, saved_model

__all__ = ["ATTACKS", "LIVE_ATTACKS"]

Make = Callable[[Path], Path]


def _archive(config: Any, folder: Path) -> Path:
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        archive.writestr("model.weights.h5", b"")
    return path


def _keras(module: str, cls: str, config: Any, **more: Any) -> Make:
    held = {"module": module, "class_name": cls, "config": config, "registered_name": None} | more
    body = {"module": "keras", "class_name": "Sequential", "config": {"layers": [held]}, "registered_name": None}
    return partial(_archive, body)


def _hdf5(text: bytes, folder: Path) -> Path:
    (folder / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(4096) + text)
    return folder / "model.h5"


def _saved(data: bytes, folder: Path, **others: bytes) -> Path:
    (folder / "saved").mkdir()
    (folder / "saved/saved_model.pb").write_bytes(data)
    for name, content in others.items():
        (folder / f"saved/saved_model.{name}").write_bytes(content)
    return folder / "saved"


def _calls(*ops: str) -> bytes:
    return saved_model(graph(functions=[function("__inference_signature_wrapper_1", *map(node, ops))]))


_CODE = {"class_name": "__lambda__", "config": {"code": "4wAAAAA=", "defaults": None, "closure": None}}
_SAVES = function("__inference__traced_save_1", node("SaveV2"))

ATTACKS: Mapping[str, tuple[str, Make]] = {
    "lambda layer": ("source.trust", _keras("keras.layers", "Lambda", {"function": _CODE})),
    "lambda as an activation": ("source.trust", _keras("keras.layers", "Dense", {"activation": _CODE})),
    "class of another module": ("source.trust", _keras("subprocess", "Popen", {"args": ["touch", "canary"]})),
    "function of another module": ("source.trust", _keras("os", "function", "system")),
    "downloader of Keras": ("source.trust", _keras("keras.utils", "get_file", {"origin": "http://example.invalid"})),
    "posing as registered": ("source.trust", _keras("keras.layers", "Dense", {}, registered_name="os>system")),
    "model by its path": ("source.trust", _keras("keras.layers", "TFSMLayer", {"filepath": "/tmp/x"})),
    "pickle in base64": ("source.trust", _keras("keras.layers", "TorchModuleWrapper", {"module": "gANj"})),
    "vocabulary of another file": (
        "source.trust",
        _keras("keras.layers", "StringLookup", {"vocabulary": "/etc/hosts"}),
    ),
    "configuration that nests": ("source.damaged", partial(_archive, b"[" * 1_000_000)),
    "configuration that is large": ("source.damaged", partial(_archive, b" " * (65 << 20))),
    "hdf5 with a lambda": ("source.trust", partial(_hdf5, b'{"class_name": "Lambda", "config": {}}')),
    "hdf5 with an own class": ("source.trust", partial(_hdf5, b'{"class_name": "Custom>Mine", "config": {}}')),
    "graph that writes files": ("source.trust", partial(_saved, _calls("Const", "WriteFile"))),
    "graph that reads files": ("source.trust", partial(_saved, _calls("ReadFile"))),
    "graph that calls Python": ("source.trust", partial(_saved, _calls("EagerPyFunc"))),
    "graph that prints to files": ("source.trust", partial(_saved, _calls("PrintV2"))),
    "graph that opens connections": ("source.trust", partial(_saved, _calls("DataServiceDatasetV4"))),
    "table out of another file": ("source.trust", partial(_saved, _calls("InitializeTableFromTextFileV2"))),
    "saver without a place": ("source.trust", partial(_saved, saved_model(graph(functions=[_SAVES])))),
    "operator named twice": ("source.trust", partial(_saved, saved_model(graph(node("ReadFile", "Add"))))),
    "graph beside the graph": ("source.unknown", partial(_saved, _calls("Add"), cpb=b"\x08\x01")),
    "graph as text": ("source.unknown", partial(_saved, _calls("Add"), pbtxt=b"meta_graphs {}")),
    "graph that is cut": ("source.damaged", partial(_saved, _calls("Add")[:-3])),
    "graph with groups": ("source.damaged", partial(_saved, b"\x13\x0b\x0c\x14")),
}

LIVE_ATTACKS = r"""
import json, os, sys, zipfile
from pathlib import Path
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import h5py, keras, numpy as np, tensorflow as tf
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack

folder, canary = Path(sys.argv[1]), Path(sys.argv[1]) / "canary"

def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])

def spelt_otherwise():
    "An HDF5 file whose Lambda no search for the word finds: JSON has other spellings of L."
    source = f"(lambda x: (open({str(canary)!r}, 'w').close(), x)[1])"
    keras.Sequential([keras.Input((2,)), keras.layers.Lambda(eval(source))]).save(folder / "a.h5")
    with h5py.File(folder / "a.h5", "r+") as file:
        text = file.attrs["model_config"].replace("Lambda", "\\u004cambda").replace("__lambda__", "__\\u006cambda__")
        file.attrs["model_config"] = text
    return folder / "a.h5"

def weights_elsewhere():
    "Weights by a link to another file."
    with h5py.File(folder / "secret.h5", "w") as file:
        file["kernel"] = np.ones((2, 2), "float32")
    model().save(folder / "b.h5")
    with h5py.File(folder / "b.h5", "r+") as file:
        file["model_weights/stolen"] = h5py.ExternalLink(str(folder / "secret.h5"), "/kernel")
    return folder / "b.h5"

def archive_elsewhere():
    "The same in a .keras archive, by a dataset whose numbers lie in another file."
    model().save(folder / "c0.keras")
    with zipfile.ZipFile(folder / "c0.keras") as old, zipfile.ZipFile(folder / "c.keras", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(".h5"):
                (folder / "c.h5").write_bytes(data)
                with h5py.File(folder / "c.h5", "r+") as file:
                    file.create_dataset("stolen", (2,), "f4", external=[(str(folder / "secret.h5"), 0, 8)])
                data = (folder / "c.h5").read_bytes()
            new.writestr(name, data)
    return folder / "c.keras"

class Writes(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x):
        tf.io.write_file(str(canary), "run")
        return {"y": x}

def writes():
    made = Writes()
    tf.saved_model.save(made, folder / "writes", signatures={"serving_default": made.serve})
    return folder / "writes"

class Calls(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x):
        return {"y": tf.py_function(lambda v: (open(canary, "w").close(), v)[1], [x], tf.float32)}

def calls():
    made = Calls()
    tf.saved_model.save(made, folder / "calls", signatures={"serving_default": made.serve})
    return folder / "calls"

told = {}
for attack in (spelt_otherwise, weights_elsewhere, archive_elsewhere, writes, calls):
    path = attack()
    canary.unlink(missing_ok=True)
    try:
        pack(path, Intent(), PackOptions(name="x", output=folder / "x.setsail"))
        told[attack.__name__] = ["packed", canary.exists()]
    except SetsailError as fault:
        told[attack.__name__] = [fault.code, canary.exists()]
print(json.dumps(told))
"""
