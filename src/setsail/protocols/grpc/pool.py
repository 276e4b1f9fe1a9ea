"""The message classes of our gRPC contracts, in a descriptor pool of their own.

A process has one default pool, and two definitions of `inference.ModelInferRequest` in it are an error. Ours are kept
apart, so that a program may use a server of ours and any client's generated code together. Importing this module loads
protobuf (about 15 ms), so only what speaks gRPC imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from setsail.errors import SetsailError

__all__ = ["FILES", "SERVICES", "containing", "message", "parse"]

_COMPILED: Final = Path(__file__).with_name("proto") / "contracts.binpb"


def _load() -> tuple[Any, Mapping[str, Any]]:
    """The pool, and every file in it by name, in an order in which each comes after what it imports."""
    pool = descriptor_pool.DescriptorPool()
    files = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(_COMPILED.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
        files[file.name] = file
    return pool, files


_POOL, FILES = _load()
SERVICES: Final = tuple(f"{file.package}.{service.name}" for file in FILES.values() for service in file.service)


@cache
def message(name: str) -> Any:
    """The class of a message by its full name."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def parse(kind: Any, data: bytes | memoryview) -> Any:
    """A message of a class that `message` gave. Raises `request.malformed`."""
    try:
        return kind.FromString(bytes(data))
    except DecodeError as fault:
        raise SetsailError(
            "request.malformed",
            f"the message is not a {kind.DESCRIPTOR.full_name}",
            expected=f"a serialized {kind.DESCRIPTOR.full_name}",
            todo="use stubs generated from the protocol's .proto files",
        ) from fault


def containing(symbol: str) -> Any:
    """The file that defines a message, enum, field, service or method. Raises KeyError."""
    for name in (symbol, symbol.rpartition(".")[0]):  # the pool knows services, but not their methods
        try:
            found = _POOL.FindFileContainingSymbol(name)
        except KeyError:
            continue
        if name == symbol or symbol in _methods(FILES[found.name]):
            return FILES[found.name]
    raise KeyError(symbol)


def _methods(file: Any) -> set[str]:
    return {f"{file.package}.{s.name}.{m.name}" for s in file.service for m in s.method}
