"""What servers of the protocol have and setsail has not, refused by name: `request.unsupported`, on both wires.

What changes the meaning of an answer is never ignored. What only asks for something that nobody here would notice
(`unload_dependents`) is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.signature import DEFAULT

__all__ = [
    "LAST_RESPONSE", "OPERATIONS", "load_parameters", "no_repository", "refuse_operation", "refuse_parameters",
    "signature_of",
]  # fmt: skip

LAST_RESPONSE: Final = "triton_enable_empty_final_response"  # every answer here is a request's only and last one
_RESERVED: Final = "triton_"
_MEMORY_ITEMS: Final = frozenset(("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"))
_SEQUENCES: Final = ("sequence_id", "sequence_start", "sequence_end")
_USUAL: Final = frozenset(("binary_data_output", "priority", "timeout"))  # what most requests with parameters have
_MEMORY: Final = "send tensors in the request: on one machine, as bytes over a loopback address"
OPERATIONS: Final[Mapping[str, tuple[str, str]]] = {
    "system shared memory": ("there is no system shared memory here", _MEMORY),
    "cuda shared memory": ("there is no CUDA shared memory here", _MEMORY),
    "trace settings": (
        "tracing is not changed while the server runs", "start the server with --trace-endpoint and --trace-sample",
    ),
    "log settings": (
        "logging is not changed while the server runs", "set the level of the `setsail` logger where the server starts",
    ),
    "generate": ("no model here generates text", "send the text as a BYTES tensor to …/infer"),
    "infer_stream": ("a prediction has one answer, not a stream of them", "use …/infer, or ModelStreamInfer over gRPC"),
}  # fmt: skip


def refuse_operation(kind: str, asked: str) -> SetsailError:
    """The refusal of a whole operation. Args: asked: what the client calls it, a path or a method's name."""
    what, todo = OPERATIONS[kind]
    return SetsailError("request.unsupported", f"{asked}: {what}", field=kind, todo=todo)


def refuse_parameters(
    items: Iterable[tuple[str, Mapping[str, Any]]], parameters: Mapping[str, Any], *, allowed: str = ""
) -> None:
    """Extensions of the protocol that change what an answer means are refused, not ignored.

    Args:
        items: name and parameters of every input and of every output asked for.
        parameters: the request's own; a sequence of 0, "" or False is none.
        allowed: the one reserved name that this wire takes.

    Raises:
        SetsailError: `request.unsupported` or, for a name that is reserved, `request.form`.
    """
    for name, own in items:
        if not _MEMORY_ITEMS.isdisjoint(own):
            key = min(_MEMORY_ITEMS & own.keys())
            raise SetsailError(
                "request.unsupported", f"{name!r} is in shared memory ({key})", field=f"parameters.{key}", todo=_MEMORY
            )
    for key, value in parameters.items():
        if key in _USUAL:
            continue
        if key in _SEQUENCES and value:
            raise SetsailError(
                "request.unsupported", "the request is part of a sequence", field=f"parameters.{key}",
                value=value, expected="no sequence: every request is answered by itself",
            )  # fmt: skip
        if key.startswith(_RESERVED) and key != allowed:
            raise SetsailError(
                "request.form", f"parameter {key!r} is reserved", field=f"parameters.{key}",
                expected=f"no parameter that begins with {_RESERVED}" + (f", but {allowed}" if allowed else ""),
            )  # fmt: skip


def signature_of(parameters: Mapping[str, Any]) -> str:
    """The signature that a request's parameters name, which the protocol itself has no word for.

    Raises:
        SetsailError: `request.form` where it is no text.
    """
    named = parameters.get("signature", DEFAULT)
    if not isinstance(named, str):
        raise SetsailError("request.form", "parameter 'signature' is no text", field="parameters.signature",
                           value=named, expected="the name of a signature")  # fmt: skip
    return named


def load_parameters(parameters: Iterable[str]) -> None:
    """A load request brings nothing along. Raises `request.unsupported`, or `request.form` for what nobody defines."""
    for name in sorted(parameters):
        own = name == "config" or name.startswith("file:")
        raise SetsailError(
            "request.unsupported" if own else "request.form",
            f"a load request brings its own {'configuration' if name == 'config' else 'file' if own else 'parameter'}",
            field=f"parameters.{name}",
            expected="no parameters: models come from the server's own paths",
        )


def no_repository(name: str) -> SetsailError:
    """The refusal of a request that names a repository."""
    return SetsailError("request.unsupported", "repositories have no names here", value=name)
