"""Triton's model configuration, as it follows from a model's signature: the fields that REST and gRPC both have."""

from __future__ import annotations

from typing import Any, Final

from setsail.catalog import ModelMetadata
from setsail.signature import DEFAULT, TensorSpec

__all__ = ["BACKEND", "NO_LIMIT", "configuration", "properties"]

BACKEND: Final = "onnxruntime"
NO_LIMIT: Final = 2**31 - 1  # of rows: `max_batch_size` is an int32, and 0 there means no batch axis


def configuration(meta: ModelMetadata) -> dict[str, Any]:
    """Triton's rule: where `max_batch_size` is not 0, `dims` leave the batch out.

    Nothing may be left of an input then, so a model that takes one value a row has a first axis like any other:
    Triton's tools cannot make a tensor without `dims`.
    """
    batched = meta.signature.batched and all(len(spec.shape) > 1 for spec in meta.signature.inputs)

    found = properties(meta)

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        return [
            {"name": s.name, "data_type": _data_type(s), "dims": s.oip_shape()[1:] if batched else s.oip_shape()}
            for s in specs
        ]

    return {
        "name": meta.name, "platform": meta.framework, "backend": BACKEND,
        "max_batch_size": (meta.max_batch or NO_LIMIT) if batched else 0,
        "input": tensors(meta.signature.inputs), "output": tensors(meta.signature.outputs),
        **({"dynamic_batching": {}} if batched else {}),
        **({"parameters": {name: {"string_value": told} for name, told in found.items()}} if found else {}),
    }  # fmt: skip


def properties(meta: ModelMetadata) -> dict[str, str]:
    """The model's signatures, where it has several: the protocol has no word for them, and this is its place for such.

    `signatures` has the names that the request's parameter `signature` may have, `signature.NAME` what one takes and
    gives that is not the default.
    """
    if not meta.others:
        return {}
    names = (DEFAULT, *meta.others)
    told = {f"signature.{name}": str(other.signature) for name, other in meta.others.items()}
    return {"signatures": ",".join(names), **told}


def _data_type(spec: TensorSpec) -> str:
    return "TYPE_STRING" if spec.dtype.kind == "string" else f"TYPE_{spec.dtype.oip}"
