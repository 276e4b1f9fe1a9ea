"""TorchScript of a statically quantised module, as a graph of FX: what `torch.jit.script` or `trace` made straight.

The older translator, the only one that reads TorchScript, writes quantised layers as floats with roundings between. As
a graph of FX they go the way of other quantised modules (`static.py`), to the bit. A program with branches or loops in
it is left to the translator.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

__all__ = ["unscripted"]

_PACKED: Final = "__torch__.torch.classes.quantized."
_SAME: Final = ("prim::NumToTensor", "aten::Int", "aten::ScalarImplicit")  # of sizes, which are numbers here
_GATHERED: Final[Mapping[str, Callable[[list[Any]], Any]]] = {
    "prim::ListConstruct": list,
    "prim::TupleConstruct": tuple,
}
_TAKEN: Final = ("prim::ListUnpack", "prim::TupleUnpack")


def unscripted(script: Any) -> torch.fx.GraphModule | None:
    """The module as a graph; None where nothing in it is quantised, or it does not run straight through."""
    if "quantized::" not in str(script.inlined_graph):
        return None
    frozen = torch.jit.freeze(script.eval())
    made = _Graph()
    inputs = list(frozen.inlined_graph.inputs())[1:]
    for given in inputs:
        made.known[given.debugName()] = made.graph.placeholder(given.debugName().partition(".")[0])
    if not all(map(made.add, frozen.inlined_graph.nodes())):
        return None
    outputs = [made.known[value.debugName()] for value in frozen.inlined_graph.outputs()]
    made.graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
    for node in reversed(list(made.graph.nodes)):  # what only the checks looked at
        if not node.users and node.op in ("call_function", "get_attr") and not str(node.target).endswith("_"):
            made.graph.erase_node(node)
    return torch.fx.GraphModule(made.root, made.graph)


class _Graph:
    """A graph in the making: what each name of TorchScript's stands for, a node or a Python value."""

    def __init__(self) -> None:
        self.root, self.graph = torch.nn.Module(), torch.fx.Graph()
        self.known: dict[str, Any] = {}

    def add(self, node: Any) -> bool:
        """Take one node over; False for one that has no place in a straight graph."""
        kind, outputs = node.kind(), [value.debugName() for value in node.outputs()]
        given = [self.known.get(value.debugName(), _MISSING) for value in node.inputs()]
        if any(value is _MISSING for value in given):
            return False
        if kind == "prim::If" and not outputs:  # a check of sizes, which only raises
            return all(inner.kind() == "prim::RaiseException" for block in node.blocks() for inner in block.nodes())
        if kind == "prim::Constant":
            self.known[outputs[0]] = self._constant(node, outputs[0])
        elif kind in _GATHERED:
            self.known[outputs[0]] = _GATHERED[kind](given)
        elif kind in _SAME:
            self.known[outputs[0]] = given[0]
        elif kind in _TAKEN:
            self._take(outputs, given[0])
        elif kind.startswith(("aten::", "quantized::")) and not kind.endswith(("_dynamic", "_dynamic_fp16")):
            self.known[outputs[0]] = self._called(node, given)
            return len(outputs) == 1
        else:
            return False
        return True

    def _constant(self, node: Any, name: str) -> Any:
        value = node.output().toIValue() if node.hasAttribute("value") else None
        if str(node.output().type()).startswith(_PACKED) or isinstance(value, torch.ScriptObject):
            return self._attribute("_packed_weight", value)
        return self._attribute("_tensor", value) if isinstance(value, torch.Tensor) else value

    def _attribute(self, begin: str, value: Any) -> Any:
        name = f"{begin}_{len(self.known)}"
        if isinstance(value, torch.Tensor):
            self.root.register_buffer(name, value)
        else:
            setattr(self.root, name, value)
        return self.graph.get_attr(name)

    def _take(self, outputs: list[str], value: Any) -> None:
        for i, name in enumerate(outputs):
            plain = isinstance(value, list | tuple)
            self.known[name] = value[i] if plain else self.graph.call_function(operator.getitem, (value, i))

    def _called(self, node: Any, given: list[Any]) -> Any:
        space, _, name = node.kind().partition("::")
        arguments = torch._C.parse_schema(node.schema()).arguments
        named = {a.name: value for a, value in zip(arguments, given, strict=True) if a.kwarg_only}
        plain = tuple(value for a, value in zip(arguments, given, strict=True) if not a.kwarg_only)
        return self.graph.call_function(getattr(getattr(torch.ops, space), name), plain, named)


_MISSING: Final = object()
