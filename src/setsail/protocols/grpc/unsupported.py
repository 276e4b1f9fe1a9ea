"""The operations of Triton's service that setsail does not have, refused by name instead of with a bare status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from setsail.protocols.grpc.method import Exchange
from setsail.protocols.open_inference.refusals import refuse_operation

__all__ = ["REFUSED", "refuse"]

REFUSED: Final[Mapping[str, str]] = {  # method -> kind of operation
    **{f"SystemSharedMemory{verb}": "system shared memory" for verb in ("Status", "Register", "Unregister")},
    **{f"CudaSharedMemory{verb}": "cuda shared memory" for verb in ("Status", "Register", "Unregister")},
    "TraceSetting": "trace settings",
    "LogSettings": "log settings",
}


def refuse(method: str) -> Callable[[bytes | memoryview], Exchange]:
    """A decoder that refuses: `request.unsupported`."""

    def decode(data: bytes | memoryview) -> Exchange:
        raise refuse_operation(REFUSED[method], method)

    return decode
