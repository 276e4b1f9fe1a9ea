"""A handler for TorchServe that runs an ONNX program with onnxruntime and numpy, and nothing of setsail.

`setsail export --to mar` puts this file into the archive as it stands here. A request's body is JSON: one row or many,
as values or by the inputs' names, also inside `data`, `instances` or `inputs`. The answer has an entry a row: the
default output, or an object of them where the model has several; setsail's own TorchServe wire answers the same.
"""

# mypy: ignore-errors
# ruff: noqa: B905
# The two lines above: TorchServe may run this in a Python older than ours, without the words that they ask for.

from __future__ import annotations

import json
import math
import os
from importlib import import_module

import numpy as np

_ENVELOPES = ("data", "instances", "inputs")
_NULL = "\ufdd0"  # a text that is missing, inside the program


class SetsailHandler:
    """What TorchServe calls: `initialize` once, then `handle` with the bodies of a batch of requests."""

    def __init__(self):
        self.initialized = False

    def initialize(self, context):
        folder = str(context.system_properties["model_dir"])
        with open(os.path.join(folder, "signature.json"), encoding="utf-8") as file:
            self.signature = json.load(file)
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = os.path.join(folder, self.signature["file"])
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.initialized = True

    def handle(self, data, context):
        return [self.answer(_body(request)) for request in data]

    def answer(self, body):
        """One request's answer. Raises ValueError that says what is wrong with its body."""
        inputs = self.read(body)
        names = [spec["name"] for spec in self.signature["outputs"]]
        if self.signature["max_batch"] == 1 and self.signature["batched"]:
            rows = len(next(iter(inputs.values())))
            parts = [self.session.run(names, {n: a[i : i + 1] for n, a in inputs.items()}) for i in range(rows)]
            found = [np.concatenate(part) for part in zip(*parts)]
        else:
            found = self.session.run(names, inputs)
        outputs = {n: _plain(array) for n, array in zip(names, found) if n in self.signature["defaults"]}
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        if not self.signature["batched"]:
            return outputs
        return [dict(zip(outputs, row)) for row in zip(*outputs.values())]

    def read(self, body):
        """The inputs by name, as arrays of the program's dtypes."""
        specs = self.signature["inputs"]
        own = {spec["name"] for spec in specs} | {name for spec in specs for name in spec.get("columns", ())}
        if isinstance(body, dict) and len(body) == 1 and next(iter(body)) in _ENVELOPES and not own & set(body):
            (body,) = body.values()
        if isinstance(body, dict):
            whole = self.by_name(body)
        elif isinstance(body, list) and body and all(isinstance(row, dict) for row in body):
            rows = [self.by_name(row) for row in body]
            whole = {name: [row[name][0] for row in rows] for name in rows[0]}
        elif len(specs) == 1:
            whole = {specs[0]["name"]: body}
        else:
            raise ValueError("the body is no object with the inputs " + ", ".join(sorted(own)))
        return {spec["name"]: _array(spec, whole[spec["name"]]) for spec in specs}

    def by_name(self, body):
        """Values of all rows by input; one row is a list of one."""
        found = {}
        for spec in self.signature["inputs"]:
            name, columns = spec["name"], spec.get("columns", ())
            if name in body:
                value = body[name]
                found[name] = value if _depth(value) == len(spec["shape"]) or not self.signature["batched"] else [value]
            elif columns and all(column in body for column in columns):
                cells = [body[column] for column in columns]
                found[name] = [list(row) for row in zip(*cells)] if isinstance(cells[0], list) else [cells]
            else:
                raise ValueError("the body has no input " + name)
        return found


def _body(request):
    """The JSON of a request: TorchServe has parsed it already where the content type said so."""
    body = request.get("body", request.get("data")) if isinstance(request, dict) else request
    return json.loads(bytes(body)) if isinstance(body, (bytes, bytearray, memoryview)) else body


def _depth(value):
    depth = 0
    while isinstance(value, list):
        depth, value = depth + 1, value[0] if value else None
    return depth


def _array(spec, value):
    kind = spec["dtype"]
    if _depth(value) == len(spec["shape"]) - 1:  # one row
        value = [value]
    missing = math.nan if kind.startswith("float") else _NULL if kind == "string" else None
    array = np.array(_filled(value, missing), dtype=object if kind == "string" else kind)
    sizes = [size for size in spec["shape"] if isinstance(size, int)]
    fixed = [have for have, size in zip(array.shape, spec["shape"]) if isinstance(size, int)]
    if array.ndim != len(spec["shape"]) or sizes != fixed:
        raise ValueError("input " + spec["name"] + " has another shape: " + str(list(array.shape)))
    return array


def _filled(value, missing):
    if isinstance(value, list):
        return [_filled(one, missing) for one in value]
    if value is None and missing is None:
        raise ValueError("null where a number cannot be missing")
    return missing if value is None else value


def _plain(array):
    values = array.tolist()
    return (
        [None if value == _NULL else value for value in values] if array.dtype == object and array.ndim == 1 else values
    )
