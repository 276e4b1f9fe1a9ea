"""Requests that another server recorded for a model, run once it is loaded and before it answers anybody.

Ours are warmed up by their stored samples already (`loading.py`). These are run because a person put them there: they
prove that the requests clients will send are ones the model takes. What a fault of one means is what it means to the
server they were recorded for: TensorFlow Serving does not serve such a model, Triton says so and goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request
from setsail.serving.leases import Loaded
from setsail.serving.predict import predict
from setsail.serving.table import Entry, Table, Versions

__all__ = ["RECORDS", "Rehearsal", "recorded", "run"]

_LOG = logging.getLogger("setsail.serving")
Rehearsal = Callable[[str, Loaded], None]  # the model's name, for faults and logs, and its version as it is loaded
RECORDS: Final = "assets.extra/tf_serving_warmup_requests"  # TensorFlow Serving's, below a version's folder
_READER: Final = "setsail.protocols.grpc.tf_serving.warmup"  # it loads protobuf


def recorded(place: Path) -> Rehearsal | None:
    """What TensorFlow Serving would replay for the version in a folder; None where nothing is recorded."""
    path = place / RECORDS
    if not path.is_file():
        return None

    def rehearse(name: str, loaded: Loaded) -> None:
        read: Callable[[Path], list[Request]] = import_module(_READER).read
        run(name, loaded, read(path), what=RECORDS)

    return rehearse


def run(name: str, loaded: Loaded, requests: Iterable[Request], *, what: str, lenient: bool = False) -> None:
    """Answer requests by a version that nobody else can reach yet.

    Args:
        what: what they are, for people.
        lenient: a fault is a warning.

    Raises:
        SetsailError: `model.failed` for the first request that the model does not take.
    """
    table = Table({name: Versions().with_entry(Entry(name, 1, "ready", loaded=loaded))})
    count = 0
    for number, request in enumerate(requests, 1):
        try:
            predict(lambda: table, replace(request, model=ModelRef(name)))
            count += 1
        except SetsailError as fault:
            told = f"request {number} of {what} is not answered: {fault.what}"
            if not lenient:
                raise SetsailError(
                    "model.failed", told, field=fault.field, value=fault.value, expected=fault.expected,
                    todo="record the requests again for this model, or take the file away",
                ) from fault  # fmt: skip
            _LOG.warning("%s: %s", name, told)
    _LOG.info("%s: %d requests of %s answered", name, count, what)
