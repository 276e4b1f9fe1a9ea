"""The routing table: methods, paths, and the shape of an error where nothing matches."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import DATA


def test_every_route_matches_its_own_example_first() -> None:
    for row in DATA.routes:
        path = re.sub(r"\{(\w+)\}", lambda m: {"version": "1"}.get(m[1], "name"), row.pattern)
        assert DATA.find(row.method, path).route is row


def test_a_path_nobody_answers() -> None:
    with pytest.raises(SetsailError) as caught:
        DATA.route(HttpRequest("GET", "/v3/models"))
    assert caught.value.code == "request.path"


def test_a_wrong_method_says_which_are_right() -> None:
    with pytest.raises(SetsailError) as caught:
        DATA.route(HttpRequest("GET", "/v2/models/m/infer"))
    assert caught.value.code == "request.method"
    reply = DATA.wire_of("/v2/models/m/infer").render_error(caught.value)
    assert reply.status == 405
    assert dict(reply.headers)["allow"] == "POST, OPTIONS"
    assert DATA.allowed("/v2") == ("GET", "HEAD", "OPTIONS")
    assert DATA.allowed("/nowhere") == ()


def test_head_is_get() -> None:
    assert DATA.find("HEAD", "/v2/health/live").route.method == "GET"


@pytest.mark.parametrize(
    ("path", "wire"), [("/v2", "open-inference"), ("/v1/x", "tf-serving"), ("/v10", "plain"), ("/predict/m", "plain")]
)
def test_a_prefix_belongs_to_one_wire(path: str, wire: str) -> None:
    assert DATA.wire_of(path).name == wire


def test_each_wire_tells_an_error_in_its_own_shape() -> None:
    error = SetsailError(
        "input.dtype", "input 'age', row 3, is text", field="age", value="abc", expected="a number", row=3
    )
    for wire in DATA.wires:
        reply = wire.render_error(error)
        assert reply.status == 400
        assert dict(reply.headers)["x-setsail-error"] == "input.dtype"
        assert b"row 3, is text; got 'abc'" in reply.body, wire.name
    (plain,) = [json.loads(wire.render_error(error).body) for wire in DATA.wires if wire.name == "plain"]
    assert (plain["code"], plain["field"], plain["row"]) == ("input.dtype", "age", 3)


@given(st.sampled_from(["GET", "POST", "PUT"]), st.text(max_size=30))
def test_no_path_is_a_surprise(method: str, path: str) -> None:
    try:
        DATA.find(method, "/" + path)
    except SetsailError as error:
        assert error.code in ("request.path", "request.method")  # noqa: PT017 (either is right)


def test_each_wires_page_lists_its_routes() -> None:
    root = Path(__file__).parents[2]
    for row in DATA.routes:
        assert f"`{row.pattern}`" in (root / row.wire.page).read_text(), row.pattern
