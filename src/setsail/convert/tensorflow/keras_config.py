"""What a saved Keras model names, read without Keras: whether loading it can run somebody's code.

A `.keras` archive is a zip: `config.json` says which classes to build with which options, `model.weights.h5` holds
numbers. An `.h5` file has the same JSON in an attribute. Keras' `safe_mode` refuses Python lambdas, and has been passed
by several times with other classes and other modules; so nothing is loaded without trust unless every object of the
configuration is of a module of Keras that is listed here, and none of those that run code or open files.
"""

from __future__ import annotations

import json
import mmap
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["CONFIG", "SCRIPT", "Own", "archive_findings", "config_findings", "own_objects", "text_findings"]

CONFIG: Final = "config.json"
SCRIPT: Final = "__main__"  # Keras leaves the module out of what is defined there
_MAX_CONFIG: Final = 64 << 20
_MAX_OBJECTS: Final = 1_000_000
_MAX_DEPTH: Final = 100

# Where classes and functions may come from. A name ends a whole module or package: `keras.layers` has `keras.layers.x`.
_MODULES: Final = (
    "keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints",
    "keras.activations", "keras.losses", "keras.metrics", "keras.optimizers", "keras.dtype_policies",
    "keras.quantizers", "keras.random", "keras.src.layers", "keras.src.models", "keras.src.ops",
    "keras.src.initializers", "keras.src.regularizers", "keras.src.constraints", "keras.src.dtype_policies",
)  # fmt: skip
_TOP: Final = ("Sequential", "Functional", "Model", "DTypePolicy", "Variable", "Input", "InputSpec")  # of `keras`
# Values rather than objects: Keras builds them from their `config` alone.
_VALUES: Final = (
    "__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__", "__set__",
    "__dict__", "__complex__",
)  # fmt: skip
# Classes of Keras that run code out of their options, or read what their options name.
_RUN: Final = {
    "Lambda": "a Lambda layer, which is Python code",
    "__lambda__": "a Python lambda",
    "TFSMLayer": "TFSMLayer, which loads another model by its path",
    "TorchModuleWrapper": "TorchModuleWrapper, which holds a pickle",
    "JaxLayer": "JaxLayer, which holds a function",
    "FlaxLayer": "FlaxLayer, which holds a function",
    "__typespec__": "a type of TensorFlow",
}
# Options by which layers read a file.
_FILES: Final = ("vocabulary", "idf_weights", "filepath", "file_path", "path", "weights")
# The same in the bytes of an HDF5 file, as Keras writes its JSON.
_TEXT: Final = re.compile(
    rb'"class_name": ?"(?:(?P<run>' + "|".join(_RUN).encode() + rb')"|(?P<own>[^"\\>]{1,200}>[^"\\]{1,200})")'
)


def archive_findings(path: Path) -> tuple[str, ...]:
    """What a `.keras` archive names beyond Keras' own data. Raises `source.damaged`."""
    with zipfile.ZipFile(path) as archive:
        if CONFIG not in archive.namelist():
            raise SetsailError("source.damaged", f"{path.name} has no {CONFIG}", expected="an archive that Keras saved",
                               todo='weights alone are no model: save it with model.save("model.keras")')  # fmt: skip
        info = archive.getinfo(CONFIG)
        if info.file_size > _MAX_CONFIG:
            raise SetsailError("source.damaged", f"{path.name} has an over-large configuration", field=CONFIG,
                               value=info.file_size, expected=f"at most {_MAX_CONFIG}")  # fmt: skip
        text = archive.read(CONFIG)
    return config_findings(text, path.name)


def config_findings(text: bytes | str, name: str) -> tuple[str, ...]:
    """The same for the JSON itself."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise SetsailError("source.damaged", f"{name} has no readable configuration", field=CONFIG,
                           value=str(fault)) from fault  # fmt: skip
    if not isinstance(body, dict):
        raise SetsailError("source.damaged", f"{name} has no readable configuration", field=CONFIG,
                           value=type(body).__name__, expected="an object")  # fmt: skip
    # Losses and metrics of training are never built: models are loaded with `compile=False`.
    return _walk({key: value for key, value in body.items() if key != "compile_config"}, name)


@dataclass(frozen=True, slots=True)
class Own:
    """A class or function of nobody's but the person's: where it is, and by which name Keras looks it up."""

    module: str
    name: str
    registered: str


def own_objects(path: Path, functions: Mapping[str, str]) -> tuple[Own, ...]:
    """The own classes and functions that an archive names, each once, in the order of their modules.

    Args:
        functions: name -> module of the functions that the model holds: of them Keras writes down the name alone, as
            if they were its own.
    """
    with zipfile.ZipFile(path) as archive:
        waiting = [json.loads(archive.read(CONFIG))]
    found: dict[Own, None] = {}
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if (own := _own(value, functions)) is not None:
                found[own] = None
            waiting.extend(inner for key, inner in value.items() if key != "compile_config")
        elif isinstance(value, list):
            waiting.extend(value)
    return tuple(sorted(found, key=lambda own: (own.module, own.name)))


def _own(body: dict[str, Any], functions: Mapping[str, str]) -> Own | None:
    cls, module, config = body.get("class_name"), body.get("module"), body.get("config")
    if not isinstance(cls, str):
        return None
    if cls == "function":
        name = str(config).rpartition(">")[2]
        return Own(functions[name], name, str(config)) if name in functions else None
    registered = body.get("registered_name")
    if module is None and isinstance(registered, str):
        return Own(SCRIPT, cls, registered)
    if not isinstance(module, str) or module == "builtins" or module.partition(".")[0] == "keras":
        return None
    return Own(module, cls, str(registered or cls))


def text_findings(path: Path) -> tuple[str, ...]:
    """What an HDF5 file seems to name, by its bytes.

    Quick and good enough to ask the right question of whoever packs the file. A file made to hide it gets no further:
    its configuration is read again, by the HDF5 library in the child, before Keras sees it.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = dict.fromkeys(
            _RUN[m["run"].decode()] if m["run"] else f"class {m['own'].decode(errors='replace')}"
            for m in _TEXT.finditer(data)
        )
    return tuple(found)


def _walk(body: Any, name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    left, waiting = _MAX_OBJECTS, [(body, 0)]
    while waiting:
        value, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > _MAX_DEPTH:
            raise SetsailError("source.damaged", f"{name} has a configuration too deep or too large", field=CONFIG)
        if isinstance(value, dict):
            if finding := _judge(value):
                found[finding] = None
            waiting.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            waiting.extend((inner, depth + 1) for inner in value)
    return tuple(found)


def _judge(body: dict[str, Any]) -> str | None:
    """What is wrong with one object of the configuration, None where it is Keras' own data."""
    if not ({"class_name", "module", "registered_name"} & set(body)):
        return None
    cls, module, registered = body.get("class_name"), body.get("module"), body.get("registered_name")
    if not all(v is None or isinstance(v, str) for v in (cls, module, registered)):
        return "an object without a name"
    last = (cls or "").rpartition(">")[2]
    if last in _RUN:
        return _RUN[last]
    if cls in _VALUES:
        return None
    if ">" in (registered or "") or ">" in (cls or ""):
        return f"class {registered or cls}"
    config = body.get("config")
    if isinstance(config, dict) and any(isinstance(config.get(option), str) for option in _FILES):
        return f"a file that {cls} reads"
    wanted = str(config) if cls == "function" else cls
    if module is None or (module == "builtins" and cls == "function" and isinstance(config, str)):
        return None  # the form of .h5, and functions by name alone: Keras finds them among its own, or not at all
    if module == "keras" and wanted in _TOP:
        return None
    if any(module == known or module.startswith(known + ".") for known in _MODULES):
        return None
    return f"{'function' if cls == 'function' else 'class'} {module}.{wanted}"
