"""Every wire as a client sees it: named arrays in, named arrays out, over a real socket.

One row of `WAYS` is one way of asking: a wire, a form of its body, JSON or binary or CSV. Answers are read with the
signature's dtypes, so that they can be held against a source model's own outputs.
"""

from __future__ import annotations

import csv
import io
import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
import tritonclient.http as triton

from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["WAYS", "Endpoint"]

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Endpoint:
    """One served model: where it is and what it takes. `session` keeps its connection."""

    url: str
    model: str
    signature: Signature
    session: requests.Session

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        """POST a body (a text as it is, anything else as JSON); a reply that is no 200 fails with its own words."""
        data = body if isinstance(body, str) else json.dumps(body)
        reply = self.session.post(self.url + path.format(self.model), data=data.encode(), timeout=30, **options)
        assert reply.status_code == 200, f"{reply.status_code} {reply.text[:500]}"
        return reply


def has_missing_text(rows: Arrays) -> bool:
    return any(array.dtype == object and any(v is None for v in array.ravel()) for array in rows.values())


def values(array: Array) -> Any:
    """As JSON has it: NaN is null, bytes are base64."""
    if array.dtype == object and any(isinstance(v, bytes) for v in array.ravel()):
        coded = [b64encode(v).decode() for v in array.ravel()]
        return np.array(coded, dtype=object).reshape(array.shape).tolist()
    if array.dtype.kind == "f" and np.isnan(array).any():
        return np.where(np.isnan(array), None, array.astype(object)).tolist()
    return array.tolist()


def back(spec: TensorSpec, data: Any, shape: Sequence[int] | None = None) -> Array:
    """JSON values as the output's array; null is NaN."""
    if spec.dtype.kind == "float":
        return np.array(data, dtype=float).astype(spec.dtype.numpy).reshape(shape or np.shape(data))
    return np.array(data, dtype=spec.dtype.numpy).reshape(shape or np.shape(data))


# -- Open Inference Protocol v2 ----------------------------------------------------------------------------------------


def oip_json(at: Endpoint, rows: Arrays) -> Arrays:
    tensors = [
        {"name": s.name, "shape": list(rows[s.name].shape), "datatype": s.dtype.oip, "data": values(rows[s.name])}
        for s in at.signature.inputs
    ]
    answer = at.post("/v2/models/{}/infer", {"inputs": tensors}).json()
    return {o["name"]: back(at.signature.output(o["name"]), o["data"], o["shape"]) for o in answer["outputs"]}


def oip_binary(at: Endpoint, rows: Arrays) -> Arrays:
    """Triton's own client, binary both ways."""
    client = triton.InferenceServerClient(at.url.removeprefix("http://"))
    try:
        tensors = []
        for spec in at.signature.inputs:
            tensor = triton.InferInput(spec.name, list(rows[spec.name].shape), spec.dtype.oip)
            tensors.append(tensor.set_data_from_numpy(rows[spec.name], binary_data=True))
        answer = client.infer(at.model, tensors)
        return {spec.name: _texts(spec, answer.as_numpy(spec.name)) for spec in at.signature.outputs}
    finally:
        client.close()


def _texts(spec: TensorSpec, array: Array) -> Array:
    if spec.dtype.kind != "string":
        return array
    return np.array([v.decode() for v in array.ravel()], dtype=object).reshape(array.shape)


# -- TensorFlow Serving, KServe V1 -------------------------------------------------------------------------------------


def v1_rows(at: Endpoint, rows: Arrays) -> Arrays:
    """`instances`: bare rows for one input, records for several; every output through its own signature name."""
    names = [s.name for s in at.signature.inputs]
    lists = {name: values(rows[name]) for name in names}
    if len(names) == 1:
        instances = lists[names[0]]
    else:
        instances = [dict(zip(names, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return _each_output(at, {"instances": instances}, "predictions")


def v1_columns(at: Endpoint, rows: Arrays) -> Arrays:
    return _each_output(at, {"inputs": {name: values(array) for name, array in rows.items()}}, "outputs")


def _each_output(at: Endpoint, body: dict[str, Any], key: str) -> Arrays:
    """The default answer, which must agree with the answers to each output's own signature name."""
    path = "/v1/models/{}:predict"
    outputs = {
        spec.name: back(spec, at.post(path, body | {"signature_name": spec.name}).json()[key])
        for spec in at.signature.outputs
    }
    bare, defaults = at.post(path, body).json()[key], at.signature.defaults
    if len(defaults) == 1:
        bare = {defaults[0]: bare}
    elif key == "predictions":
        bare = {name: [row[name] for row in bare] for name in defaults}
    for name in defaults:
        np.testing.assert_array_equal(back(at.signature.output(name), bare[name]), outputs[name])
    return outputs


# -- plain -------------------------------------------------------------------------------------------------------------


def plain_rows(at: Endpoint, rows: Arrays) -> Arrays:
    """A list of rows: lists of the inputs in order where each is a value, records where one is a tensor."""
    names = [s.name for s in at.signature.inputs]
    lists = [values(rows[name]) for name in names]
    if len(names) == 1:
        return _plain(at, lists[0])
    by_name = any(len(s.shape) > 1 for s in at.signature.inputs)
    return _plain(at, [dict(zip(names, row, strict=True)) if by_name else row for row in zip(*lists, strict=True)])


def plain_columns(at: Endpoint, rows: Arrays) -> Arrays:
    """Columns by name, those of a table too."""
    table = at.signature.table
    columns = dict(zip(table.columns, rows[table.name].T, strict=True)) if table is not None else rows
    return _plain(at, {name: values(array) for name, array in columns.items()})


def plain_csv(at: Endpoint, rows: Arrays) -> Arrays:
    """A CSV table in and a CSV table out."""
    table = at.signature.table
    columns = dict(zip(table.columns, rows[table.name].T, strict=True)) if table is not None else rows
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    lists = [values(array) for array in columns.values()]
    writer.writerows([["" if v is None else v for v in row] for row in zip(*lists, strict=True)])
    reply = at.post("/predict/{}", text.getvalue(), headers={"content-type": "text/csv", "accept": "text/csv"})
    header, *lines = csv.reader(io.StringIO(reply.text))
    cells = np.array(lines, dtype=object).reshape(len(lines), len(header))
    return {spec.name: _cells(spec, header, cells) for spec in at.signature.outputs}


def _plain(at: Endpoint, body: Any) -> Arrays:
    answer = at.post("/predict/{}", body).json()["outputs"]
    return {name: back(at.signature.output(name), data) for name, data in answer.items()}


def _cells(spec: TensorSpec, header: list[str], cells: Array) -> Array:
    mine = [i for i, name in enumerate(header) if name == spec.name or name.startswith(f"{spec.name}.")]
    parse: dict[str, Callable[[str], Any]] = {"float": float, "string": str, "bool": lambda v: v == "true"}
    found = cells[:, mine] if spec.name not in header else cells[:, mine[0]]
    flat = [parse.get(spec.dtype.kind, int)(v) for v in found.ravel()]
    return np.array(flat, dtype=spec.dtype.numpy).reshape(found.shape)


# -- the table ---------------------------------------------------------------------------------------------------------


def _always(signature: Signature, rows: Arrays) -> bool:
    return True


def _flat(signature: Signature, rows: Arrays) -> bool:
    """CSV holds tables of values: one table or columns in, at most two dimensions out."""
    columns = all(len(s.shape) == 1 for s in signature.inputs)
    return (columns or signature.table is not None) and all(len(s.shape) <= 2 for s in signature.outputs)


def _whole(signature: Signature, rows: Arrays) -> bool:
    """Binary tensors have no missing text."""
    return not has_missing_text(rows)


# way of asking -> (ask, whether these rows can be asked so)
WAYS: Mapping[str, tuple[Callable[[Endpoint, Arrays], Arrays], Callable[[Signature, Arrays], bool]]] = {
    "open-inference JSON": (oip_json, _always),
    "open-inference binary": (oip_binary, _whole),
    "tf-serving rows": (v1_rows, _always),
    "tf-serving columns": (v1_columns, _always),
    "plain rows": (plain_rows, _always),
    "plain columns": (plain_columns, _always),
    "plain CSV": (plain_csv, _flat),
}
