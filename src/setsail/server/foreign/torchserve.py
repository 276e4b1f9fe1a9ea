"""`config.properties`, TorchServe's configuration, in our terms (docs/migrating/torchserve.md).

Every key that its documentation has is a row here: what it becomes, or why it does not carry over. Keys that are in
neither are named too, so that nothing of a file is dropped in silence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from setsail.catalog import Control, Register, SetDefault, Terms
from setsail.errors import SetsailError
from setsail.server.foreign.configuration import Foreign
from setsail.server.foreign.properties import expanded, parsed

__all__ = ["KEYS", "read"]

_STORE: Final = "setsail.server.foreign.model_store"
_TOKENS: Final = "key_file.json"
_ARTIFACT: Final = ".setsail"


def read(path: Path) -> Foreign:
    """What a file says.

    Raises:
        SetsailError: `setting.value` for a file that cannot be read, or a value that its key cannot have.
    """
    try:
        values = expanded(parsed(path.read_text("latin-1")), os.environ)
    except OSError as fault:
        raise _refused("--config", str(path), "a file that can be read") from fault
    except KeyError as fault:
        raise _refused("--config", f"$${fault.args[0]}$$", "a variable of the environment that is set") from fault
    if values.get("enable_envvars_config", "").lower() == "true":
        values |= {key: os.environ[f"TS_{key.upper()}"] for key in KEYS if f"TS_{key.upper()}" in os.environ}
    reading = _Reading(values)
    for key in values:
        reading.take(key)
    return reading.foreign()


class _Reading:
    """A file on its way to a `Foreign`."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.settings: dict[str, Any] = {}
        self.ports: dict[int, int] = {}
        self.notes: list[str] = []

    def take(self, key: str) -> None:
        """One key; empty values say nothing."""
        row, value = KEYS.get(key), self.values[key].strip()
        if row is None:
            self.notes.append(f"{key}: TorchServe's documentation has no such key; it is left alone")
        elif isinstance(row, str):
            if value and row:
                self.notes.append(f"{key}: {row}")
        elif value:
            row(self, key, value)

    def foreign(self) -> Foreign:
        self._tls()
        if "disable_token_authorization" not in self.values:
            self.notes.append(f"tokens are not asked for; --token-file {_TOKENS} has TorchServe's default")
        ports = ",".join(f"{own}={other}" for own, other in self.ports.items())
        settings = self.settings | ({"ports": ports} if ports else {})
        return Foreign(settings, asks=tuple(_asks(self)), notes=tuple(self.notes))

    def flag(self, key: str) -> bool:
        return self.values.get(key, "").strip().lower() == "true"

    def _tls(self) -> None:
        """A port that was encrypted is not opened plain."""
        if self.address("inference_address").scheme != "https":
            return
        if "tls_cert" not in self.settings or "tls_key" not in self.settings:
            raise _refused("inference_address", self.values["inference_address"],
                           "certificate_file and private_key_file (PEM) for https; a keystore is not read")  # fmt: skip

    def address(self, key: str) -> SplitResult:
        value = self.values.get(key, "").strip()
        try:
            return urlsplit(value)
        except ValueError:
            raise _refused(key, value, "http://HOST:PORT") from None


# -- what keys become ------------------------------------------------------------------------------------------------


def _address(own: int, setting: str | None) -> Callable[[_Reading, str, str], None]:
    """The address of a port: its number, and the host where that has a setting of its own."""

    def take(reading: _Reading, key: str, value: str) -> None:
        told = reading.address(key)
        try:
            number = told.port or {"http": own, "https": 443}[told.scheme]
        except (KeyError, ValueError):
            raise _refused(key, value, f"http://HOST:PORT, as http://127.0.0.1:{own}") from None
        if number != own:
            reading.ports[own] = number
        if setting is not None:
            reading.settings[setting] = told.hostname or "127.0.0.1"
        elif told.hostname != (reading.address("inference_address").hostname or "127.0.0.1"):
            reading.notes.append(f"{key}: metrics are on the host of inference_address")
        if told.scheme == "https" and setting != "host":
            reading.notes.append(f"{key}: only the inference port is encrypted; this one answers http")

    return take


def _port(own: int) -> Callable[[_Reading, str, str], None]:
    def take(reading: _Reading, key: str, value: str) -> None:
        number = _number(key, value)
        if number != own:
            reading.ports[own] = number

    return take


def _row(setting: str, kind: Callable[[str, str], Any] = lambda key, value: value) -> Callable[..., None]:
    """A key that is one of our settings."""

    def take(reading: _Reading, key: str, value: str) -> None:
        reading.settings[setting] = kind(key, value)

    return take


def _tokens(reading: _Reading, key: str, value: str) -> None:
    if value.lower() != "true":
        reading.settings["token_file"] = _TOKENS


def _unless(plain: str, why: str) -> Callable[..., None]:
    """A key that carries over as long as it has this value."""

    def take(reading: _Reading, key: str, value: str) -> None:
        if value.lower() != plain:
            reading.notes.append(f"{key}: {why}")

    return take


def _number(key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise _refused(key, value, "a whole number")
    return int(value[:18])


_PROCESSES: Final = "processes serve all models; --workers says how many"
_FRONT: Final = ""  # of a server in Java: nothing here is like it, and nothing is missed
Take = Callable[[_Reading, str, str], None]
KEYS: Final[Mapping[str, Take | str]] = {
    "inference_address": _address(8080, "host"),
    "management_address": _address(8081, "admin_host"),
    "metrics_address": _address(8082, None),
    "grpc_inference_port": _port(7070),
    "grpc_management_port": _port(7071),
    "grpc_inference_address": _unless("127.0.0.1", "gRPC is on the host of inference_address"),
    "grpc_management_address": _unless("127.0.0.1", "gRPC management is on the host of management_address"),
    "model_store": _row("model_store"),
    "load_models": _FRONT,  # these three are read together: `_asks`
    "models": _FRONT,
    "model_snapshot": _FRONT,
    "default_response_timeout": _FRONT,  # told in descriptions
    "default_startup_timeout": _FRONT,
    "default_workers_per_model": _PROCESSES,
    "max_request_size": _row("max_body", _number),
    "max_response_size": "answers have no limit",
    "job_queue_size": "it counts requests; here rows wait, and --queue-rows says how many",
    "cors_allowed_origin": _row("cors_origins"),
    "cors_allowed_methods": _FRONT,  # those that the path has
    "cors_allowed_headers": _FRONT,  # those that the page asks for
    "certificate_file": _row("tls_cert"),
    "private_key_file": _row("tls_key"),
    "keystore": "a keystore is not read; `openssl pkcs12` makes the PEM files of certificate_file and private_key_file",
    "keystore_pass": _FRONT,
    "keystore_type": _FRONT,
    "disable_token_authorization": _tokens,
    "token_expiration_min": _row("token_minutes", _number),
    "enable_model_api": _unless("true", "models can be registered and unregistered on the management port"),
    "allowed_urls": "nothing is fetched; models are registered from the model store",
    "use_env_allowed_urls": _FRONT,
    "install_py_dep_per_model": _unless("false", "nothing is installed at a start: see `setsail prepare`"),
    "service_envelope": "--listen PORT=kserve answers KServe's protocols",
    "default_service_handler": "an archive names its handler",
    "decode_input_request": _unless("true", "bodies are read by their content type"),
    "ts_open_inference_protocol": _unless("false", "--listen PORT=kserve answers the Open Inference Protocol"),
    "enable_grpc_ssl": _unless("false", "gRPC is encrypted where its port is"),
    "metrics_mode": _unless("prometheus", "counts are on the metrics port, and in no log"),
    "metrics_config": "the metrics are those that the page lists",
    "enable_metrics_api": _unless("true", "the metrics port is open all the same"),
    "number_of_gpu": _unless("0", "models run on the CPU"),
    "workflow_store": "workflows are not run",
    "unregister_model_timeout": "--drain-timeout says how long running requests get",
    "limit_max_image_pixels": "pictures have a limit of their own, 32 million pixels",
    "blacklist_env_vars": "handlers see few variables; --app-env names more",
    "plugins_path": "plugins are code, and none is run",
    "enable_envvars_config": _FRONT,
    **dict.fromkeys((
        "number_of_netty_threads", "netty_client_threads", "initial_worker_port", "vmargs", "prefer_direct_buffer",
        "async_logging", "model_server_home", "snapshot_store", "metrics_format", "debug", "version", "tsConfigFile",
        "use_native_io", "io_ratio", "metric_time_interval", "disable_system_metrics", "system_metrics_cmd", "python",
        "cpu_launcher_enable", "cpu_launcher_args", "ipex_enable", "grpc_inference_max_connection_age_ms",
        "grpc_inference_max_connection_age_grace_ms", "grpc_management_max_connection_age_ms",
        "grpc_management_max_connection_age_grace_ms", "model_config", "continuous_batching",
    ), _FRONT),
}  # fmt: skip


# -- models ------------------------------------------------------------------------------------------------------------


class _Version(msgspec.Struct, rename="camel"):
    """A version of `models`: how it is to be run."""

    default_version: bool = False
    mar_name: str = ""
    min_workers: int = 1
    max_workers: int = 0
    batch_size: int = 1
    max_batch_delay: int = 100
    response_timeout: int = 0
    startup_timeout: int = 0


class _Snapshot(msgspec.Struct):
    models: dict[str, dict[str, _Version]] = msgspec.field(default_factory=dict)


def _asks(reading: _Reading) -> list[Control]:
    """What is to be registered, in the file's order, and then which versions are the default ones."""
    described = _json(reading, "models", dict[str, dict[str, _Version]]) or {}
    snapshot = _json(reading, "model_snapshot", _Snapshot)
    asks: list[Control] = []
    for name, url in _loads(reading):
        asks.append(Register(url, name, None, _terms(reading, _of_file(described, name, url)), settled=True))
    defaults: list[Control] = []
    for name, versions in (snapshot.models if snapshot is not None else {}).items():
        for text, version in versions.items():
            number = _version(name, text)
            url = _beside(reading, version.mar_name or name)
            asks.append(Register(url, name, number, _terms(reading, version), settled=True))
            defaults += [SetDefault(name, number)] if version.default_version else []
    return asks + defaults


def _loads(reading: _Reading) -> list[tuple[str, str]]:
    """Names ("" for the file's own) and files of `load_models`."""
    told = reading.values.get("load_models", "").strip()
    if told.lower() in ("", "none", "standalone"):
        return []
    if told.lower() == "all":
        return [("", file) for file in _all(reading)]
    found = []
    for part in filter(None, map(str.strip, told.split(","))):
        name, _, file = part.rpartition("=")
        found.append((name.strip(), _beside(reading, file.strip())))
    return found


def _all(reading: _Reading) -> list[str]:
    """Everything in the model store; what cannot be served, whatever trust is given, is named and left out."""
    store = Path(reading.values.get("model_store", "").strip())
    try:
        files = sorted(entry.name for entry in store.iterdir() if not entry.name.startswith("."))
    except (OSError, ValueError) as fault:  # a name with a NUL in it is a ValueError
        raise _refused("model_store", str(store), "a folder that can be listed") from fault
    kept = []
    for file in files:
        if not file.endswith(".mar"):
            kept.append(file)
        elif file.removesuffix(".mar") + _ARTIFACT not in files:
            told = import_module(_STORE).plan(store / file, ())
            reading.notes.append(f"load_models: {file}: {told}")
            kept += [] if told.startswith("refused") else [file]
    return kept


def _beside(reading: _Reading, file: str) -> str:
    """The artifact that lies beside an archive, where there is one."""
    artifact = file.removesuffix(".mar") + _ARTIFACT
    if file.endswith(".mar") and (Path(reading.values.get("model_store", "").strip()) / artifact).is_file():
        reading.notes.append(f"load_models: {artifact} is loaded in place of {file}")
        return artifact
    return file


def _of_file(described: Mapping[str, Mapping[str, _Version]], name: str, url: str) -> _Version:
    """What `models` says of a file, by its archive's name or the model's."""
    stem = url.partition(".")[0]
    for model, versions in described.items():
        for version in versions.values():
            if version.mar_name.partition(".")[0] == stem or (not version.mar_name and model == (name or stem)):
                return version
    return _Version()


def _terms(reading: _Reading, version: _Version) -> Terms:
    timeouts = [
        given or _number(key, reading.values.get(key, "").strip() or "120")
        for key, given in (
            ("default_response_timeout", version.response_timeout), ("default_startup_timeout", version.startup_timeout)
        )
    ]  # fmt: skip
    most = version.max_workers or version.min_workers
    return Terms(version.min_workers, most, version.batch_size, version.max_batch_delay, *timeouts)


def _version(name: str, text: str) -> int:
    whole, _, rest = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and int(whole) and not rest.strip("0")):
        raise _refused("model_snapshot", f"{name} {text}", "versions like 1.0")
    return int(whole)


def _json(reading: _Reading, key: str, kind: Any) -> Any:
    text = reading.values.get(key, "").strip()
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as fault:
        raise _refused(key, text, f"JSON of TorchServe's form ({fault})") from fault


def _refused(key: str, value: str, expected: str) -> SetsailError:
    return SetsailError("setting.value", f"{key} of the configuration is not right", field=key, value=value,
                        expected=expected)  # fmt: skip
