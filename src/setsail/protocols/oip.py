"""What Open Inference Protocol says whatever carries it: REST and gRPC read their tensors and refuse things here.

So one fault has one text on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.tensors import BY_OIP, DType

__all__ = [
    "SERVER_NAME",
    "datatype",
    "load_parameters",
    "no_repository",
    "refuse_extensions",
    "server_version",
    "shape",
]

SERVER_NAME: Final = "setsail"
_MAX_VALUES: Final = 1 << 40  # of one tensor's shape; bytes are limited elsewhere, this keeps products in range
_ITEM_EXTENSIONS: Final = ("shared_memory_region", "classification")
_REQUEST_EXTENSIONS: Final = ("sequence_id", "sequence_start", "sequence_end")


def datatype(name: str, declared: str) -> DType:
    """The dtype an input is declared with. Raises `input.dtype`."""
    dtype = BY_OIP.get(declared)
    if dtype is None:
        raise SetsailError(
            "input.dtype",
            f"input {name!r} is declared {declared}, which is not supported",
            field=f"{name}.datatype",
            value=declared,
            expected="one of " + ", ".join(BY_OIP),
            todo="send FP32" if declared == "BF16" else None,
        )
    return dtype


def shape(name: str, sizes: Iterable[int]) -> tuple[int, ...]:
    """The shape an input is declared with. Raises `input.shape` for one that no tensor can have."""
    declared = tuple(sizes)
    if not _possible(declared):
        raise SetsailError(
            "input.shape",
            f"input {name!r} is declared with an impossible shape",
            field=f"{name}.shape",
            value=list(declared),
            expected="at most 32 sizes, none negative",
        )
    return declared


@lru_cache(1024)
def _possible(declared: tuple[int, ...]) -> bool:
    values = 1
    for size in declared:
        values *= size or 1
        if size < 0 or values > _MAX_VALUES:
            return False
    return len(declared) <= 32


def refuse_extensions(items: Iterable[tuple[str, Mapping[str, Any]]], parameters: Mapping[str, Any]) -> None:
    """Extensions of the protocol that change what an answer means are refused, not ignored.

    Args:
        items: name and parameters of every input and of every output asked for.
        parameters: the request's own; a sequence of 0, "" or False is none.

    Raises:
        SetsailError: `request.unsupported`, naming the extension.
    """
    for name, own in items:
        for key in _ITEM_EXTENSIONS:
            if key in own:
                raise SetsailError(
                    "request.unsupported", f"{name!r} asks for the {key} extension", field=f"parameters.{key}"
                )
    for key in _REQUEST_EXTENSIONS:
        if parameters.get(key):
            raise SetsailError(
                "request.unsupported", "the request is part of a sequence", field=f"parameters.{key}",
                value=parameters[key], expected="no sequence: every request is answered by itself",
            )  # fmt: skip


def load_parameters(parameters: Iterable[str]) -> None:
    """A load request that brings anything along is refused: `request.unsupported`."""
    if names := sorted(parameters):
        raise SetsailError(
            "request.unsupported",
            "a load request brings its own configuration or files",
            field="parameters",
            value=names,
            expected="no parameters: models come from the server's own paths",
        )


def no_repository(name: str) -> SetsailError:
    """The refusal of a request that names a repository."""
    return SetsailError("request.unsupported", "repositories have no names here", value=name)


def server_version() -> str:
    # Asked for, not at import: reading package metadata costs more than the rest of this module.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("setsail")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
