"""Requests inside CloudEvents: answered as they came."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fakehouse import gallery

from setsail.errors import SetsailError
from setsail.protocols import cloud_events
from setsail.protocols.flavours import FLAVOURS
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import DATA, Table

BINARY = {"ce-specversion": "1.0", "ce-id": "36f7", "ce-source": "https://a/b", "ce-type": "asked"}
EVENT = {"specversion": "1.0", "id": "36f7", "source": "https://a/b", "type": "asked", "time": "2026-01-01T00:00:00Z"}
ROWS = {"instances": [[9, 2, 3, 4]]}
PREDICTED = b'{"predictions":[[0.9966'


@pytest.fixture(autouse=True)
def terms() -> Iterator[None]:
    """What a test sets in the environment is read anew, and forgotten."""
    cloud_events._terms.cache_clear()
    yield
    cloud_events._terms.cache_clear()


@pytest.fixture(params=["data", "kserve"])
def table(request: pytest.FixtureRequest) -> Table:
    return DATA if request.param == "data" else FLAVOURS["kserve"].data.table()


def send(table: Table, body: Any, headers: Mapping[str, str]) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = table.route(HttpRequest("POST", "/v1/models/iris:predict", headers=headers, body=raw))
    return exchange.encode(gallery().answer(exchange.ask))


def structured(table: Table, event: Mapping[str, Any], kind: str = "application/cloudevents+json") -> HttpReply:
    return send(table, event, {"content-type": kind})


def test_in_headers(table: Table) -> None:
    reply = send(table, ROWS, BINARY)
    headers = dict(reply.headers)
    assert reply.body.startswith(PREDICTED)
    assert headers["content-type"] == "application/json"
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "io.kserve.inference.response"
    assert headers["ce-source"] == "io.kserve.inference.iris"
    assert headers["ce-id"] not in ("", "36f7")


def test_in_one_object(table: Table) -> None:
    reply = structured(table, EVENT | {"data": ROWS}, "application/cloudevents+json; charset=utf-8")
    assert dict(reply.headers) == {"content-type": "application/cloudevents+json"}
    event = json.loads(reply.body)
    assert event.pop("data")["predictions"][0][0] == pytest.approx(0.9966, abs=1e-4)
    assert event.pop("id") == dict(send(table, ROWS, BINARY).headers)["ce-id"]
    assert event == {
        "specversion": "1.0", "type": "io.kserve.inference.response", "source": "io.kserve.inference.iris",
        "datacontenttype": "application/json",
    }  # fmt: skip


def test_an_event_is_named_by_its_source_and_id(table: Table) -> None:
    ids = [
        dict(send(table, ROWS, BINARY | other).headers)["ce-id"]
        for other in ({}, {}, {"ce-id": "other"}, {"ce-source": "other"})
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_data_in_base64(table: Table) -> None:
    encoded = base64.b64encode(json.dumps(ROWS).encode()).decode()
    assert PREDICTED[:-1] in structured(table, EVENT | {"data_base64": encoded}).body.replace(b'"data":', b"")


def test_kserves_variables(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CE_TYPE", "told"), ("CE_SOURCE", "ö 100%"), ("CE_MERGE", "true")):
        monkeypatch.setenv(name, value)
    headers = dict(send(table, ROWS, BINARY | {"ce-mine": "kept", "ce-time": "now"}).headers)
    assert (headers["ce-type"], headers["ce-source"], headers["ce-mine"]) == ("told", "%C3%B6%20100%25", "kept")
    assert "ce-time" not in headers
    event = json.loads(structured(table, EVENT | {"mine": 1, "data": ROWS}).body)
    assert (event["type"], event["source"], event["mine"]) == ("told", "ö 100%", 1)


@pytest.mark.parametrize("missing", ["id", "source", "type"])
def test_an_event_needs_its_attributes(table: Table, missing: str) -> None:
    for ask in (
        lambda: send(table, ROWS, {k: v for k, v in BINARY.items() if k != f"ce-{missing}"}),
        lambda: structured(table, {k: v for k, v in EVENT.items() if k != missing} | {"data": ROWS}),
        lambda: structured(table, EVENT | {missing: 7, "data": ROWS}),
    ):
        with pytest.raises(SetsailError) as caught:
            ask()
        assert caught.value.code == "request.form"
        assert missing in str(caught.value)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ([], "request.form"), (EVENT, "request.form"), (EVENT | {"data": {"instances": 1}}, "request.form"),
        (EVENT | {"data_base64": "%"}, "request.form"), (EVENT | {"data_base64": 7}, "request.form"),
    ],
)  # fmt: skip
def test_events_without_a_request(table: Table, event: Any, code: str) -> None:
    with pytest.raises(SetsailError) as caught:
        structured(table, event)
    assert caught.value.code == code


def test_batches_are_refused(table: Table) -> None:
    with pytest.raises(SetsailError) as caught:
        structured(table, [EVENT], "application/cloudevents-batch+json")
    assert caught.value.code == "request.media_type"
