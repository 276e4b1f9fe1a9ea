"""Whether two programs compute the same, whatever their inner names and the order they are written in.

Exporters count up names and iterate over sets, so one graph translated twice is two files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import onnx
from onnx import ModelProto, TensorProto

from setsail.convert.onnx.program import PROGRAM

__all__ = ["fingerprint"]


def fingerprint(files: Mapping[str, bytes]) -> str:
    """A digest of what every output is computed from: operators, attributes, weights, the inputs by their names.

    Programs with one fingerprint are one program; those with two may be one too: subgraphs count as they are written.

    Args:
        files: of a variant, `model.onnx` and its external weights.
    """
    model = onnx.load_from_string(files[PROGRAM])
    known = {value.name: _digest("input", value.SerializeToString(deterministic=True)) for value in model.graph.input}
    known |= {tensor.name: _weights(tensor, files) for tensor in model.graph.initializer}
    for node in model.graph.node:
        attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
        # a subgraph names values around it: there, names count too
        around = (
            sorted(map("=".join, known.items())) if any(a.HasField("g") or a.graphs for a in node.attribute) else ()
        )
        made = _digest(node.domain, node.op_type, *(known.get(n, "") for n in node.input), *attributes, *around)
        known |= {name: _digest(made, str(index)) for index, name in enumerate(node.output)}
    outputs = [value.SerializeToString(deterministic=True) + known.get(value.name, "").encode()
               for value in model.graph.output]  # fmt: skip
    return _digest(*_frame(model), *outputs)


def _frame(model: ModelProto) -> list[bytes]:
    imports = sorted(o.SerializeToString(deterministic=True) for o in model.opset_import)
    return [*imports, *(f.SerializeToString(deterministic=True) for f in model.functions)]


def _weights(tensor: TensorProto, files: Mapping[str, bytes]) -> str:
    """Of a tensor's content without its name, wherever that is."""
    plain = TensorProto()
    plain.CopyFrom(tensor)
    plain.ClearField("name")
    content = b""
    if tensor.data_location == TensorProto.EXTERNAL:
        place = {entry.key: entry.value for entry in tensor.external_data}
        start = int(place.get("offset", 0))
        whole = files[place["location"]]
        content = whole[start : start + int(place["length"])] if "length" in place else whole[start:]
        plain.ClearField("external_data")
    return _digest("weights", plain.SerializeToString(deterministic=True), content)


def _digest(*parts: str | bytes) -> str:
    """Of parts, each with its length, so that none runs into the next."""
    found = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        found.update(len(raw).to_bytes(8, "little") + raw)
    return found.hexdigest()
