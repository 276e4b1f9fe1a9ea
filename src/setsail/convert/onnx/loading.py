"""An ONNX file, with its external weights, as one model in memory.

External weights are read only from plain files in the model's own folder: no path upwards, no link, nothing beyond
a file's end. Nothing is run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from setsail.convert.onnx.program import graphs
from setsail.errors import SetsailError

__all__ = ["OLDEST_OPSET", "load", "opset"]

OLDEST_OPSET: Final = 7  # before it, broadcasting was an attribute; runtimes give no promise


def load(path: Path) -> Any:
    """Read an ONNX file into an `onnx.ModelProto` that holds all its weights.

    Raises:
        SetsailError: `source.damaged`, `program.external`, `convert.unsupported` for an opset below 7.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as fault:
        raise SetsailError("source.damaged", f"{path.name!r} is no readable ONNX model", value=str(fault)) from fault
    if not model.graph.node or not model.graph.output:
        raise SetsailError("source.damaged", f"{path.name!r} has an empty graph", expected="nodes and outputs")
    version = opset(model)
    if version < OLDEST_OPSET:
        raise SetsailError("convert.unsupported", f"the model is of ONNX opset {version}", field="opset_import",
                           value=version, expected=f"opset {OLDEST_OPSET} or later",
                           todo="export it again, or use onnx.version_converter")  # fmt: skip
    for tensor in _external(model):
        _gather(tensor, path.parent)
    return model


def opset(model: Any) -> int:
    """The version of the default operator set; a model of other domains only counts as the newest."""
    found = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    return min(found) if found else int(onnx.defs.onnx_opset_version())


def _external(model: Any) -> Iterator[Any]:
    """Every tensor whose bytes lie in another file: weights, and constants in nodes, of graphs and functions."""
    nodes = [node for function in model.functions for node in function.node]
    for graph in graphs(model.graph):
        nodes += graph.node
        yield from (t for t in graph.initializer if t.data_location == TensorProto.EXTERNAL)
    for node in nodes:
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                if tensor.data_location == TensorProto.EXTERNAL:
                    yield tensor


def _gather(tensor: Any, folder: Path) -> None:
    """Bring a tensor's bytes into the model."""
    entries = {e.key: e.value for e in tensor.external_data}
    name = entries.get("location", "")
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else None
        with _opened(folder, name) as file:
            size = os.fstat(file.fileno()).st_size
            count = size - offset if length is None else length
            if offset < 0 or count < 0 or offset + count > size:
                raise ValueError(f"bytes {offset} to {offset + count} of {size}")
            file.seek(offset)
            raw = file.read(count)
    except (ValueError, OSError) as fault:
        raise SetsailError("program.external", f"the weights of {tensor.name!r} cannot be read", field=tensor.name,
                           value=f"{name}: {fault}", expected="a plain file beside the model") from fault  # fmt: skip
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = raw


def _opened(folder: Path, name: str) -> Any:
    """Open a file beneath the folder, refusing links at every step."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or "\\" in name or ":" in name:
        raise ValueError("not a plain relative name")
    for depth in range(1, len(parts)):
        if folder.joinpath(*parts[:depth]).is_symlink():
            raise ValueError("a link")
    descriptor = os.open(folder.joinpath(*parts), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise ValueError("not a plain file with one name")
    return os.fdopen(descriptor, "rb")
