"""What speaks gRPC beside our own engine, which is part of the data port: imported only where it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["ENGINES", "grpc_engine"]

ENGINES: Final[Mapping[str, str]] = {"own": "", "grpcio": "setsail.server.grpcio_engine:GrpcioEngine"}


def grpc_engine(name: str) -> Any:
    """The class of an engine with a port of its own; None for ours. Raises `dependency.missing`."""
    module, _, kind = ENGINES[name].partition(":")
    if not module:
        return None
    try:
        return getattr(import_module(module), kind)
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] != "grpc":
            raise
        raise SetsailError(
            "dependency.missing", f"--grpc-engine {name} needs the package grpcio", field="--grpc-engine", value=name,
            todo='run: pip install "setsail[grpcio]"',
        ) from fault  # fmt: skip
