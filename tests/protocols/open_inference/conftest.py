"""Ask one port's paths with the models of the fake house."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fakehouse import FakeHouse, gallery

from setsail.errors import SetsailError
from setsail.protocols.flavours import FLAVOURS
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import DATA, Table

Ask = Callable[..., HttpReply]


@pytest.fixture
def house() -> FakeHouse:
    return gallery()


@pytest.fixture
def ask(house: FakeHouse) -> Ask:
    """`ask("GET", "/v2")`, as a server does: a fault is a reply. `flavour` is who is imitated."""

    def asked(
        method: str, path: str, body: Any = b"", flavour: str = "", control: bool = False, **headers: str
    ) -> HttpReply:
        table: Table = FLAVOURS[flavour].data.table() if flavour else DATA
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        try:
            exchange = table.route(HttpRequest(method, path, headers=named, body=raw))
            return exchange.encode(house.answer(exchange.ask, control=control))
        except SetsailError as fault:
            return table.wire_of(path).render_error(fault)

    return asked
