"""The table of methods against the contracts."""

from __future__ import annotations

import pytest

from setsail.errors import FAMILIES, KINDS, SetsailError
from setsail.protocols.grpc.methods import METHODS, fault_metadata, status_of
from setsail.protocols.grpc.pool import FILES


def test_every_method_of_every_contract_has_a_row_of_its_kind() -> None:
    kinds = {(False, False): "unary", (True, True): "each", (False, True): "watch"}
    assert {path: row.kind for path, row in METHODS.items()} == {
        f"/{file.package}.{service.name}/{method.name}": kinds[method.client_streaming, method.server_streaming]
        for file in FILES.values()
        for service in file.service
        for method in service.method
    } | {"/org.pytorch.serve.grpc.inference.InferenceAPIsService/StreamPredictions": "each"}  # a stream of one answer
    assert all(path == row.path for path, row in METHODS.items())


def test_without_a_key_only_health_is_told() -> None:
    open_to_all = {path.rpartition("/")[2] for path, row in METHODS.items() if row.keyless}
    assert open_to_all == {"ServerLive", "ServerReady", "Check", "List", "Watch"}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("input.dtype", 3), ("request.malformed", 3), ("model.unknown", 5), ("model.version", 5),
        ("control.refused", 7), ("model.busy", 8), ("request.too_large", 8), ("request.unsupported", 12),
        ("model.run", 13), ("model.not_ready", 14), ("server.draining", 14), ("request.key", 16),
        ("request.deadline", 4), ("request.cancelled", 1),
    ],
)  # fmt: skip
def test_the_status_of_a_fault(code: str, status: int) -> None:
    fault = SetsailError(code, "something", field="x", value=3)
    assert status_of(fault) == (status, str(fault))


def test_every_family_has_a_canonical_status() -> None:
    assert {FAMILIES[kind.family].grpc for kind in KINDS.values()} <= set(range(1, 17))


def test_what_trailing_metadata_says_of_a_fault() -> None:
    fault = SetsailError("model.busy", "the queue is full", retry_after=2)
    assert fault_metadata(fault) == (("x-setsail-error", "model.busy"), ("retry-after", "2"))
    assert ("x-setsail-error-id", "abc") in fault_metadata(SetsailError("model.run", "it failed", id="abc"))
