"""The servers that speak the protocol: statuses and bodies where they differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from setsail.errors import KINDS, SetsailError
from setsail.protocols.http import HttpReply
from setsail.protocols.open_inference import dialects

Ask = Callable[..., HttpReply]


def code(reply: HttpReply) -> str:
    return dict(reply.headers)["x-setsail-error"]


@pytest.mark.parametrize(
    ("flavour", "path", "status", "body"),
    [
        ("", "/v2/health/live", 200, b'{"live":true}'),
        ("", "/v2/health/ready", 503, b'{"ready":false}'),
        ("", "/v2/models/iris/ready", 200, b'{"name":"iris","ready":true}'),
        ("", "/v2/models/sleepy/ready", 503, b'{"name":"sleepy","ready":false}'),
        ("triton", "/v2/health/live", 200, b""),
        ("triton", "/v2/health/ready", 400, b""),
        ("triton", "/v2/models/iris/ready", 200, b""),
        ("triton", "/v2/models/iris/versions/1/ready", 200, b""),
        ("triton", "/v2/models/sleepy/ready", 400, b""),
        ("triton", "/v2/models/nobody/ready", 400, b""),
        ("mlserver", "/v2/health/live", 200, b""),
        ("mlserver", "/v2/health/ready", 400, b""),
        ("kserve", "/v2/health/live", 200, b'{"live":true}'),
        ("kserve", "/v2/models/iris/ready", 200, b'{"name":"iris","ready":true}'),
    ],
)
def test_health(ask: Ask, flavour: str, path: str, status: int, body: bytes) -> None:
    reply = ask("GET", path, flavour=flavour)
    assert (reply.status, reply.body) == (status, body)


@pytest.mark.parametrize(
    ("flavour", "body"),
    [("", b'{"name":"sleepy","load":true}'), ("kserve", b'{"name":"sleepy","load":true}'), ("triton", b""),
     ("mlserver", b"")],
)  # fmt: skip
def test_what_is_told_of_a_load(ask: Ask, flavour: str, body: bytes) -> None:
    reply = ask("POST", "/v2/repository/models/sleepy/load", b"{}", flavour=flavour, control=True)
    assert (reply.status, reply.body) == (200, body)
    reply = ask("POST", "/v2/repository/models/sleepy/unload", flavour=flavour, control=True)
    assert (reply.status, reply.body) == (200, body.replace(b"load", b"unload"))


def test_a_model_that_nobody_knows(ask: Ask) -> None:
    for flavour in ("", "kserve", "mlserver"):
        assert code(ask("GET", "/v2/models/nobody/ready", flavour=flavour)) == "model.unknown"
    assert code(ask("GET", "/v2/models/iris/versions/7/ready", flavour="triton")) == "model.version"


def test_kserve_has_no_versions(ask: Ask) -> None:
    for method, path in (("GET", ""), ("GET", "/ready"), ("POST", "/infer"), ("GET", "/config")):
        reply = ask(method, f"/v2/models/iris/versions/1{path}", flavour="kserve")
        assert (reply.status, code(reply)) == (501, "request.unsupported")
    assert ask("GET", "/v2/models/iris/versions/1").status == 200


@pytest.mark.parametrize(
    ("fault", "ours", "triton", "mlserver"),
    [
        ("input.dtype", 400, 400, 400), ("request.json", 400, 400, 422), ("request.form", 400, 400, 422),
        ("model.unknown", 404, 404, 404), ("model.not_ready", 503, 503, 400), ("request.too_large", 413, 400, 413),
        ("model.busy", 429, 503, 429), ("request.deadline", 504, 503, 504), ("request.unsupported", 501, 501, 501),
        ("server.fault", 500, 500, 500), ("control.refused", 403, 403, 403), ("request.method", 405, 405, 405),
    ],
)  # fmt: skip
def test_statuses(fault: str, ours: int, triton: int, mlserver: int) -> None:
    rows = (dialects.OURS, dialects.TRITON, dialects.MLSERVER)
    replies = [row.wire.render_error(SetsailError(fault, "what")) for row in rows]
    assert [reply.status for reply in replies] == [ours, triton, mlserver]
    assert {reply.body for reply in replies} == {replies[0].body}


def test_every_fault_has_one_of_tritons_statuses() -> None:
    render = dialects.TRITON.wire.render_error
    families = {kind.family for kind in KINDS.values()} - {"http_version", "slow", "fields_too_large"}  # of HTTP itself
    statuses = {render(SetsailError(c, "what")).status for c, kind in KINDS.items() if kind.family in families}
    assert statuses <= {400, 401, 403, 404, 405, 500, 501, 503}


def test_names_of_what_is_served(ask: Ask) -> None:
    assert "sleepy" in json.loads(ask("GET", "/v2/models", flavour="kserve").body)["models"]


# -- names of inputs ---------------------------------------------------------------------------------------------------

ROW: dict[str, Any] = {"shape": [1, 4], "datatype": "FP64", "data": [9, 2, 3, 4]}
LONG: dict[str, Any] = {"shape": [600, 4], "datatype": "FP64", "data": [0.25] * 2400}


@pytest.mark.parametrize("flavour", ["kserve", "mlserver"])
@pytest.mark.parametrize("item", [ROW, LONG, ROW | {"parameters": {"content_type": "np"}}], ids=["row", "long", "np"])
def test_one_input_has_any_name(ask: Ask, flavour: str, item: dict[str, Any]) -> None:
    named = [ask("POST", "/v2/models/iris/infer", {"inputs": [item | {"name": n}]}, flavour) for n in ("input", "x-0")]
    assert [reply.status for reply in named] == [200, 200]
    assert named[0].body == named[1].body


@pytest.mark.parametrize("flavour", ["kserve", "mlserver"])
def test_several_inputs_and_columns_keep_their_names(ask: Ask, flavour: str) -> None:
    def refused(model: str, *inputs: dict[str, Any]) -> str:
        return code(ask("POST", f"/v2/models/{model}/infer", {"inputs": list(inputs)}, flavour))

    one = {"shape": [1], "datatype": "FP64", "data": [1]}
    assert refused("people", one | {"name": "else"}) == "input.unknown"
    assert refused("iris", one | {"name": "sepal_length"}) == "input.missing"
    assert refused("iris", ROW | {"name": "a"}, ROW | {"name": "b"}) == "input.unknown"
    assert refused("iris", ROW | {"name": "a", "datatype": "BYTES", "data": [""] * 4}) == "input.dtype"


def test_elsewhere_a_name_is_a_name(ask: Ask) -> None:
    for flavour in ("", "triton"):
        reply = ask("POST", "/v2/models/iris/infer", {"inputs": [ROW | {"name": "x-0"}]}, flavour)
        assert code(reply) == "input.unknown"
