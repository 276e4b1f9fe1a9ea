"""Triton's model repository extension: the index, loading and unloading (which need `--model-control explicit`)."""

from __future__ import annotations

from setsail.catalog import STATES, Index, Load, Unload, VersionStatus
from setsail.protocols.grpc.method import Exchange
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.open_inference.refusals import load_parameters, no_repository

__all__ = ["index", "load", "unload"]


def index(data: bytes | memoryview) -> Exchange:
    asked = parse(message("inference.RepositoryIndexRequest"), data)
    if asked.repository_name:
        raise no_repository(asked.repository_name)
    return Exchange(Index(asked.ready), _index)


def _index(answer: tuple[VersionStatus, ...]) -> bytes:
    told: bytes = message("inference.RepositoryIndexResponse")(models=[
        {"name": s.name, "version": str(s.version), "state": STATES[s.state].oip, "reason": s.reason} for s in answer
    ]).SerializeToString()  # fmt: skip
    return told


def load(data: bytes | memoryview) -> Exchange:
    asked = parse(message("inference.RepositoryModelLoadRequest"), data)
    if asked.repository_name:
        raise no_repository(asked.repository_name)
    load_parameters(asked.parameters)
    return Exchange(Load(asked.model_name), lambda _: b"")


def unload(data: bytes | memoryview) -> Exchange:
    """`unload_dependents` is taken either way: no model here depends on another."""
    asked = parse(message("inference.RepositoryModelUnloadRequest"), data)
    if asked.repository_name:
        raise no_repository(asked.repository_name)
    return Exchange(Unload(asked.model_name), lambda _: b"")
