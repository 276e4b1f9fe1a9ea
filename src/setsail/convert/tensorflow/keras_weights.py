"""Whether all weights of a saved model were read, and reading them where they were not.

Keras builds a loaded model by the shape that its first argument once had. A subclassed model that takes several, or
whose shapes it was not told, stays without variables; then nothing is read into them and nothing is said, and the first
call draws new ones at random. So a loaded model is called once: if that makes variables, the weights are read again.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import keras

from setsail.convert.tensorflow import keras_config

__all__ = ["WEIGHTS", "complete", "unbuilt"]

WEIGHTS: Final = "model.weights.h5"
_ASSETS: Final = "assets/"


def complete(model: Any, path: Path, call: Callable[[], Any]) -> None:
    """Call a model that was loaded from the file, and read its weights again if that made any.

    Args:
        call: runs the model on some rows.

    Raises:
        ValueError: the file has no weights for what the call made.
    """
    before = len(model.variables)
    call()
    if len(model.variables) > before:
        _read(model, path)


def unbuilt(path: Path, own: Mapping[str, Any]) -> Any:
    """The model of an archive that Keras fails to build, without any weights: `complete` reads them.

    Raises whatever building it raises; ValueError for one that has vocabularies, which are not among the weights.
    """
    with zipfile.ZipFile(path) as archive:
        if any(name.startswith(_ASSETS) for name in archive.namelist()):
            raise ValueError("vocabularies are not among the weights")
        body = json.loads(archive.read(keras_config.CONFIG)) | {"compile_config": None, "build_config": None}
    return keras.saving.deserialize_keras_object(body, custom_objects=dict(own), safe_mode=False)


def _read(model: Any, path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise ValueError("the model has no weights before it is called")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        model.load_weights(archive.extract(WEIGHTS, folder))
