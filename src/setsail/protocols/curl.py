"""curl lines that answer when pasted, made from a model's metadata: docs pages and `setsail serve` print them.

`ModelMetadata.example` holds one row of each input: its values without the batch axis (all of them for an input that
has none). No shell takes a picture's worth of numbers on its command line: a row of more than LARGE values is written
by Python, as zeros, and piped into curl. Where a model takes a file, the line of TorchServe's wire sends one as it is:
`curl -T picture.png` does the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final

from setsail.catalog import ModelMetadata
from setsail.protocols.values import dump
from setsail.signature import TensorSpec

__all__ = ["CURL", "LARGE", "NAMED", "curl_lines"]

LARGE: Final = 1000
_PRINT: Final = "import json; z = lambda *s: [z(*s[1:])] * s[0] if s else 0; print(json.dumps({!r}))"


class _Zeros:
    """An array of zeros, as the Python that makes it."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __repr__(self) -> str:
        return f"z({', '.join(map(str, self.shape))})"


def _plain(meta: ModelMetadata, model: str) -> tuple[str, Any]:
    path = f"/predict/{model}"
    table = meta.signature.table
    if table is not None:
        return path, dict(zip(table.columns, _row(meta, table), strict=True))
    if all(len(s.shape) == 1 and s.batched for s in meta.signature.inputs):
        return path, {s.name: meta.example[s.name] for s in meta.signature.inputs}
    return path, {s.name: _batch(meta, s) for s in meta.signature.inputs}


def _tf_serving(meta: ModelMetadata, model: str) -> tuple[str, Any]:
    path, inputs = f"/v1/models/{model}:predict", meta.signature.inputs
    if not meta.signature.batched:
        return path, {"inputs": {s.name: _batch(meta, s) for s in inputs}}
    if len(inputs) == 1:
        return path, {"instances": [_row(meta, inputs[0])]}
    return path, {"instances": [{s.name: _row(meta, s) for s in inputs}]}


def _open_inference(meta: ModelMetadata, model: str) -> tuple[str, Any]:
    tensors = []
    for spec in meta.signature.inputs:
        data = _batch(meta, spec)
        shape = list(data.shape) if isinstance(data, _Zeros) else _shape(data, len(spec.shape))
        tensors.append({"name": spec.name, "shape": shape, "datatype": spec.dtype.oip, "data": _flat(data, shape)})
    return f"/v2/models/{model}/infer", {"inputs": tensors}


def _mlflow(meta: ModelMetadata, model: str) -> tuple[str, Any]:
    name, _, version = model.partition("/versions/")
    path = f"/invocations?model_name={name}" + (f"&model_version={version}" if version else "")
    inputs, table = meta.signature.inputs, meta.signature.table
    if table is not None:
        return path, {"dataframe_split": {"columns": list(table.columns), "data": [_row(meta, table)]}}
    if all(len(s.shape) == 1 and s.batched for s in inputs):
        row = [meta.example[s.name] for s in inputs]
        return path, {"dataframe_split": {"columns": [s.name for s in inputs], "data": [row]}}
    return path, {"inputs": {s.name: _batch(meta, s) for s in inputs}}


def _torchserve(meta: ModelMetadata, model: str) -> tuple[str, Any]:
    path, inputs = "/predictions/" + model.replace("/versions", ""), meta.signature.inputs
    if not meta.signature.batched:
        return path, {s.name: _batch(meta, s) for s in inputs}
    if len(inputs) == 1:
        return path, [_row(meta, inputs[0])]
    return path, [{s.name: _row(meta, s) for s in inputs}]


CURL: Final[Mapping[str, Callable[[ModelMetadata, str], tuple[str, Any]]]] = {
    "plain": _plain,
    "tf-serving": _tf_serving,
    "open-inference": _open_inference,
    "mlflow": _mlflow,
    "torchserve": _torchserve,
}
# The wires that have a word for a signature, and that word in a body.
NAMED: Final[Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "tf-serving": lambda name: {"signature_name": name},
    "open-inference": lambda name: {"parameters": {"signature": name}},
}
_FILES: Final = frozenset(("torchserve",))  # which take a file with any verb and any type
_TYPED: Final = frozenset(("mlflow",))  # whose original refuses the type that curl -d states


def curl_lines(
    meta: ModelMetadata, url: str, *, pinned: bool = False, keyed: bool = False, signature: str = ""
) -> dict[str, str]:  # fmt: skip
    """One line per wire, keyed by the wire's name.

    Args:
        meta: of the signature that is asked.
        url: where the data port is, without a slash at the end.
        pinned: ask for this version, rather than for the model's default one.
        keyed: send the API key that the shell has in SETSAIL_API_KEY.
        signature: its name, where it is not the default one: then of the wires that can name it.
    """
    model = f"{meta.name}/versions/{meta.version}" if pinned else meta.name
    key = ' -H "authorization: Bearer $SETSAIL_API_KEY"' if keyed else ""
    lines = {}
    for wire, form in CURL.items():
        if signature and wire not in NAMED:
            continue
        path, body = form(meta, model)
        if signature:
            body = NAMED[wire](signature) | body
        kind = f" -H {shlex.quote('content-type: application/json')}" if wire in _TYPED else ""
        curl = f"curl {shlex.quote(url + path)}{key}{kind} -d "
        if wire in _FILES and [bool(s.content) for s in meta.signature.inputs] == [True]:
            row = str(_row(meta, meta.signature.inputs[0]))
            lines[wire] = f"echo {shlex.quote(row)} | base64 -d | curl {shlex.quote(url + path)}{key} -T -"
        elif any(isinstance(_row(meta, s), _Zeros) for s in meta.signature.inputs):
            lines[wire] = f"python3 -c {shlex.quote(_PRINT.format(body))} | {curl}@-"
        else:
            lines[wire] = curl + shlex.quote(dump(body).decode())
    return lines


def _row(meta: ModelMetadata, spec: TensorSpec) -> Any:
    value = meta.example[spec.name]
    if spec.dtype.kind == "string" or meta.signature.table is not None:
        return value
    shape = _shape(value, len(spec.shape) - spec.batched)
    return _Zeros(*shape) if prod(shape) > LARGE else value


def _batch(meta: ModelMetadata, spec: TensorSpec) -> Any:
    value = _row(meta, spec)
    if isinstance(value, _Zeros):
        return _Zeros(1, *value.shape) if spec.batched else value
    return [value] if spec.batched else value


def _shape(value: Any, rank: int) -> list[int]:
    shape = []
    for _ in range(rank):
        shape.append(len(value))
        value = value[0] if value else ()
    return shape


def _flat(value: Any, shape: list[int]) -> Any:
    if isinstance(value, _Zeros):
        return _Zeros(prod(shape))
    for _ in shape[1:]:
        value = [item for part in value for item in part]
    return value if isinstance(value, list) else [value]
