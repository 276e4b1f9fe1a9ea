"""The ways clients ask, written out with nothing but the standard library: what a client of yours would send."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from typing import Any

import numpy as np

from setsail.signature import Signature

__all__ = ["FILES", "WIRES", "Client"]

Inputs = Mapping[str, np.ndarray]


class Client:
    """One connection to one server."""

    def __init__(self, url: str) -> None:
        self.connection = HTTPConnection(url.removeprefix("http://"), timeout=30)

    def post(self, path: str, body: Any) -> Any:
        return self.ask("POST", path, json.dumps(body), {"Content-Type": "application/json"})

    def ask(self, verb: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        self.connection.request(verb, path, body, dict(headers))
        reply = self.connection.getresponse()
        answer = json.loads(reply.read())
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status} {answer}")
        return answer


def open_inference(client: Client, model: str, signature: Signature, inputs: Inputs, output: str) -> Any:
    """Open Inference Protocol v2: typed tensors, as Triton and KServe take them."""
    tensors = [
        {"name": s.name, "shape": inputs[s.name].shape, "datatype": s.dtype.oip, "data": listed(inputs[s.name])}
        for s in signature.inputs
    ]
    answer = client.post(f"/v2/models/{model}/infer", {"inputs": tensors, "outputs": [{"name": output}]})
    (tensor,) = answer["outputs"]
    return np.reshape(tensor["data"], tensor["shape"])


def tf_serving(client: Client, model: str, signature: Signature, inputs: Inputs, output: str) -> Any:
    """TensorFlow Serving and KServe V1: a list of instances."""
    lists = {name: listed(array) for name, array in inputs.items()}
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    answer = client.post(f"/v1/models/{model}:predict", {"instances": rows, "signature_name": output})
    return answer["predictions"]


def plain(client: Client, model: str, signature: Signature, inputs: Inputs, output: str) -> Any:
    """Plain JSON: columns by name."""
    table = signature.table
    columns = dict(zip(table.columns, inputs[table.name].T, strict=True)) if table is not None else inputs
    answer = client.post(f"/predict/{model}", {name: listed(array) for name, array in columns.items()})
    return answer["outputs"][output]


def upload(client: Client, model: str, signature: Signature, inputs: Inputs, output: str) -> Any:
    """A file as it is, one a request: what `curl -H "Content-Type: image/png" --data-binary @seven.png` sends."""
    (files,) = inputs.values()
    answers = [client.ask("POST", f"/predict/{model}", file, {"Content-Type": "image/png"}) for file in files]
    return [answer["outputs"][output][0] for answer in answers]


def listed(array: np.ndarray) -> Any:
    """As JSON has it: what is missing is null, and a file's bytes are base64."""
    if array.dtype == object and isinstance(array[0], bytes):
        return [b64encode(file).decode() for file in array]
    return np.where(array != array, None, array.astype(object)).tolist()


WIRES: Mapping[str, Callable[[Client, str, Signature, Inputs, str], Any]] = {
    "Open Inference": open_inference,
    "TF Serving": tf_serving,
    "plain JSON": plain,
}
FILES: Mapping[str, Callable[[Client, str, Signature, Inputs, str], Any]] = {"the file itself": upload}
