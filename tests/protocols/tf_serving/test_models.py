"""Status and metadata: recorded bytes, of the original and of what it shares with KServe."""

from __future__ import annotations

import json

import pytest
from fakehouse import FakeHouse, gallery

from setsail.errors import SetsailError
from setsail.protocols.flavours import FLAVOURS
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import DATA, Table

ORIGINAL = FLAVOURS["tfserving"].data.table()


def ask(request: HttpRequest, house: FakeHouse | None = None, table: Table = DATA) -> HttpReply:
    exchange = table.route(request)
    return exchange.encode((house or gallery()).answer(exchange.ask))


def code_of(request: HttpRequest) -> str:
    with pytest.raises(SetsailError) as caught:
        ask(request)
    return caught.value.code


@pytest.mark.parametrize("path", ["", "/versions/1", "/labels/stable", "/labels/not-looked-at"])
def test_status_by_the_byte(path: str) -> None:
    reply = ask(HttpRequest("GET", f"/v1/models/iris{path}"), table=ORIGINAL)
    assert (reply.status, reply.body) == (
        200,
        b'{"model_version_status":[{"version":"1","state":"AVAILABLE",'
        b'"status":{"error_code":"OK","error_message":""}}]}',
    )
    loading = ask(HttpRequest("GET", "/v1/models/sleepy"), table=ORIGINAL)
    assert loading.status == 200
    assert json.loads(loading.body)["model_version_status"][0]["state"] == "LOADING"


def test_status_is_the_union_of_both_servers_bodies() -> None:
    reply = ask(HttpRequest("GET", "/v1/models/iris"))
    assert reply.status == 200
    assert json.loads(reply.body) == {
        "name": "iris",
        "ready": True,
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ],
    }
    assert ask(HttpRequest("GET", "/v1/models/iris/versions/1")).status == 200
    loading = ask(HttpRequest("GET", "/v1/models/sleepy"))
    assert (loading.status, json.loads(loading.body)["ready"]) == (503, False)
    assert code_of(HttpRequest("GET", "/v1/models/nobody")) == "model.unknown"


def test_a_failed_version_says_why() -> None:
    house = gallery()
    house.models["iris"].state, house.models["iris"].reason = "failed", "the file was changed"
    (entry,) = json.loads(ask(HttpRequest("GET", "/v1/models/iris"), house).body)["model_version_status"]
    assert entry["state"] == "END"
    assert entry["status"] == {"error_code": "INTERNAL", "error_message": "the file was changed"}


def test_metadata_nests_signature_def_twice() -> None:
    body = json.loads(ask(HttpRequest("GET", "/v1/models/iris/metadata")).body)
    assert body["model_spec"] == {"name": "iris", "signature_name": "", "version": "1"}
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() == {"serving_default", "label", "probabilities"}
    assert signatures["serving_default"]["inputs"]["input"] == {
        "dtype": "DT_DOUBLE",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}], "unknown_rank": False},
        "name": "input:0",
    }
    assert signatures["serving_default"]["outputs"].keys() == {"probabilities"}


def test_metadata_by_the_byte() -> None:
    reply = ask(HttpRequest("GET", "/v1/models/echo-float32/metadata"), table=ORIGINAL)
    dims = b'"dim":[{"size":"-1","name":""},{"size":"2","name":""}],"unknown_rank":false'
    x = b'{"dtype":"DT_FLOAT","tensor_shape":{' + dims + b"}"
    signature = (
        b'{"inputs":{"x":' + x + b',"name":"x:0"}},"outputs":{"y":' + x + b',"name":"y:0"}},'
        b'"method_name":"tensorflow/serving/predict","defaults":{}}'
    )
    assert reply.body == (
        b'{"model_spec":{"name":"echo-float32","signature_name":"","version":"1"},'
        b'"metadata":{"signature_def":{"signature_def":{"y":' + signature + b',"serving_default":' + signature + b"}}}}"
    )


def test_list_and_liveness() -> None:
    assert "review" in json.loads(ask(HttpRequest("GET", "/v1/models")).body)["models"]
    assert ask(HttpRequest("GET", "/")).body == b'{"status":"alive"}'
