"""curl lines that answer when pasted, made from a model's metadata: docs pages and `setsail serve` print them.

`ModelMetadata.example` holds one row of each input: its values without the batch axis (all of them for an input that
has none).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any, Final

from setsail.catalog import ModelMetadata
from setsail.protocols.values import dump
from setsail.signature import TensorSpec

__all__ = ["CURL", "curl_lines"]


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
        shape = _shape(data, len(spec.shape))
        tensors.append({"name": spec.name, "shape": shape, "datatype": spec.dtype.oip, "data": _flat(data, shape)})
    return f"/v2/models/{model}/infer", {"inputs": tensors}


CURL: Final[Mapping[str, Callable[[ModelMetadata, str], tuple[str, Any]]]] = {
    "plain": _plain,
    "tf-serving": _tf_serving,
    "open-inference": _open_inference,
}


def curl_lines(meta: ModelMetadata, url: str, *, pinned: bool = False, keyed: bool = False) -> dict[str, str]:
    """One line per wire, keyed by the wire's name.

    Args:
        url: where the data port is, without a slash at the end.
        pinned: ask for this version, rather than for the model's default one.
        keyed: send the API key that the shell has in SETSAIL_API_KEY.
    """
    model = f"{meta.name}/versions/{meta.version}" if pinned else meta.name
    key = ' -H "authorization: Bearer $SETSAIL_API_KEY"' if keyed else ""
    lines = {}
    for wire, form in CURL.items():
        path, body = form(meta, model)
        lines[wire] = f"curl {shlex.quote(url + path)}{key} -d {shlex.quote(dump(body).decode())}"
    return lines


def _row(meta: ModelMetadata, spec: TensorSpec) -> Any:
    return meta.example[spec.name]


def _batch(meta: ModelMetadata, spec: TensorSpec) -> Any:
    value = meta.example[spec.name]
    return [value] if spec.batched else value


def _shape(value: Any, rank: int) -> list[int]:
    shape = []
    for _ in range(rank):
        shape.append(len(value))
        value = value[0] if value else ()
    return shape


def _flat(value: Any, shape: list[int]) -> list[Any]:
    for _ in shape[1:]:
        value = [item for part in value for item in part]
    flat = value if isinstance(value, list) else [value]
    return flat
