"""MLServer's folders, read as they are: `model-settings.json` beside each model, `settings.json` for the server.

A model's runtime says which framework its file is of; the file itself says the rest, and is packed once, when it is
first loaded. Runtimes that run Python of the model's own are refused by name, each model alone. MLServer's versions are
any texts; here they are positive integers, and what is none gets a number in the order of their names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from setsail.errors import SetsailError
from setsail.server.foreign.configuration import Foreign
from setsail.serving.management import NAME
from setsail.serving.repository import Found, refuse_twins, stamp
from setsail.signature import BATCH, TensorSpec
from setsail.tensors import BY_OIP

__all__ = ["MODEL", "SERVER", "is_one", "notes", "read", "scan"]

MODEL, SERVER = "model-settings.json", "settings.json"
Pack = Callable[..., Path]  # (path, intent's fields by name) -> artifact


class _Runtime(Struct, frozen=True):
    """Whose file a runtime loads, and which names it looks for in a folder."""

    framework: str
    files: tuple[str, ...] = ()


_RUNTIMES: Final[Mapping[str, _Runtime]] = {
    "mlserver_sklearn.SKLearnModel": _Runtime("sklearn", ("model.joblib", "model.pickle", "model.pkl")),
    "mlserver_xgboost.XGBoostModel": _Runtime("xgboost", ("model.bst", "model.json", "model.ubj")),
    "mlserver_lightgbm.LightGBMModel": _Runtime("lightgbm", ("model.bst",)),
    "mlserver_catboost.CatboostModel": _Runtime("catboost", ("model.cbm", "model.bin")),
    "mlserver_mlflow.MLflowRuntime": _Runtime(""),
    "mlserver_onnx.OnnxModel": _Runtime("onnx", ("model.onnx",)),
}
_ELSEWHERE: Final[Mapping[str, str]] = {
    "mlserver_huggingface": "pack the model's folder: setsail pack DIR",
    "mlserver_alibi_explain": "nothing here explains predictions",
    "mlserver_alibi_detect": "keep MLServer for detectors, or watch drift with setsail",
}
_CUSTOM: Final = "write what it does as a typed function: setsail serve app.py:predict --trust app"
_IGNORED: Final = ("name", "implementation", "platform", "versions", "outputs", "inputs", "parameters",
                   "warm_workers")  # fmt: skip
_NOTED: Final[Mapping[str, str]] = {
    "parallel_workers": "processes serve all models; --workers says how many",
    "max_batch_size": "requests that come together run together; --max-batch bounds it, for all models",
    "max_batch_time": "--max-delay waits for others, for all models",
    "cache_enabled": "--cache-bytes keeps answers, for all models or those of --cache-models",
    "inference_pool_gid": "processes serve all models; --workers says how many",
}
_PARAMETERS: Final = ("uri", "version", "content_type", "format")
_NOTED_PARAMETERS: Final[Mapping[str, str]] = {
    "environment_path": "models are packed, and need no environment of their own",
    "environment_tarball": "models are packed, and need no environment of their own",
    "inference_pool_gid": _NOTED["inference_pool_gid"],
    "autogenerate_inference_pool_gid": _NOTED["inference_pool_gid"],
    "extra": "what it says is the runtime's own affair; the packed model answers as its file does",
}


class _Model(Struct, frozen=True):
    """A model's settings in our terms. `fault` is set instead of what could not be read."""

    folder: Path
    name: str
    version: str = ""
    source: Path = Path()
    framework: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    notes: tuple[str, ...] = ()
    fault: SetsailError | None = None


def is_one(root: Path) -> bool:
    """Whether a directory holds models with settings of MLServer's, at its top or one folder below."""
    return (root / MODEL).is_file() or any(root.glob(f"*/{MODEL}"))


def notes(root: Path) -> tuple[str, ...]:
    """What settings say that does not carry over, and which numbers versions got."""
    models = _models(root)
    numbers = _numbers(models)
    renamed = tuple(
        f"{one.name}: version {one.version!r} is {numbers[one.folder]} here"
        for one in models if one.version and one.version != str(numbers[one.folder])
    )  # fmt: skip
    return tuple(note for one in models for note in one.notes) + renamed


def scan(root: Path, pack: Pack) -> dict[Path, Found]:
    """What models are there, wherever below the root, as MLServer looks for them."""
    models = _models(root)
    numbers = _numbers(models)
    return refuse_twins({one.folder: _found(one, numbers[one.folder], pack) for one in models})


def _found(one: _Model, version: int, pack: Pack) -> Found:
    about = stamp(one.folder / MODEL)
    if one.fault is not None:
        return Found(one.folder, one.name if NAME.fullmatch(one.name) else None, version, about, one.fault)
    files = stamp(one.source) if one.source != one.folder else stamp(one.folder)

    def prepare() -> Path:
        return pack(one.source, framework=one.framework or None, inputs=one.inputs)

    return Found(one.source, one.name, version, (*about, *files), None, prepare)


def _numbers(models: Sequence[_Model]) -> dict[Path, int]:
    """A version's own number, else its place among those of its name that have none: `v0.2` after `v0.1`."""
    found: dict[Path, int] = {}
    for name in {one.name for one in models}:
        own = [one for one in models if one.name == name]
        taken = {int(one.version) for one in own if _is_number(one.version)}
        free = (n for n in range(1, len(own) + len(taken) + 1) if n not in taken)
        for one in sorted(own, key=lambda o: (_natural(o.version), str(o.folder))):
            found[one.folder] = int(one.version) if _is_number(one.version) else next(free)
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text[:18]) > 0


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part[:18]), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]


# -- one model's settings -----------------------------------------------------------------------------------------


def _models(root: Path) -> list[_Model]:
    found = []
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if MODEL in files:
            found.append(_model(Path(parent)))
    return found


def _model(folder: Path) -> _Model:
    """Of one folder; a fault is told of the model that its folder names."""
    name = folder.resolve().name
    try:
        body = _json(folder / MODEL)
        name = _text(body, "name", MODEL) or name
        return _read(folder, name, body)
    except SetsailError as fault:
        return _Model(folder, name, fault=fault)


def _read(folder: Path, name: str, body: Mapping[str, Any]) -> _Model:
    if not NAME.fullmatch(name):
        raise SetsailError("model.name", "a model cannot have this name", field="name", value=name)
    implementation = _text(body, "implementation", MODEL)
    runtime = _RUNTIMES.get(implementation)
    if runtime is None:
        package = implementation.partition(".")[0]
        raise _refused(f"{name}/{MODEL}: implementation", implementation, "one of " + ", ".join(_RUNTIMES),
                       _ELSEWHERE.get(package, _CUSTOM))  # fmt: skip
    parameters = body.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise _refused(f"{name}/{MODEL}: parameters", parameters, "an object")
    told = [f"{name}: {key}: {_NOTED[key]}" for key in body if key in _NOTED and body[key]]
    told += [f"{name}: {key}: MLServer has no such setting" for key in body if key not in (*_IGNORED, *_NOTED)]
    told += [
        f"{name}: parameters.{key}: {_NOTED_PARAMETERS.get(key, 'MLServer has no such setting')}"
        for key, value in parameters.items() if key not in _PARAMETERS and value
    ]  # fmt: skip
    inputs = _inputs(name, body.get("inputs") or [])
    if body.get("inputs") and not inputs:
        told.append(f"{name}: inputs: they are those of the model's file; these have no free first size")
    source = _source(folder, name, runtime, _text(parameters, "uri", MODEL))
    return _Model(folder, name, _text(parameters, "version", MODEL), source, runtime.framework, inputs, tuple(told))


def _source(folder: Path, name: str, runtime: _Runtime, uri: str) -> Path:
    """The file that a runtime would load: as it stands, or by the names that it knows. Nothing is fetched."""
    split = urlsplit(uri)
    if split.scheme not in ("", "file"):
        raise _refused(f"{name}/{MODEL}: parameters.uri", uri, "a file of this machine",
                       "copy the model beside its settings")  # fmt: skip
    path = Path(os.path.normpath(folder / split.path)) if uri else folder
    if path.is_dir():
        known = next((path / file for file in runtime.files if (path / file).is_file()), None)
        ours = sorted(path.glob("*.setsail"))
        return ours[0] if len(ours) == 1 else known or path
    if not path.exists():
        raise _refused(f"{name}/{MODEL}: parameters.uri", uri, "a file or folder that is there")
    return path


def _inputs(name: str, given: Any) -> tuple[TensorSpec, ...]:
    """The metadata of inputs as `--input` has it; none of them where one has no batch."""
    specs = []
    for one in given if isinstance(given, list) else [given]:
        dtype = BY_OIP.get(one.get("datatype", "")) if isinstance(one, Mapping) else None
        shape = one.get("shape") if isinstance(one, Mapping) else None
        if dtype is None or not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise _refused(f"{name}/{MODEL}: inputs", one, '{"name": …, "datatype": "FP32", "shape": [-1, 4]}')
        if not shape or shape[0] != -1:
            return ()
        rest = tuple(size if size > 0 else f"d{axis}" for axis, size in enumerate(shape[1:], 1))
        specs.append(TensorSpec(_text(one, "name", MODEL), dtype, (BATCH, *rest)))
    return tuple(specs)


# -- the server's settings ----------------------------------------------------------------------------------------

_PORTS: Final[Mapping[str, int]] = {"http_port": 8080, "grpc_port": 8081, "metrics_port": 8082}
# Of a server in Python: what is like it here needs no setting, or what it asks for is not done, and why.
_SERVER: Final[Mapping[str, str]] = {
    "debug": "", "parallel_workers_timeout": "", "environments_dir": "", "server_name": "", "server_version": "",
    "extensions": "", "metrics_rest_server_prefix": "", "metrics_dir": "", "use_structured_logging": "",
    "gzip_enabled": "", "kafka_servers": "", "kafka_topic_input": "", "kafka_topic_output": "", "cache_size": "",
    "model_repository_implementation_args": "",
    "model_repository_implementation": "models are read from the folder that is served",
    "model_repository_root": "models are read from the folder that is served",
    "logging_settings": "the log is standard error's",
    "metrics_endpoint": "metrics are at /metrics",
    "root_path": "paths have no prefix; a proxy may take one off",
    "kafka_enabled": "nothing is read from Kafka",
    "cache_enabled": "--cache-bytes keeps answers, by their size and not their number",
    "load_models_at_startup": "all models are loaded at the start",
    "tracing_server": "--trace-endpoint sends spans, over OTLP/HTTP",
}  # fmt: skip
_USUAL: Final[Mapping[str, Any]] = {"metrics_endpoint": "/metrics", "load_models_at_startup": True,
                                    "model_repository_root": "."}  # fmt: skip


def read(path: Path) -> Foreign:
    """`settings.json` in our terms.

    Raises:
        SetsailError: `setting.value` for a file that cannot be read, or a value that its key cannot have.
    """
    try:
        body = _json(path)
    except SetsailError as fault:
        raise SetsailError("setting.value", fault.what, field="--config", value=fault.value,
                           expected=fault.expected) from fault  # fmt: skip
    settings: dict[str, Any] = {}
    ports, told = [], []
    for key, value in body.items():
        if key in _PORTS:
            ports.append(f"{_PORTS[key]}={_whole(key, value)}")
        elif key == "host":
            settings["host"] = str(value)
        elif key == "parallel_workers":
            settings["workers"] = max(1, _whole(key, value))
        elif key == "grpc_max_message_length":
            if value is not None:
                settings["max_body"] = _whole(key, value)
        elif key == "cors_settings":
            settings["cors_origins"] = ",".join(map(str, (value or {}).get("allow_origins") or []))
        elif key not in _SERVER:
            told.append(f"{key}: MLServer has no such setting; it is left alone")
        elif _SERVER[key] and (value != _USUAL[key] if key in _USUAL else bool(value)):
            told.append(f"{key}: {_SERVER[key]}")
    return Foreign(settings | ({"ports": ",".join(ports)} if ports else {}), notes=tuple(told))


def _whole(key: str, value: Any) -> int:
    if type(value) is not int or value < 0:
        raise SetsailError("setting.value", f"{key} of {SERVER} is not right", field=key, value=value,
                           expected="a whole number")  # fmt: skip
    return value


def _json(path: Path) -> Mapping[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except OSError as fault:
        raise _refused(path.name, fault.strerror, "a file that can be read") from fault
    except (ValueError, RecursionError) as fault:
        raise _refused(path.name, str(fault), "JSON") from fault
    if not isinstance(body, dict):
        raise _refused(path.name, body, "an object")
    return body


def _text(body: Mapping[str, Any], key: str, file: str) -> str:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise _refused(f"{file}: {key}", value, "a text")
    return value or ""


def _refused(field: str, value: object, expected: str, todo: str | None = None) -> SetsailError:
    return SetsailError("repository.config", f"{field} is not what can be served", field=field, value=value,
                        expected=expected, todo=todo)  # fmt: skip
