"""ONNX programs through onnxruntime.

One intra-op thread that does not spin: a request of a tabular model takes tens of microseconds, and onnxruntime's own
default (all cores, spinning) burns three to four times the CPU and takes the core from the server's loop. External
weights go in as views of the mapped artifact, never through the disk; the program itself must be `bytes`, because the
binding takes nothing else. After the session is made nothing of the file is needed: onnxruntime has copied it.

The program was let in by `artifact/gate.py`, so there are no custom operators and no paths in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, Array, DType
from setsail.variants import Variant

__all__ = ["OnnxRunner", "load"]

_ERRORS_ONLY: Final = 3
_TYPES: Final[Mapping[str, DType]] = {
    f"tensor({name})": BY_NAME[ours]
    for name, ours in (
        ("bool", "bool"), ("uint8", "uint8"), ("uint16", "uint16"), ("uint32", "uint32"), ("uint64", "uint64"),
        ("int8", "int8"), ("int16", "int16"), ("int32", "int32"), ("int64", "int64"), ("float16", "float16"),
        ("float", "float32"), ("double", "float64"), ("string", "string"),
    )
}  # fmt: skip


def load(
    variant: Variant, files: Mapping[str, bytes | memoryview], signature: Signature, *, threads: int = 1
) -> OnnxRunner:
    """Open a session and hold its inputs and outputs against the signature. Raises `model.failed`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    weights = {name: content for name, content in files.items() if name != variant.entry}
    if weights:
        options.add_external_initializers_from_files_in_memory(
            list(weights), list(weights.values()), [len(w) for w in weights.values()]
        )
    try:
        session = ort.InferenceSession(bytes(files[variant.entry]), options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # each status of onnxruntime is a class of its own, with no common base
        raise SetsailError(
            "model.failed", f"onnxruntime cannot load variant {variant.id!r}", value=first_line(fault),
            expected="a program this onnxruntime runs",
        ) from fault  # fmt: skip
    _agree(variant, signature, session)
    return OnnxRunner(variant, signature, session)


class OnnxRunner:
    """A session with the signature's names, order, dtypes and shapes."""

    def __init__(self, variant: Variant, signature: Signature, session: Any) -> None:
        self.signature = signature
        self.max_batch = variant.max_batch
        self._session: Any = session
        # A program need not use every input: one that converters dropped must not be fed.
        self._inputs = tuple(i.name for i in session.get_inputs())
        self._outputs = tuple(s.name for s in signature.outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        session = self._session  # a local reference: `close` in another thread must not pull it away
        if session is None:
            raise SetsailError("model.not_ready", "the model was unloaded")
        try:
            answers = session.run(self._outputs, {name: inputs[name] for name in self._inputs})
        except Exception as fault:  # as above
            raise run_fault(fault) from fault
        return dict(zip(self._outputs, map(np.asarray, answers), strict=True))

    def close(self) -> None:
        self._session = None


def run_fault(fault: Exception) -> SetsailError:
    """The runtime's words name shapes and nodes: they are for the log (`detail`), the client gets the id."""
    ident = os.urandom(4).hex()
    return SetsailError(
        "model.run", f"the model failed on this request (id {ident})", id=ident, detail=first_line(fault)
    )


def first_line(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]


# -- the program against the signature -----------------------------------------------------------------------------


def _agree(variant: Variant, signature: Signature, session: Any) -> None:
    have = {i.name: i for i in session.get_inputs()}
    for name in have:
        if name not in {s.name for s in signature.inputs}:
            raise _disagrees(variant, f"the program takes an input {name!r}", None, "no such input")
    for spec in signature.inputs:
        if spec.name in have:
            _fits(variant, spec, have[spec.name])
    made = {o.name: o for o in session.get_outputs()}
    for spec in signature.outputs:
        if spec.name not in made:
            raise _disagrees(variant, f"the program has no output {spec.name!r}", list(made), str(spec))
        _fits(variant, spec, made[spec.name])


def _fits(variant: Variant, spec: TensorSpec, node: Any) -> None:
    shape = list(node.shape)  # sizes, symbols or None; [] also where the program does not say
    same = not shape or (
        len(shape) == len(spec.shape)
        and all(_may_be(*pair, axis, variant) for axis, pair in enumerate(zip(spec.shape, shape, strict=True)))
    )
    if _TYPES.get(node.type) != spec.dtype or not same:
        raise _disagrees(variant, f"{spec.name!r} is not as the signature says", f"{node.type}{shape}", str(spec))


def _may_be(ours: int | str, theirs: int | str | None, axis: int, variant: Variant) -> bool:
    """Whether one dimension fits: a free one of the program holds any size, a fixed one only a batch we split to."""
    if not isinstance(theirs, int):
        return True
    return ours == theirs or (axis == 0 and isinstance(ours, str) and variant.max_batch == theirs)


def _disagrees(variant: Variant, what: str, value: object, expected: str) -> SetsailError:
    return SetsailError("model.failed", f"variant {variant.id!r}: {what}", value=value, expected=expected)
