"""What a header block means where it is refused before its message."""

from __future__ import annotations

import pytest

from setsail.protocols.grpc.method import status_of
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.plans import Plan, plan_of
from setsail.protocols.http2.fields import Head
from setsail.protocols.http2.streams import Limits

PREDICT = "/tensorflow.serving.PredictionService/Predict"


def plan(path: str, **headers: str) -> Plan:
    told = {"content-type": "application/grpc", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return plan_of(Head((), "POST", "http", path, "h", told), Limits(), METHODS)


@pytest.mark.parametrize("headers", [{"grpc_encoding": "brotli"}, {"grpc_timeout": "soon"}])
def test_a_refused_call_is_its_wires(headers: dict[str, str]) -> None:
    found = plan(PREDICT, **headers)
    assert found.fault is not None
    assert found.method is not None
    assert (found.method.wire, found.method.status) == ("tf-serving-grpc", METHODS[PREDICT].status)
    assert not found.simple


def test_a_method_nobody_has_is_nobodys() -> None:
    found = plan("/nowhere.Service/Method")
    assert found.fault is not None
    assert found.fault.code == "request.unsupported"
    assert found.method is not None
    assert found.method.status is status_of


def test_a_good_one_is_simple() -> None:
    found = plan(PREDICT, grpc_timeout="5S")
    assert (found.method, found.timeout, found.simple, found.fault) == (METHODS[PREDICT], 5.0, True, None)
