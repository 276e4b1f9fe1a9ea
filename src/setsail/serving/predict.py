"""The one path of a prediction: lease a version, bind, run, narrow to what was asked for.

Every wire and the in-process `Model` end here. It is the only place where a model is run for a client, and
`binding.bind` the only place where a request is checked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

import numpy as np

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Response
from setsail.runtime import Runner
from setsail.serving.leases import Loaded
from setsail.serving.observers import Finished, Observer, tell
from setsail.serving.table import Table
from setsail.signature import Signature
from setsail.tensors import Array

__all__ = ["lease", "predict"]

_LOG = logging.getLogger("setsail.serving")


def predict(tables: Callable[[], Table], request: Request, observers: Sequence[Observer] = ()) -> Response:
    """Answer one request.

    Args:
        tables: gives the table of this moment; asked again if the version found there was retired meanwhile.

    Raises:
        SetsailError: `model.*`, `input.*` or `output.unknown`. The observers are told of it first.
    """
    started, event = perf_counter(), Finished(request)
    try:
        return _answer(tables, request, event)
    except BaseException as fault:
        event.error = fault
        if isinstance(fault, SetsailError) and fault.code == "model.run":
            _LOG.error("%s: request %r: %s", request.model, request.id, fault.to_json())
        raise
    finally:
        event.seconds = perf_counter() - started
        if observers:
            tell(observers, event)


def lease(tables: Callable[[], Table], ref: ModelRef) -> tuple[int, Loaded]:
    """The version a client means, with a lease on it that the caller releases."""
    while True:
        entry = tables().find(ref)
        # No lease: the version was retired since the table was read, so the next table does not have it ready.
        if entry.loaded is not None and entry.loaded.acquire():
            return entry.version, entry.loaded


def _answer(tables: Callable[[], Table], request: Request, event: Finished) -> Response:
    event.version, loaded = lease(tables, request.model)
    try:
        runner, signature = loaded.runner, loaded.runner.signature
        wanted = _wanted(signature, request)
        event.inputs = bind(signature, request.body)
        event.rows = len(next(iter(event.inputs.values()))) if signature.batched else 1
        event.outputs = _run(runner, event.inputs, event.rows)
    finally:
        loaded.release()
    outputs = {spec.name: event.outputs[spec.name] for spec in signature.outputs if spec.name in wanted}
    defaults = tuple(name for name in signature.defaults if name in outputs) or tuple(outputs)
    return Response(request.model.name, event.version, outputs, defaults, signature, request.id)


def _wanted(signature: Signature, request: Request) -> frozenset[str]:
    """Names of the outputs asked for: all, those listed, or the one that the request's signature name stands for."""
    names = frozenset(spec.name for spec in signature.outputs)
    if request.signature != "serving_default":
        if request.signature not in names:
            raise SetsailError(
                "model.signature", f"model {request.model.name!r} has no signature {request.signature!r}",
                field="signature", value=request.signature, expected=", ".join(["serving_default", *sorted(names)]),
            )  # fmt: skip
        names = frozenset((request.signature,))
    if not request.outputs:
        return names
    return frozenset(signature.output(name).name for name in request.outputs)


def _run(runner: Runner, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Run, in pieces where the program takes fewer rows at once than came."""
    limit = runner.max_batch
    if limit is None or rows <= limit or not runner.signature.batched:
        return runner.run(inputs)
    parts = [runner.run({n: a[i : i + limit] for n, a in inputs.items()}) for i in range(0, rows, limit)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
