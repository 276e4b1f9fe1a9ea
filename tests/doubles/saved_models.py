"""SavedModels written by hand, field by field: what `tf.saved_model.save` would never write, and what it would."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["field", "function", "graph", "node", "saved_model"]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes | str) -> bytes:
    """A length-delimited field."""
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(*ops: str, name: str = "n") -> bytes:
    """A NodeDef; several `ops` say several times which operator it is."""
    return field(1, name) + b"".join(field(2, op) for op in ops)


def function(name: str, *nodes: bytes, arguments: int = 0) -> bytes:
    """A FunctionDef."""
    signature = field(1, name) + arguments * field(2, field(1, "file_prefix"))
    return field(1, signature) + b"".join(field(3, n) for n in nodes)


def graph(*nodes: bytes, functions: Iterable[bytes] = ()) -> bytes:
    """A MetaGraphDef's field with a GraphDef."""
    library = b"".join(field(1, f) for f in functions)
    return field(2, b"".join(field(1, n) for n in nodes) + field(2, library))


def saved_model(*graphs: bytes) -> bytes:
    """A SavedModel with a meta graph for each."""
    return b"\x08\x01" + b"".join(field(2, g) for g in graphs)
