"""Every setting of the server, once: field, default and help. Flags, environment and config keys follow from it.

A field `max_body` is the flag `--max-body`, the variable `SETSAIL_MAX_BODY` and the key `max_body` of the TOML file
that `--config` names; the field `as_`, a word that Python keeps for itself, is `--as`, `SETSAIL_AS` and `as`.
Precedence: flag, then variable, then file, then default. `docs/settings.md` is generated from here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.protocols.flavours import FLAVOURS, listened, renumbered

__all__ = ["ENVIRONMENT", "LOOPBACK", "Row", "Settings", "rows"]

ENVIRONMENT: Final = "SETSAIL_"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def _row(default: Any, text: str, choices: tuple[Any, ...] = (), *, many: bool = False) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices, "many": many})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings, checked. Raises `setting.value` naming the row that is wrong."""

    host: str = _row("127.0.0.1", "Address the data port listens on.")
    port: int = _row(8080, "Data port; 0 picks a free one.")
    admin_host: str = _row("127.0.0.1", "Address the admin port listens on.")
    admin_port: int = _row(8081, "Admin port: docs, metrics, management; 0 picks a free one, -1 switches it off.")
    as_: str = _row("", "Server to imitate, on its own ports instead of the data port.", ("", *FLAVOURS))
    ports: str = _row("", "Other numbers for ports of --as, ITS=OURS; 0 picks a free one.", many=True)
    listen: str = _row("", "One more data port that imitates a server, PORT=FLAVOUR.", many=True)
    workers: int = _row(0, "Processes that answer; 0 is one a core that this machine or container may use.")
    model_control: str = _row("none", "Whether clients may load and unload on the data port.", ("none", "explicit"))
    model_store: str = _row("", "Folders that clients with control may register models from.", many=True)
    route: str = _row("", "Where requests without a version go at the start, MODEL:v1=90+v2=10.", many=True)
    repository_poll: float = _row(0.0, "Seconds between looks at served directories; 0 looks once.")
    tls_cert: str = _row("", "Certificate chain (PEM) of the data port.")
    tls_key: str = _row("", "Private key (PEM) of the data port.")
    tls_client_ca: str = _row("", "CA (PEM) that client certificates must come from.")
    api_key_file: str = _row("", "File with one API key a line; clients send `Authorization: Bearer KEY`.")
    token_file: str = _row("", "File that TorchServe's tokens are written to; its ports ask for them then.")
    token_minutes: float = _row(60.0, "Minutes that a token of --token-file is good for.")
    max_body: int = _row(64 << 20, "Largest request body in bytes, before and after decompression.")
    max_head: int = _row(64 << 10, "Largest request line and headers in bytes.")
    max_headers: int = _row(100, "Most headers of one request.")
    header_timeout: float = _row(10.0, "Seconds a client gets to send a request's headers.")
    min_rate: int = _row(1024, "Slowest body in bytes a second, over any ten seconds; 0 allows any.")
    idle_timeout: int = _row(75, "Seconds an idle connection is kept.")
    max_connections: int = _row(10_000, "Most connections of one process.")
    max_connections_per_address: int = _row(0, "Most connections of one client address to one process; 0 is no limit.")
    max_inflight: int = _row(10_000, "Most requests of one process that are read or answered at once.")
    max_inflight_bytes: int = _row(1 << 30, "Most bytes of request bodies that one process holds.")
    queue_rows: int = _row(1000, "Most rows that wait for one model.")
    queue_bytes: int = _row(256 << 20, "Most bytes of requests that wait for one model.")
    max_batch: int = _row(0, "Most rows of one run; 0 learns it, 1 never batches.")
    max_delay: float = _row(0.0, "Seconds a request may wait for others to share its run; 0 never waits for them.")
    latency_target: float = _row(0.0, "Seconds in which 99 of 100 requests should be answered; 0 for none.")
    cache_bytes: int = _row(0, "Bytes of answers that each model's response cache keeps; 0 is no cache.")
    cache_models: str = _row("", "Models whose answers are cached, comma-separated; empty for all.")
    cors_origins: str = _row("", "Origins whose pages may call the data port, comma-separated; * for all.")
    gzip_replies: int = _row(16 << 10, "Smallest answer in bytes that is compressed, where accepted; 0 never.")
    grpc_engine: str = _row("own", "What speaks gRPC: setsail, or grpcio on a port of its own.", ("own", "grpcio"))
    grpc_port: int = _row(8001, "Port of --grpc-engine grpcio; the own engine answers on the data port.")
    drain_delay: float = _row(0.0, "Seconds to go on answering, already not ready, before a shutdown begins.")
    drain_timeout: int = _row(30, "Seconds that running requests get at shutdown.")
    triton_metrics: str = _row("off", "Whether /metrics also has Triton's nv_inference_* names.", ("off", "on"))
    watch: str = _row(
        "auto",
        "Whether drift is watched: of models with a reference, of all (for labels that come back), of none.",
        ("auto", "all", "off"),
    )
    watch_rows: int = _row(500, "Rows of a window in which drift is looked for.")
    watch_seconds: float = _row(900.0, "Seconds after which a window ends, if it has 200 rows.")
    watch_alpha: float = _row(0.001, "Chance of a false alarm in a window, over everything that is tested.")
    watch_client_rows: int = _row(100, "Most rows of one request that are watched.")
    trace_endpoint: str = _row("", "OTLP/HTTP address that spans are sent to (needs setsail[otel]).")
    trace_sample: float = _row(0.01, "Share of requests traced when the client does not say.")
    weights_cache: str = _row("auto", "Keep prepared weights on disk, so that processes share them.", ("auto", "off"))
    threads: int = _row(1, "Threads onnxruntime may use inside one run of one model.")
    trust: str = _row(
        "",
        "Kinds of source whose loading may run code: app (functions, scripts), mar, pyfunc, pickle, torchscript.",
        many=True,
    )
    app_timeout: float = _row(30.0, "Seconds that one call of a function may take; 0 is no limit.")
    app_start_timeout: float = _row(60.0, "Seconds that a function's file may take to be imported.")
    app_memory: int = _row(0, "Bytes of address space of a function's process; 0 is the machine's, at least 16 GiB.")
    app_network: str = _row("off", "Whether a function's process keeps its network.", ("off", "on"))
    app_sandbox: str = _row("on", "Whether a function's process is cut off from files, processes and the network.",
                            ("on", "off"))  # fmt: skip
    app_env: str = _row("", "Variables of the environment that a function sees beside the usual few.", many=True)
    app_read: str = _row("", "Folders that a function may read beside its own and Python's.", many=True)
    app_python: str = _row("", "Python that functions run in, with numpy; empty is the server's own.")

    def __post_init__(self) -> None:
        for row in rows():
            _check(row, getattr(self, row.name))
        if bool(self.tls_cert) != bool(self.tls_key):
            raise _refused("tls_key", "", "both --tls-cert and --tls-key, or neither")
        for name in ("tls_cert", "tls_key", "tls_client_ca", "api_key_file"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise _refused(name, path, "a file that exists")
        renumbered(self.ports, self.as_)
        listened(self.listen)
        if self.token_file and self.api_key_file:
            raise _refused("token_file", self.token_file, "no --api-key-file: a request has one key")
        if self.model_control == "explicit" and self.host not in LOOPBACK and not self.api_key_file:
            raise _refused("model_control", "explicit", "an --api-key-file when --host is not loopback")

    @classmethod
    def read(
        cls, flags: Mapping[str, Any], config: Path | None = None, foreign: Mapping[str, Any] | None = None
    ) -> Settings:
        """Merge flags, environment and config file.

        Args:
            flags: what was given on the command line or in Python; unknown names raise `setting.unknown`.
            foreign: what another server's configuration comes to; everything else beats it.
        """
        known = {row.key: row for row in rows()}
        merged: dict[str, Any] = {}
        sources = (("other server's configuration", foreign or {}), ("config file", _toml(config)),
                   ("environment", _environment(known)), ("flags", flags))  # fmt: skip
        for source, values in sources:
            for given, value in values.items():
                row = known.get(given.rstrip("_"))
                if row is None:
                    raise SetsailError("setting.unknown", f"there is no setting {given!r} ({source})", field=given,
                                       expected=", ".join(known))  # fmt: skip
                merged[row.name] = row.parse(value)
        return cls(**merged)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as a row of the table. `many`: a comma-separated text, whose flag may be given several times."""

    name: str
    type: type
    default: Any
    help: str
    choices: tuple[Any, ...]
    many: bool

    @property
    def key(self) -> str:
        return self.name.rstrip("_")

    @property
    def flag(self) -> str:
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        return ENVIRONMENT + self.key.upper()

    def parse(self, value: Any) -> Any:
        """A text from the environment (or a number of a near type) to the row's type."""
        try:
            if self.many and isinstance(value, list | tuple):
                return ",".join(map(str, value))
            return self.type(value) if not isinstance(value, bool) else value
        except (TypeError, ValueError):
            raise _refused(self.name, value, f"{self.type.__name__}") from None


def rows() -> tuple[Row, ...]:
    """The table."""
    types = {"str": str, "int": int, "float": float}
    return tuple(
        Row(f.name, types[str(f.type)], f.default, *(f.metadata[key] for key in ("help", "choices", "many")))
        for f in fields(Settings)
    )


def _check(row: Row, given: Any) -> None:
    if not isinstance(given, row.type) or isinstance(given, bool):
        raise _refused(row.name, given, row.type.__name__)
    value: Any = given
    if row.choices and value not in row.choices:
        raise _refused(row.name, value, " or ".join(str(choice) for choice in row.choices if choice != ""))
    lowest = -1 if row.name == "admin_port" else 0
    if row.type is not str and value < lowest:
        raise _refused(row.name, value, f"{lowest} or more")
    if row.name.endswith("port") and value > 65535:
        raise _refused(row.name, value, "a port number up to 65535")


def _refused(name: str, value: object, expected: str) -> SetsailError:
    flag = "--" + name.rstrip("_").replace("_", "-")
    return SetsailError("setting.value", f"setting {flag} is not right", field=flag, value=value, expected=expected)


def _environment(known: Mapping[str, Row]) -> dict[str, str]:
    return {name: os.environ[row.variable] for name, row in known.items() if row.variable in os.environ}


def _toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    tomllib = import_module("tomllib")  # slow to import, and only a config file needs it
    try:
        parsed: dict[str, Any] = tomllib.loads(path.read_text())
    except OSError as fault:
        raise _refused("config", str(path), "a file that can be read") from fault
    except ValueError as fault:  # what tomllib and the decoding of text raise
        raise _refused("config", f"{path}: {fault}", "a TOML file") from fault
    return parsed
