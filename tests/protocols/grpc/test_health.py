"""grpc.health.v1 over the readiness of the models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakehouse import FakeHouse, gallery

from setsail.errors import SetsailError
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import SERVICES, message

Call = Callable[..., Any]
HEALTH = "/grpc.health.v1.Health/"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


@pytest.fixture
def house() -> FakeHouse:
    return gallery()


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_a_service_serves_when_every_model_is_ready(call: Call, house: FakeHouse, service: str) -> None:
    assert call(HEALTH + "Check", service=service).status == NOT_SERVING
    house.models["sleepy"].state = "ready"
    assert call(HEALTH + "Check", service=service).status == SERVING


def test_a_service_nobody_has(call: Call) -> None:
    with pytest.raises(SetsailError) as caught:
        call(HEALTH + "Check", service="nobody.Service")
    assert caught.value.code == "request.path"
    assert caught.value.family.grpc == 5  # NOT_FOUND, as the protocol says
    assert call(HEALTH + "Watch", service="nobody.Service").status == SERVICE_UNKNOWN


def test_what_is_watched_changes(house: FakeHouse) -> None:
    """An engine asks the same exchange again and compares the bytes."""
    request = message("grpc.health.v1.HealthCheckRequest")().SerializeToString()
    exchange = METHODS[HEALTH + "Watch"].decode(request)

    def told() -> bytes:
        return exchange.encode(house.answer(exchange.ask))

    before = told()
    assert told() == before
    house.models["sleepy"].state = "ready"
    assert told() != before


def test_all_services_at_once(call: Call) -> None:
    statuses = call(HEALTH + "List").statuses
    assert set(statuses) == {"", *SERVICES}
    assert {s.status for s in statuses.values()} == {NOT_SERVING}
