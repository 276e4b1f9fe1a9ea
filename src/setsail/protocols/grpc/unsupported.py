"""The operations of Triton's service that setsail does not have, refused by name instead of with a bare status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from setsail.errors import SetsailError
from setsail.protocols.grpc.method import Exchange

__all__ = ["REFUSED", "refuse"]

_MEMORY: Final = "tensors come and go in messages; on one machine, use raw_input_contents over a loopback address"
REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    **{f"SystemSharedMemory{verb}": ("system shared memory", _MEMORY) for verb in ("Status", "Register", "Unregister")},
    **{f"CudaSharedMemory{verb}": ("CUDA shared memory", _MEMORY) for verb in ("Status", "Register", "Unregister")},
    "TraceSetting": ("changing tracing while it runs", "start the server with --trace-endpoint and --trace-sample"),
    "LogSettings": ("changing logging while it runs", "set the level of the `setsail` logger where the server starts"),
}


def refuse(method: str) -> Callable[[bytes | memoryview], Exchange]:
    """A decoder that refuses: `request.unsupported`."""
    what, todo = REFUSED[method]

    def decode(data: bytes | memoryview) -> Exchange:
        raise SetsailError("request.unsupported", f"{method}: there is no {what} here", field="method", todo=todo)

    return decode
