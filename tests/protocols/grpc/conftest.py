"""Ask one method of the table with the models of the fake house, as an engine would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fakehouse import FakeHouse, gallery

from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import FILES, message

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def house() -> FakeHouse:
    return gallery()


@pytest.fixture
def call(house: FakeHouse) -> Call:
    """`call("/inference.GRPCInferenceService/ModelReady", name="iris")`: the fields of a message in, a message out."""

    def ask(path: str, *, control: bool = False, **fields: Any) -> Any:
        kinds = types(path)
        exchange = METHODS[path].decode(kinds[0](**fields).SerializeToString())
        return kinds[1].FromString(exchange.encode(house.answer(exchange.ask, control=control)))

    return ask


def types(path: str) -> tuple[Any, Any]:
    """The message classes of a method."""
    full, _, name = path[1:].partition("/")
    package, _, service = full.rpartition(".")
    method = next(
        m for f in FILES.values() if f.package == package
        for s in f.service if s.name == service for m in s.method if m.name == name
    )  # fmt: skip
    return message(method.input_type[1:]), message(method.output_type[1:])
