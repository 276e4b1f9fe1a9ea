"""A model's signatures in a document: those that differ, and what names them in a body."""

from __future__ import annotations

from typing import Any

from setsail.catalog import ModelMetadata
from setsail.protocols.curl import NAMED
from setsail.protocols.openapi.tensors import Schema
from setsail.signature import DEFAULT, Signature

__all__ = ["Signed", "named", "signed", "stated"]


class Signed(ModelMetadata, frozen=True):
    """A model's metadata for those of its signatures that take and give the same, and the names that mean them.

    `stated`: a request must say one of the names.
    """

    names: tuple[str, ...] = ()
    stated: bool = False


def signed(meta: ModelMetadata) -> list[Signed]:
    """The signatures of a model that differ, the default one first."""
    groups: dict[Signature, list[str]] = {meta.signature: [DEFAULT]}
    for name, other in meta.others.items():
        groups.setdefault(other.signature, []).append(name)
    groups[meta.signature] += [s.name for s in meta.signature.outputs if s.name not in meta.others]
    return [
        Signed(meta.name, meta.version, meta.versions, signature, meta.framework, meta.max_batch,
               (meta if number == 0 else meta.others[names[0]]).example, meta.others, tuple(names), number > 0)
        for number, (signature, names) in enumerate(groups.items())
    ]  # fmt: skip


def named(meta: ModelMetadata, key: str) -> tuple[Schema, tuple[str, ...]]:
    """What may stand where a request names a signature, and (the key) whether it may be left out."""
    meant = meta if isinstance(meta, Signed) else signed(meta)[0]
    return {"enum": list(meant.names)}, () if meant.stated else (key,)


def stated(meta: ModelMetadata, wire: str) -> dict[str, Any]:
    """The part of a body that names a signature which has to be named."""
    return NAMED[wire](meta.names[0]) if isinstance(meta, Signed) and meta.stated else {}
