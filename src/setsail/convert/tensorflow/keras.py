"""Keras 3 on TensorFlow: live models, `.keras` archives and `.h5` files.

A file is read by Keras itself with `safe_mode` on, in a child process, and only when its configuration names nothing
but classes of Keras (`keras_config.py`). Anything more needs `--trust pickle`; own classes also need `--factory
module:name`, whose import registers them.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from setsail.convert import examples
from setsail.convert.conversion import Conversion, Intent
from setsail.convert.observed import Source, settle
from setsail.convert.onnx.shapes import batched
from setsail.convert.tensorflow import keras_config, keras_weights
from setsail.convert.tensorflow.assembly import Found, assemble, declared
from setsail.convert.tensorflow.keras_calls import Answer, taken, title
from setsail.convert.tensorflow.tracing import Traceable
from setsail.convert.tensorflow.translation import quiet
from setsail.errors import SetsailError
from setsail.signature import TensorSpec

__all__ = ["convert", "convert_file", "convert_trusted"]


def convert(model: Any, intent: Intent) -> Conversion:
    """Convert a live `keras.Model` of the TensorFlow backend.

    Raises:
        SetsailError: `convert.example` for a model that was never built, `convert.unsupported`, `convert.run`,
            `convert.input`.
    """
    return _converted(model, intent, None)


def _converted(model: Any, intent: Intent, path: Path | None) -> Conversion:
    """Convert a model that was loaded from a file, or is live."""
    call_with = taken(model, intent)
    specs = declared(call_with.rows, intent, framework="Keras")
    call = Traceable(Answer(model, call_with), specs)
    if path is not None:
        _complete(model, path, call, specs, intent)
    return assemble(Found(call.run, specs, call.trace, title(model), "keras"), intent)


def _complete(model: Any, path: Path, call: Traceable, specs: tuple[TensorSpec, ...], intent: Intent) -> None:
    """Call a loaded model once, so that all of its weights are read. Raises `source.load`, `convert.run`."""
    known, _ = batched(specs, shared=True)
    example, known = examples.given(intent.example, known)
    try:
        keras_weights.complete(model, path, lambda: settle(Source(call.run, known, example, intent.seed)))
    except SetsailError:
        raise
    except Exception as fault:
        raise SetsailError(
            "source.load", f"{path.name} has other weights than the model: {' '.join(str(fault).split())[:200]}",
            expected="a model that was called before it was saved",
            todo="an own model may need a build() that builds its layers; call it, save it again",
        ) from fault  # fmt: skip


def convert_file(path: Path, intent: Intent) -> Conversion:
    """Convert a `.keras` or `.h5` file that holds nothing but Keras' own classes.

    The configuration is read once more here, by the library that reads the file: what sniffing saw of an HDF5 file
    were its bytes.

    Raises:
        SetsailError: `source.trust` for a file that holds more, `source.load`, and what `convert` raises.
    """
    findings = _findings(path)
    if findings:
        raise SetsailError("source.trust", f"loading {path.name} can run code: it names {findings[0]}",
                           field="--trust", value=findings[:4], expected="--trust pickle",
                           todo="if you trust where the file comes from, add --trust pickle")  # fmt: skip
    return _converted(_load(path, {}, safe=True), intent, path)


def convert_trusted(path: Path, intent: Intent) -> Conversion:
    """Convert a file with Lambda layers or own classes: for a child process, after the person said so."""
    return _converted(_load(path, _own_classes(intent.factory), safe=False), intent, path)


# -- reading files -----------------------------------------------------------------------------------------------------


def _load(path: Path, classes: Mapping[str, Any], *, safe: bool) -> Any:
    """Load a file with Keras; its ending is what Keras goes by, so it gets the right one."""
    archive = path.open("rb").read(2) == b"PK"
    ending = ".keras" if archive else ".h5"
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            named = path
            if not path.name.endswith(ending):
                named = Path(folder) / f"model{ending}"
                shutil.copyfile(path, named)
            return keras.saving.load_model(named, custom_objects=dict(classes), compile=False, safe_mode=safe)
    except Exception as fault:  # a damaged file raises anything
        lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
        raise SetsailError(
            "source.load", f"Keras cannot load {path.name}: {type(fault).__name__}", value=lines[0] if lines else None,
            expected="a model that Keras 3 saved, with its architecture",
            todo="own classes need --trust pickle --factory module:name, where module registers them",
        ) from fault  # fmt: skip


def _findings(path: Path) -> tuple[str, ...]:
    """What the configuration names beyond Keras' own data, and what the weights lie in beyond the file."""
    if zipfile.is_zipfile(path):
        found = keras_config.archive_findings(path)
        with zipfile.ZipFile(path) as archive:
            if keras_weights.WEIGHTS not in archive.namelist():
                return found
            with archive.open(keras_weights.WEIGHTS) as weights, _hdf5(weights, path.name) as file:
                return found + tuple(_outside(file))
    with _hdf5(path, path.name) as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise SetsailError("source.load", f"{path.name} holds no Keras model", value=sorted(file)[:4],
                               expected="a file of model.save, with the architecture",
                               todo='weights alone are no model: save it with model.save("model.keras")')  # fmt: skip
        return keras_config.config_findings(config, path.name) + tuple(_outside(file))


def _hdf5(file: Any, name: str) -> Any:
    try:
        return h5py.File(file, "r")
    except Exception as fault:
        raise SetsailError("source.damaged", f"{name} is no readable HDF5 file", value=str(fault)) from fault


def _outside(group: Any) -> Iterator[str]:
    """Links to other files, and arrays whose numbers lie in others: HDF5 would open them."""
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
            yield "a link to another file"
            continue
        held = group[name]
        if isinstance(held, h5py.Dataset):
            if held.external or held.is_virtual:
                yield "weights that lie in another file"
        else:
            yield from _outside(held)


def _own_classes(factory: str | None) -> dict[str, Any]:
    """Import the module of `--factory module:name`. `name` may be a class, or a function that gives classes by name."""
    if factory is None:
        return {}
    module, _, name = factory.partition(":")
    try:
        held = getattr(importlib.import_module(module), name) if name else {}
    except Exception as fault:  # a person's own code may raise anything
        raise SetsailError("source.load", f"--factory {factory} cannot be imported: {type(fault).__name__}",
                           field="--factory", value=str(fault), expected="module:name") from fault  # fmt: skip
    if isinstance(held, type):
        return {held.__name__: held}
    return dict(held() if callable(held) else held)
