"""The servers, one row each: what to install, how to start it, what it can be asked.

Where a server has settings for speed that its documentation recommends, they are set, and `notes` says so. Every server
runs the same ONNX file in an onnxruntime session of one thread (`program.py`). In commands, {bin} is its environment's
`bin`, {here} this folder, {home} a folder of its own for this model, {name} the model's name.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.environments import UnavailableError
from benchmarks.models import Made

__all__ = ["PEERS", "Peer", "Place"]

HERE: Final = Path(__file__).parent
SESSION: Final = ("onnxruntime==1.31.1", "numpy==2.4.6", "orjson==3.13.0")
UVICORN: Final = "uvicorn[standard]==0.54.0"


@dataclass(frozen=True)
class Place:
    """Where a server is started: what its command and its files are made of."""

    bin: Path
    home: Path
    model: Made
    port: int
    workers: int

    def filled(self, text: str) -> str:
        return text.format(
            bin=self.bin, here=HERE, home=self.home, name=self.model.name, port=self.port, workers=self.workers
        )  # fmt: skip


@dataclass(frozen=True)
class Peer:
    title: str
    command: tuple[str, ...]
    wires: Mapping[str, tuple[str, str]]  # kind of workload -> wire and path
    packages: tuple[str, ...] = ()
    environment: str = ""  # name of the virtual environment; "" is the harness's own
    prepare: Callable[[Place], None] = lambda place: None
    variables: Mapping[str, str] = field(default_factory=dict)
    serves: bool = True  # models, that is; False for the ceilings
    only: tuple[str, ...] = ()  # the workloads it makes sense for; () is all that it has a wire for
    notes: str = ""
    starts: float = 30.0  # seconds until it must answer


def _packed(place: Place) -> None:
    _pack(place.model, place.home)


@cache
def _pack(model: Made, home: Path) -> None:
    """`setsail pack`, with requests as the example, once in a run of the harness."""
    import setsail

    cases = [case.inputs for case in model.cases]
    joined = (
        {name: np.concatenate([case[name] for case in cases[:4]]) for name in cases[0]} if _alike(cases) else cases[0]
    )
    target = home / f"{model.name}.setsail"
    target.unlink(missing_ok=True)
    setsail.pack(model.path, example=dict(joined), name=model.name, output=target).close()


def _alike(cases: list[Mapping[str, np.ndarray]]) -> bool:
    return len({tuple(array.shape for array in case.values()) for case in cases}) == 1


def _mlserver(place: Place, parallel: int = 0) -> None:
    settings = {"debug": False, "host": "127.0.0.1", "metrics_endpoint": None, "parallel_workers": parallel}
    settings |= {"http_port": place.port, "grpc_port": place.port + 1, "metrics_port": place.port + 2}
    (place.home / "settings.json").write_text(json.dumps(settings))
    model = {"name": place.model.name, "implementation": "mlserver_app.Runtime"}
    (place.home / "model-settings.json").write_text(json.dumps(model))


def _mlserver_parallel(place: Place) -> None:
    _mlserver(place, place.workers)


def _torchserve(place: Place) -> None:
    if shutil.which("java") is None:
        raise UnavailableError("it needs Java")
    store = place.home / "store"
    store.mkdir(exist_ok=True)
    if not (store / "model.mar").exists():
        command = [place.bin / "torch-model-archiver", "--model-name", "model", "--version", "1.0", "--handler"]
        command += [HERE / "torchserve_handler.py", "--extra-files", HERE / "program.py", "--export-path", store]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
    row = {"defaultVersion": True, "marName": "model.mar", "minWorkers": place.workers, "maxWorkers": place.workers}
    models = {"model": {"1.0": row | {"batchSize": 64, "maxBatchDelay": 5, "responseTimeout": 120}}}
    lines = [
        f"{part}_address=http://127.0.0.1:{place.port + n}"
        for n, part in enumerate(("inference", "management", "metrics"))
    ]
    lines += [f"grpc_{part}_port={place.port + n}" for n, part in ((3, "inference"), (4, "management"))]
    lines += [
        "enable_metrics_api=false",
        "disable_token_authorization=true",
        "load_models=model.mar",
        "max_request_size=65536000",
    ]
    (place.home / "config.properties").write_text("\n".join([*lines, f"models={json.dumps(models)}"]))
    (place.home / "log4j2.xml").write_text(
        '<?xml version="1.0"?><Configuration><Appenders><Console name="out"><PatternLayout pattern="%m%n"/></Console>'
        '</Appenders><Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>'
    )


def _mlflow(place: Place) -> None:
    saved = place.home / "saved"
    if not saved.exists():
        command = [str(place.bin / "python"), str(HERE / "mlflow_model.py"), str(saved)]
        done = subprocess.run(
            command, env={"MODEL": str(place.model.path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )
        if done.returncode:
            raise UnavailableError(f"mlflow cannot save the model: {done.stderr[-300:]}")


def _nginx(place: Place) -> None:
    if shutil.which("nginx") is None:
        raise UnavailableError("nginx is not installed")
    from benchmarks.peers.echo import BODY

    (place.home / "nginx.conf").write_text(
        f"daemon off; worker_processes {place.workers}; pid nginx.pid; error_log stderr warn;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; client_max_body_size 64m; keepalive_requests 1000000000; server {\n"
        f"  listen 127.0.0.1:{place.port} reuseport;\n"
        f"  location / {{ default_type application/json; return 200 '{BODY.decode()}'; }}\n"
        "} }\n"
    )


JSON: Final = {"json": ("named", "/predict")}
BOTH: Final = {**JSON, "binary": ("raw", "/raw")}
_UVICORN: Final = ("--port", "{port}", "--workers", "{workers}", "--no-access-log", "--log-level", "warning")

PEERS: Final[Mapping[str, Peer]] = {
    "setsail": Peer(
        "setsail",
        (sys.executable, "-m", "setsail", "serve", "{home}/{name}.setsail", "--port", "{port}", "--admin-port", "0",
         "--workers", "{workers}", "--quiet"),
        {"json": ("named", "/predict/{name}"), "binary": ("v2-binary", "/v2/models/{name}/infer"),
         "grpc": ("grpc", "/inference.GRPCInferenceService/ModelInfer"), "discard": ("discard", "/v2/health/live")},
        prepare=_packed,
        notes="as installed, no setting changed; metrics, checks of every request and the admin port are on",
    ),
    "uvicorn": Peer(
        "raw ASGI on uvicorn", ("{bin}/uvicorn", "asgi_app:app", "--lifespan", "off", *_UVICORN), BOTH,
        (*SESSION, UVICORN), "uvicorn", notes="by hand; orjson, uvloop, httptools",
    ),
    "granian": Peer(
        "granian RSGI",
        ("{bin}/granian", "rsgi_app:app", "--interface", "rsgi", "--host", "127.0.0.1", "--port", "{port}", "--workers",
         "{workers}", "--loop", "uvloop", "--log-level", "warning"),
        BOTH, (*SESSION, "granian[uvloop]==2.8.7"), "granian", notes="by hand; orjson, uvloop",
    ),
    "robyn": Peer(
        "robyn",
        ("{bin}/python", "{here}/robyn_app.py", "--processes", "{workers}", "--workers", "1", "--log-level", "WARN"),
        JSON, (*SESSION, "robyn==0.88.0"), "robyn", notes="by hand; orjson",
    ),
    "fastapi": Peer(
        "FastAPI, tuned", ("{bin}/uvicorn", "fastapi_app:app", *_UVICORN), BOTH,
        (*SESSION, "fastapi==0.165.0", UVICORN), "fastapi", notes="async handlers, raw body, orjson, uvloop, httptools",
    ),
    "fastapi-tutorial": Peer(
        "FastAPI, as in tutorials", ("{bin}/uvicorn", "fastapi_tutorial:app", *_UVICORN), JSON,
        (*SESSION, "fastapi==0.165.0", UVICORN), "fastapi", notes="pydantic body, `def` handler; uvloop, httptools",
    ),
    "flask": Peer(
        "Flask + gunicorn",
        ("{bin}/gunicorn", "flask_app:app", "--bind", "127.0.0.1:{port}", "--workers", "{workers}",
         "--log-level", "warning"),
        BOTH, (*SESSION, "flask==3.1.3", "gunicorn==27.0.1"), "flask", notes="sync workers, which close connections",
    ),
    "litserve": Peer(
        "LitServe", ("{bin}/python", "{here}/litserve_app.py"), JSON,
        (*SESSION, "litserve==0.2.19", "python-multipart==0.0.34"), "litserve",
        notes="workers_per_device, 1 API server",
    ),
    "bentoml": Peer(
        "BentoML", ("{bin}/bentoml", "serve", "bentoml_app:Service", "--port", "{port}", "--host", "127.0.0.1"),
        {"json": ("nested", "/predict")}, (*SESSION, "bentoml==1.4.39"), "bentoml",
        variables={"BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": "{home}"}, notes="access log off",
    ),
    "mlserver": Peer(
        "MLServer", ("{bin}/mlserver", "start", "{home}"), {"json": ("v2", "/v2/models/{name}/infer")},
        ("onnxruntime==1.31.1", "mlserver==1.7.1", "uvloop==0.21.0"), "mlserver", _mlserver,
        notes="metrics off; one process, because its parallel workers answer a quarter as many small requests",
    ),
    "mlserver-2": Peer(
        "MLServer, parallel workers", ("{bin}/mlserver", "start", "{home}"),
        {"json": ("v2", "/v2/models/{name}/infer")},
        ("onnxruntime==1.31.1", "mlserver==1.7.1", "uvloop==0.21.0"), "mlserver", 
        _mlserver_parallel, notes="metrics off; faster than one process for large models only",
    ),
    "rayserve": Peer(
        "Ray Serve", ("{bin}/python", "{here}/ray_app.py"), JSON, (*SESSION, "ray[serve]==2.60.0"), "rayserve",
        variables={"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}, starts=120.0,
        notes="a replica a worker, max_ongoing_requests=100",
    ),
    "torchserve": Peer(
        "TorchServe",
        ("{bin}/torchserve", "--start", "--foreground", "--ncs", "--model-store", "{home}/store", "--ts-config",
         "{home}/config.properties", "--log-config", "{home}/log4j2.xml", "--disable-token-auth"),
        {"json": ("named", "/predictions/model")},
        ("onnxruntime==1.31.1", "torch==2.13.0", "torchserve==0.12.0", "torch-model-archiver==0.12.0", "pyyaml==6.0.3"),
        "torchserve", _torchserve, {"LOG_LOCATION": "{home}", "METRICS_LOCATION": "{home}"}, starts=120.0,
        notes="batchSize 64, maxBatchDelay 5 ms; log level warn; archived upstream",
    ),
    "mlflow": Peer(
        "MLflow",
        ("{bin}/mlflow", "models", "serve", "-m", "{home}/saved", "--host", "127.0.0.1", "--port", "{port}",
         "--workers", "{workers}", "--env-manager", "local"),
        {"json": ("mlflow", "/invocations")},
        ("onnxruntime==1.31.1", "onnx==1.23.2", "mlflow==3.17.2", "uvloop==0.23.0", "httptools==0.9.0"), "mlflow",
        _mlflow, starts=120.0, notes="onnx flavour; uvloop and httptools added, without which 2 workers take 44 ms",
    ),
    "grpcio-aio": Peer(
        "grpcio aio", ("{bin}/python", "{here}/grpc_app.py", "aio"),
        {"grpc": ("grpc", "/inference.GRPCInferenceService/ModelInfer")},
        ("onnxruntime==1.31.1", "numpy==2.4.6", "grpcio==1.85.1", "tritonclient[grpc]==2.73.0"), "grpcio",
        notes="a process a worker on one port",
    ),
    "grpcio-sync": Peer(
        "grpcio sync", ("{bin}/python", "{here}/grpc_app.py", "sync"),
        {"grpc": ("grpc", "/inference.GRPCInferenceService/ModelInfer")},
        ("onnxruntime==1.31.1", "numpy==2.4.6", "grpcio==1.85.1", "tritonclient[grpc]==2.73.0"), "grpcio",
        notes="4 threads; a process a worker on one port",
    ),
    "echo": Peer(
        "echo: asyncio protocol", ("{bin}/python", "{here}/echo.py"),
        {"json": ("echo", "/"), "discard": ("discard", "/")}, (*SESSION, UVICORN), "uvicorn",
        serves=False, only=("iris", "discard"),
        notes="httptools and uvloop, a constant answer: the ceiling of HTTP in Python",
    ),
    "nginx": Peer(
        "nginx", ("nginx", "-p", "{home}", "-c", "{home}/nginx.conf"),
        {"json": ("echo", "/"), "discard": ("discard", "/")}, prepare=_nginx, serves=False,
        only=("iris", "discard"), notes="`return 200` with a constant answer",
    ),
    "in-process": Peer(
        "onnxruntime, in process", ("{bin}/python", "{here}/in_process.py"), {"json": ("", ""), "binary": ("", "")},
        (*SESSION, UVICORN), "uvicorn", serves=False,
        only=("iris", "xgboost", "digits", "resnet18", "encoder"),
        notes="the session in a loop, a process a worker, no server: the limit",
    ),
}  # fmt: skip
