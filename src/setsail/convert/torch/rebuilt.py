"""An ONNX graph as a module of PyTorch: run node by node, traced by PyTorch, and saved.

Only for `setsail export --to pt2` and `--to torchscript`, in a child process. The graph is one that packing made and
the gate let through. An operator that is not in `operators.py` is refused by its name, and whoever calls this compares
what was saved with the stored samples: nothing here is taken on trust.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from setsail.convert.torch.operators import OPERATORS, Known, Unknown, as_tensor, call
from setsail.errors import SetsailError
from setsail.signature import BATCH, Signature
from setsail.tensors import Array

__all__ = ["Rebuilt", "save"]

Call = Callable[[Mapping[str, Array]], dict[str, Array]]
_DOMAINS: Final = ("", "ai.onnx")
_OLDEST: Final = 13  # from here on, axes of Squeeze and Unsqueeze are inputs, and Softmax is of one axis
_FEW: Final = 64
_USUAL: Final = 3  # rows that are traced; 1 would be taken for a constant


class Rebuilt(torch.nn.Module):  # type: ignore[misc]  # mypy does not read PyTorch
    """The graph. Takes the signature's inputs in order, and gives its outputs in order.

    Raises:
        SetsailError: `convert.unsupported` for an operator, or a use of one, that cannot be rebuilt.
    """

    def __init__(self, model: Any, signature: Signature) -> None:
        super().__init__()
        graph = model.graph
        self.names = [spec.name for spec in signature.inputs]
        self.results = [spec.name for spec in signature.outputs]
        self.constants: dict[str, str] = {}
        self.known: dict[str, Known] = {}
        for tensor in graph.initializer:
            self._keep(tensor.name, _torch(numpy_helper.to_array(tensor)))
        self.nodes = [node for node in graph.node if not self._is_constant(node)]
        for node in self.nodes:
            name = node.op_type if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"
            if name not in OPERATORS:
                raise _refused(f"operator {name} has no counterpart that is known", name)
        self.attributes = [_attributes(node) for node in self.nodes]

    def _is_constant(self, node: Any) -> bool:
        if node.op_type != "Constant" or node.domain not in _DOMAINS:
            return False
        (value,) = _attributes(node).values()
        self._keep(node.output[0], value if isinstance(value, torch.Tensor) else torch.tensor(value))
        return True

    def _keep(self, name: str, value: Any) -> None:
        if value.dtype in (torch.int32, torch.int64) and value.ndim < 2 and value.numel() <= _FEW:
            self.known[name] = Known(value)
            return
        self.constants[name] = f"constant_{len(self.constants)}"
        self.register_buffer(self.constants[name], value)

    def forward(self, *inputs: Any) -> Any:
        values: dict[str, Any] = dict(zip(self.names, inputs, strict=True))
        values |= self.known | {name: getattr(self, own) for name, own in self.constants.items()}
        for node, attributes in zip(self.nodes, self.attributes, strict=True):
            name = node.op_type if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"
            try:
                found = call(name, [values[i] if i else None for i in node.input], attributes)
            except Unknown as fault:
                raise _refused(f"{fault} has no counterpart that is known", name) from fault
            results = found if type(found) is tuple else (found,)
            values.update(zip(node.output, results, strict=False))
        return tuple(as_tensor(values[name]) for name in self.results)


def save(path: Path, signature: Signature, to: str, target: Path, max_batch: int | None) -> Call:
    """Rebuild a program, save it, load it again.

    Args:
        path: of the ONNX file, with its weights beside it.
        to: "pt2" or "torchscript".
        max_batch: 1 for a program whose batch is fixed.

    Returns:
        What runs the saved program: arrays by name to arrays by name.
    """
    texts = [spec.name for spec in (*signature.inputs, *signature.outputs) if spec.dtype.kind == "string"]
    if texts:
        raise _refused("text has no tensors in PyTorch", texts[0])
    model = onnx.load(path)
    oldest = [o.version for o in model.opset_import if o.domain in _DOMAINS and o.version < _OLDEST]
    if oldest:
        raise _refused(f"the graph is of opset {oldest[0]}, and {_OLDEST} is the oldest that is rebuilt", "opset")
    module = Rebuilt(model, signature).eval()
    rows = 1 if max_batch == 1 else _USUAL
    sizes: dict[str, int] = {}
    shapes = [[_size(dim, rows, sizes) for dim in spec.shape] for spec in signature.inputs]
    inputs = tuple(
        torch.zeros(shape, dtype=_torch(np.zeros(0, spec.dtype.numpy)).dtype)
        for shape, spec in zip(shapes, signature.inputs, strict=True)
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: what is saved is compared
        return _FORMS[to](module, inputs, signature, target, max_batch)


def _size(dim: int | str, rows: int, sizes: dict[str, int]) -> int:
    """A free dimension's size while it is traced; no two are the same, so that they stay free of each other."""
    if isinstance(dim, int):
        return dim
    return rows if dim == BATCH else sizes.setdefault(dim, 8 + len(sizes))


def _pt2(module: Any, inputs: Any, signature: Signature, target: Path, max_batch: int | None) -> Call:
    fixed = {BATCH} if max_batch == 1 else set()
    free = {d for spec in signature.inputs for d in spec.shape if isinstance(d, str) and d not in fixed}
    dims = {name: torch.export.Dim(f"size_{i}", min=1) for i, name in enumerate(sorted(free))}
    shapes = tuple({axis: dims[d] for axis, d in enumerate(spec.shape) if d in dims} for spec in signature.inputs)
    program = torch.export.export(module, inputs, dynamic_shapes=(shapes,), strict=False)
    torch.export.save(program, target)
    return _calling(torch.export.load(target).module(), signature)


def _torchscript(module: Any, inputs: Any, signature: Signature, target: Path, max_batch: int | None) -> Call:
    torch.jit.save(torch.jit.trace(module, inputs, check_trace=False), target)
    return _calling(torch.jit.load(target), signature)


_FORMS: Final[Mapping[str, Callable[..., Call]]] = {"pt2": _pt2, "torchscript": _torchscript}


def _calling(saved: Any, signature: Signature) -> Call:
    def answer(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.no_grad():
            found = saved(*(torch.from_numpy(np.ascontiguousarray(inputs[spec.name])) for spec in signature.inputs))
        return {spec.name: array.numpy() for spec, array in zip(signature.outputs, found, strict=True)}

    return answer


def _attributes(node: Any) -> dict[str, Any]:
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if any(isinstance(value, onnx.GraphProto) for value in found.values()):
        raise _refused(f"operator {node.op_type} has a graph of its own", node.op_type)
    plain = {name: _torch(numpy_helper.to_array(v)) if isinstance(v, onnx.TensorProto) else v
             for name, v in found.items()}  # fmt: skip
    told = {name: v.decode() if isinstance(v, bytes) else list(v) if isinstance(v, list | tuple) else v
            for name, v in plain.items()}  # fmt: skip
    return told if node.op_type == "Constant" else told | {"outputs": len(node.output)}


def _torch(array: Array) -> Any:
    if array.dtype.kind in "OUST":
        raise _refused("text has no tensors in PyTorch", "text")
    return torch.from_numpy(np.array(array))  # a copy that may be written to, which torch asks for


def _refused(what: str, field: str) -> SetsailError:
    return SetsailError("convert.unsupported", f"the program cannot be rebuilt in PyTorch: {what}", field=field,
                        expected="a graph of operators that are rebuilt", todo="export --to onnx")  # fmt: skip
