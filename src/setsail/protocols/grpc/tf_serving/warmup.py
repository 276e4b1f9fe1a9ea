"""`tf_serving_warmup_requests`: PredictionLogs in a TFRecord file, as the requests that were logged.

The original replays them when it loads a model, and does not serve one that fails on them. It takes at most a thousand
records, and no other kinds than these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.messages import Request
from setsail.protocols.grpc.pool import message, parse
from setsail.protocols.grpc.tf_serving import examples, predict
from setsail.protocols.tf_serving.records import records

__all__ = ["MOST", "read"]

MOST: Final = 1000
_LARGEST: Final = 256 << 20


def read(path: Path) -> list[Request]:
    """The requests of a file, in order. The models that they name are whatever they were logged from.

    Raises:
        SetsailError: `repository.config` for a file that is damaged, too large, or has a record of another kind; what
            reading a request of a client raises.
    """
    if path.stat().st_size > _LARGEST:
        raise _refused(path, "is too large", path.stat().st_size, f"at most {_LARGEST} bytes")
    found = list(islice(records(path.read_bytes(), path.name), MOST + 1))
    if len(found) > MOST:
        raise _refused(path, "has too many records", len(found), f"at most {MOST}")
    kind = message("tensorflow.serving.PredictionLog")
    return [_request(path, number, parse(kind, record)) for number, record in enumerate(found, 1)]


def _request(path: Path, number: int, log: Any) -> Request:
    kind = log.WhichOneof("log_type")
    read_one = _KINDS.get(kind)
    if read_one is None:
        raise _refused(path, f"has a record, number {number}, that is replayed by nobody", kind, " or ".join(_KINDS))
    asked = getattr(log, kind).request
    if (spec := getattr(asked, "model_spec", None)) is not None and not spec.name:
        spec.name = "any"  # who recorded it by hand may have left it out
    return read_one(asked.SerializeToString())


def _asked(decode: Callable[[bytes], Any]) -> Callable[[bytes], Request]:
    def read_one(data: bytes) -> Request:
        found: Request = decode(data).ask
        return found

    return read_one


_KINDS: Final[Mapping[str, Callable[[bytes], Request]]] = {
    "predict_log": predict.request,
    "classify_log": _asked(examples.classify),
    "regress_log": _asked(examples.regress),
    "multi_inference_log": _asked(examples.multi_inference),
}


def _refused(path: Path, what: str, value: object, expected: str) -> SetsailError:
    return SetsailError("repository.config", f"{path.name} {what}", field=path.name, value=value, expected=expected)
