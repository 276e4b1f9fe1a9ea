"""Whether a skops file needs trust, read from its schema alone.

A skops file is a zip with a JSON tree of nodes and arrays; loading it builds each node with the loader it names. The
lists here are literal and short, and are ours: skops trusts what its installed scikit-learn happens to contain.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["unknown_types"]

# Loaders that only ever build data of fixed types.
_DATA: Final = frozenset((
    "CachedNode", "DictNode", "ListNode", "SetNode", "TupleNode", "BytesNode", "BytearrayNode", "SliceNode",
    "JsonNode", "NdArrayNode",
    "MaskedArrayNode", "DTypeNode", "RandomStateNode", "RandomGeneratorNode", "SparseMatrixNode",
))  # fmt: skip
# Loaders that import a class and build one of it: right only for classes of these libraries.
_CLASSES: Final = frozenset(("ObjectNode", "TreeNode", "LossNode", "TypeNode", "DefaultDictNode"))
_ROOTS: Final = frozenset(("sklearn", "numpy", "scipy"))
_PLAIN: Final = frozenset((
    "builtins.dict", "builtins.list", "builtins.set", "builtins.tuple", "builtins.str", "builtins.int",
    "builtins.float",
    "builtins.bool", "builtins.bytes", "builtins.bytearray", "builtins.slice", "builtins.NoneType", "builtins.object",
    "collections.OrderedDict", "collections.defaultdict",
))  # fmt: skip


def unknown_types(schema: Any) -> set[str]:
    """Types of a schema outside the lists, as `module.name`; a loader outside the lists makes its type one of them."""
    unknown: set[str] = set()
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            waiting.extend(node.values())
            if "__loader__" in node:
                name = f"{node.get('__module__')}.{node.get('__class__')}"
                if not _is_known(str(node["__loader__"]), str(node.get("__module__")), name):
                    unknown.add(name)
    return unknown


def _is_known(loader: str, module: str, name: str) -> bool:
    if name in _PLAIN:
        return loader in _DATA or loader in _CLASSES
    return module.partition(".")[0] in _ROOTS and (loader in _DATA or loader in _CLASSES)
