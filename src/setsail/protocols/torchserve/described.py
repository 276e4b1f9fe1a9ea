"""A version as TorchServe describes one, key by key in its order.

What has no meaning here is told as the original tells it of a model that does not use it. `workers` are the processes
that really have the version; `minWorkers` and `maxWorkers` are what a client asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from setsail.catalog import ModelDescription, Process
from setsail.protocols.torchserve.wire import version_text

__all__ = ["described"]

_FIRST_ID: Final = 9000  # the original numbers its workers by the ports that it speaks to them on
_UNUSED: Final = {
    "maxRetryTimeoutInSec": 300, "clientTimeoutInMills": 0, "parallelType": "", "parallelLevel": 0, "deviceType": "cpu",
    "continuousBatching": False, "useJobTicket": False, "useVenv": False, "stateful": False, "sequenceMaxIdleMSec": 0,
    "sequenceTimeoutMSec": 0, "maxNumSequence": 0, "maxSequenceJobQueueSize": 0,
}  # fmt: skip


def described(told: ModelDescription, *, customized: bool = False) -> dict[str, Any]:
    """The object of `GET /models/{model}`. `customized`: with what there is beyond the original's keys."""
    terms = told.terms
    body: dict[str, Any] = {
        "modelName": told.name,
        "modelVersion": version_text(told.version),
        "modelUrl": told.source,
        "engine": told.framework or None,
        "runtime": "python",
        "minWorkers": terms.min_workers,
        "maxWorkers": terms.max_workers,
        "batchSize": terms.batch_size,
        "maxBatchDelay": terms.max_delay_ms,
        "responseTimeout": terms.response_timeout,
        "startupTimeout": terms.startup_timeout,
        **_UNUSED,
        "status": _status(told),
        "loadedAtStartup": told.at_start,
        "workers": [_worker(number, process) for number, process in enumerate(told.processes)],
        "jobQueueStatus": {"remainingCapacity": max(0, told.room - told.pending), "pendingRequests": told.pending},
    }
    if customized:
        body["customizedMetadata"] = {"framework": told.framework, "labels": list(told.labels)}
    return {key: value for key, value in body.items() if value is not None}


def _status(told: ModelDescription) -> str | None:
    """Of a version that is on its way or failed; the original says nothing of others."""
    if told.state in ("ready", "parked", "gone"):
        return None
    return f"{told.state}: {told.reason}" if told.reason else told.state


def _worker(number: int, process: Process) -> dict[str, Any]:
    began = datetime.fromtimestamp(process.started, UTC).isoformat(timespec="milliseconds")
    return {
        "id": str(_FIRST_ID + number), "startTime": began.replace("+00:00", "Z"), "status": "READY",
        "memoryUsage": process.memory, "pid": process.pid, "gpu": False, "gpuUsage": "N/A",
    }  # fmt: skip
