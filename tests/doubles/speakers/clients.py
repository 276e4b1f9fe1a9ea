"""The real clients, each in an environment of its own: what a form of a wire is proven with, beside our own bytes.

A client's script defines `ask(url, model, inputs)`, which gives named arrays. It is run once for many jobs, which go in
and out as .npy files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from client_envs import ask_client, client_python

from setsail.tensors import Array

__all__ = ["CLIENTS", "Client", "Job", "run"]


@dataclass(frozen=True)
class Client:
    """A client of other people.

    Attributes:
        environment: its name and its pins; empty is our own.
        script: defines `ask`.
        lacks: dtypes that it cannot send, with the reason.
        alone: it knows no models' names, so that each has a server of its own.
    """

    title: str
    environment: tuple[str, ...]
    script: str
    lacks: Mapping[str, str]
    alone: bool = False


@dataclass(frozen=True)
class Job:
    url: str
    model: str
    inputs: Mapping[str, Array]


_HEAD = """
import json, sys
from pathlib import Path
import numpy as np
"""
_TAIL = """
folder = Path(sys.argv[1])
for number, (url, model, names) in enumerate(json.loads((folder / "jobs.json").read_text())):
    inputs = {}
    for place, name in enumerate(names):
        array = np.load(folder / f"in-{number}-{place}.npy", allow_pickle=False)
        inputs[name] = array.astype(object) if array.dtype.kind == "U" else array
    try:
        told = ask(url, model, inputs)
    except Exception as fault:
        (folder / f"fault-{number}.txt").write_text(f"{type(fault).__name__}: {fault}")
        continue
    for place, (name, array) in enumerate(told.items()):
        array = np.asarray(array)
        array = array.astype(object) if array.dtype.kind == "S" else array
        if array.dtype == object:
            array = np.array([v.decode() if isinstance(v, bytes) else v for v in array.ravel()]).reshape(array.shape)
        np.save(folder / f"out-{number}-{place}.npy", array, allow_pickle=False)
    (folder / f"names-{number}.json").write_text(json.dumps(list(told)))
"""


def run(client: Client, jobs: Sequence[Job], folder: Path) -> list[dict[str, Array] | str]:
    """Outputs of each job, or what the client raised."""
    told = [(job.url, job.model, list(job.inputs)) for job in jobs]
    (folder / "jobs.json").write_text(json.dumps(told))
    for number, job in enumerate(jobs):
        for place, array in enumerate(job.inputs.values()):
            np.save(folder / f"in-{number}-{place}.npy", array.astype(str) if array.dtype == object else array)
    python = client_python(*client.environment) if client.environment else Path(sys.executable)
    ended = ask_client(python, _HEAD + client.script + _TAIL, str(folder), seconds=300)
    assert ended.rc == 0, ended.err[-3000:]
    return [_answer(folder, number) for number in range(len(jobs))]


def _answer(folder: Path, number: int) -> dict[str, Array] | str:
    fault = folder / f"fault-{number}.txt"
    if fault.exists():
        return fault.read_text()
    names = json.loads((folder / f"names-{number}.json").read_text())
    return {name: np.load(folder / f"out-{number}-{place}.npy") for place, name in enumerate(names)}


# -- the clients -------------------------------------------------------------------------------------------------------

_TRITON = """
import tritonclient.{kind} as triton

KINDS = {{"b": "BOOL", "O": "BYTES"}} | {{
    f"{{k}}{{s}}": f"{{n}}{{8 * s}}" for k, n in (("u", "UINT"), ("i", "INT"), ("f", "FP")) for s in (1, 2, 4, 8)
}}
clients = {{}}

def ask(url, model, inputs):
    client = clients.setdefault(url, triton.InferenceServerClient(url.partition("://")[2]))
    tensors = []
    for name, array in inputs.items():
        kind = KINDS.get(array.dtype.kind) or KINDS[array.dtype.kind + str(array.dtype.itemsize)]
        tensors.append(triton.InferInput(name, list(array.shape), kind))
        tensors[-1].set_data_from_numpy(array)
    answer = client.infer(model, tensors)
    told = answer.get_response()
    names = [o["name"] for o in told["outputs"]] if isinstance(told, dict) else [o.name for o in told.outputs]
    return {{name: answer.as_numpy(name) for name in names}}
"""
_KSERVE = """
import asyncio
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

KINDS = {"b": "BOOL", "O": "BYTES"} | {f"{k}{s}": f"{n}{8 * s}" for k, n in (("u", "UINT"), ("i", "INT"), ("f", "FP"))
         for s in (1, 2, 4, 8)}

def ask(url, model, inputs):
    tensors = []
    for name, array in inputs.items():
        kind = KINDS.get(array.dtype.kind) or KINDS[array.dtype.kind + str(array.dtype.itemsize)]
        tensors.append(InferInput(name, list(array.shape), kind))
        tensors[-1].set_data_from_numpy(array, binary_data=False)

    async def call():
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            return await client.infer(url, InferRequest(model, tensors), model_name=model)

    return {output.name: output.as_numpy() for output in asyncio.run(call()).outputs}
"""
_MLFLOW = """
from urllib.parse import urlsplit
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

def ask(url, model, inputs):
    client = ScoringServerClient(urlsplit(url).hostname, urlsplit(url).port)
    sent = next(iter(inputs.values()))
    if len(inputs) > 1:  # which the client takes as the body's text
        sent = json.dumps({"inputs": {name: array.tolist() for name, array in inputs.items()}})
    told = client.invoke(sent)["predictions"]
    return {name: [row[name] for row in told] for name in told[0]} if isinstance(told[0], dict) else {"": told}
"""
_GRAPHPIPE = """
from graphpipe import remote

def ask(url, model, inputs):
    place = f"{url}/graphpipe/{model}"
    told = remote.execute_multi(place, list(inputs.values()), list(inputs), remote.get_output_names(place))
    return dict(zip(remote.get_output_names(place), told))
"""
_TF_SERVING = """
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

channels = {}

def ask(url, model, inputs):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(
        channels.setdefault(url, grpc.insecure_channel(url.partition("://")[2])))
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = model
    for name, array in inputs.items():
        asked.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return {name: tf.make_ndarray(tensor) for name, tensor in sorted(stub.Predict(asked, 20).outputs.items())}
"""
_TF_PINS = ("tensorflow-cpu==2.20.0", "grpcio==1.85.1", "--no-deps", "tensorflow-serving-api==2.20.0")
_MLFLOW_PINS = ("mlflow-skinny==3.17.2", "numpy==2.4.6", "pandas==2.3.3", "pyarrow==26.0.1", "scipy==1.16.3")
_GRAPHPIPE_PINS = ("numpy==2.4.6", "requests==2.34.2", "flatbuffers==25.12.19", "--no-deps", "graphpipe==1.0.4")

CLIENTS: Mapping[str, Client] = {
    "OIP REST, binary": Client("tritonclient.http 2.73", (), _TRITON.format(kind="http"), {}),
    "OIP gRPC, raw": Client("tritonclient.grpc 2.73", (), _TRITON.format(kind="grpc"), {}),
    "OIP REST, JSON": Client(
        "kserve 0.21", ("kserve", "kserve==0.21.0"), _KSERVE, {"float16": "it sends float16 as bytes alone"}
    ),
    "MLflow, inputs": Client("mlflow 3.17", ("mlflow", *_MLFLOW_PINS), _MLFLOW, {}, alone=True),
    "GraphPipe": Client("graphpipe 1.0.4", ("graphpipe", *_GRAPHPIPE_PINS), _GRAPHPIPE, {"bool": "it has no bool"}),
    "TF Serving gRPC, content": Client("tensorflow-serving-api 2.20", ("tf-serving", *_TF_PINS), _TF_SERVING, {}),
}
"""By the form of a wire that each writes."""
