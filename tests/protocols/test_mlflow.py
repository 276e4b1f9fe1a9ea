"""MLflow's scoring protocol: every body, the answers, the faults in its words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fakehouse import gallery
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.messages import Rows
from setsail.protocols import mlflow, packed
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import Table
from setsail.tensors import Numbers

HOUSE = gallery()
TABLE = Table(mlflow.ROUTES, (), mlflow.WIRE)


def send(model: str, body: Any, content_type: str | None = "application/json") -> HttpReply:
    """What `/invocations` answers for one of the gallery's models."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if content_type is None else {"content-type": content_type}
    match = TABLE.find("POST", "/invocations")
    try:
        exchange = match.decode(HttpRequest("POST", "/invocations", f"model_name={model}", headers, raw))
        return exchange.encode(HOUSE.answer(exchange.ask))
    except SetsailError as fault:
        return mlflow.WIRE.render_error(fault)


def told(model: str, body: Any, content_type: str = "application/json") -> Any:
    reply = send(model, body, content_type)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)["predictions"]


def refused(reply: HttpReply, code: str) -> dict[str, Any]:
    assert dict(reply.headers)["x-setsail-error"] == code
    body: dict[str, Any] = json.loads(reply.body)
    return body


# -- bodies ------------------------------------------------------------------------------------------------------------

FRAME = {"columns": ["age", "city", "children", "member"], "data": [[42.0, "Rome", 2, True], [7.5, "Oslo", 0, False]]}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": FRAME},
        {"dataframe_split": FRAME | {"index": [10, 11]}},
        {"dataframe_split": {"columns": ["member", "x", "children", "age", "city"],
                             "data": [[True, 0, 2, 42, "Rome"], [False, 0, 0, 7.5, "Oslo"]]}},
        {"dataframe_split": {"data": FRAME["data"]}},
        {"dataframe_records": [dict(zip(FRAME["columns"], row, strict=True)) for row in FRAME["data"]]},
        {"instances": [dict(zip(FRAME["columns"], row, strict=True)) for row in FRAME["data"]]},
        {"instances": FRAME["data"]},
        {"inputs": dict(zip(FRAME["columns"], zip(*FRAME["data"], strict=True), strict=True))},
        {"inputs": [dict(zip(FRAME["columns"], row, strict=True)) for row in FRAME["data"]], "params": {"depth": 3}},
        {"inputs": FRAME["data"], "params": None, "comment": "nobody reads this"},
    ],
    ids=["split", "index", "order", "no names", "records", "named instances", "rows", "columns", "named", "params"],
)  # fmt: skip
def test_the_forms_of_json_mean_the_same(body: Any) -> None:
    assert told("people", body) == [46.0, 8.5]


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8", "Application/JSON"])
def test_the_content_type_may_have_a_charset(content_type: str) -> None:
    assert told("people", {"dataframe_split": FRAME}, content_type) == [46.0, 8.5]


def test_without_a_content_type_it_is_json() -> None:
    assert send("people", {"dataframe_split": FRAME}, None).status == 200


def test_one_row_of_bare_values() -> None:
    assert told("people", {"inputs": {"age": 1, "city": "Rome", "children": 2, "member": True}}) == [5.0]
    assert told("review", {"inputs": "a good film"})[0]["classes"] == ["neg", "pos"]


def test_a_missing_value_is_null_or_nan() -> None:
    """pandas writes a text that is missing as NaN."""
    body = b'{"dataframe_split": {"columns": ["age", "city", "children", "member"], "data": [[NaN, NaN, 1, true]]}}'
    assert told("people", body) == [2.0]
    assert told("people", {"dataframe_records": [{"age": 1, "city": "Rome", "children": 1, "member": False},
                                                 {"children": 1, "member": True}]}) == [3.0, 2.0]  # fmt: skip


def test_a_csv_has_a_header_and_may_have_an_index() -> None:
    table = b",age,city,children,member\n0,42,Rome,2,True\n1,NA,,0,false\n"
    assert told("people", table, "text/csv") == [46.0, 0.0]


def test_parquet() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(FRAME["data"], columns=FRAME["columns"]).assign(other=1)
    assert told("people", frame.to_parquet(), mlflow.PARQUET) == [46.0, 8.5]


def test_tensors_are_nested_lists_by_any_name_of_theirs() -> None:
    pixels = [[0.0, 0.25, 0.5], [1.0, 0.75, 0.5]]
    for body in (
        {"instances": [pixels]}, {"inputs": [pixels]}, {"inputs": {"pixels": [pixels]}},
        {"instances": [{"pixels": pixels}]}, {"dataframe_split": {"columns": ["pixels"], "data": [[pixels]]}},
        {"dataframe_split": {"columns": ["pixels"], "data": [[pixels[0] + pixels[1]]]}},
    ):  # fmt: skip
        assert told("image", body) == [3.0]


# -- long bodies -------------------------------------------------------------------------------------------------------

COLUMNS = ["petal_width", "sepal_length", "sepal_width", "petal_length"]


@pytest.mark.parametrize("key", ["instances", "inputs", "dataframe_split"])
def test_a_long_list_of_numbers_is_read_without_python_objects(key: str) -> None:
    rows = np.random.default_rng(0).random((200, 4)).round(6)
    value = {"index": list(range(200)), "columns": COLUMNS, "data": rows.tolist()} if key[0] == "d" else rows.tolist()
    raw = json.dumps({key: value}).encode()
    assert len(raw) > packed.LONG
    body = mlflow.read_json(raw)
    assert isinstance(body, Rows)
    assert isinstance(body.rows, Numbers)
    (array,) = bind(HOUSE.models["iris"].signature, body).values()
    expected = rows[:, [1, 2, 3, 0]] if key[0] == "d" else rows
    np.testing.assert_array_equal(array, expected)


def test_a_long_frame_of_integers_and_floats_keeps_both() -> None:
    """The text is one list of numbers; a column of integers is one all the same."""
    from setsail.signature import Signature, TensorSpec

    signature = Signature((TensorSpec.parse("a:int64[N]"), TensorSpec.parse("b:float64[N]")), (), ())
    rows = [[2**53 + 1 + i, i + 0.5] for i in range(600)]
    body = mlflow.read_json(json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": rows}}).encode())
    assert isinstance(body, Rows)
    assert isinstance(body.rows, Numbers)
    bound = bind(signature, body)
    assert bound["a"].tolist() == [row[0] for row in rows]
    assert bound["b"].tolist() == [row[1] for row in rows]


def test_a_text_that_looks_like_the_list_is_no_list() -> None:
    raw = json.dumps({"inputs": {"text": ['"data": [1, 2]' + "x" * 5000]}}).encode()
    body = mlflow.read_json(raw)
    assert body is not None
    assert bind(HOUSE.models["review"].signature, body)["text"].tolist() == ['"data": [1, 2]' + "x" * 5000]


# -- answers -----------------------------------------------------------------------------------------------------------


def test_several_default_outputs_are_a_record_a_row() -> None:
    (answer,) = told("review", {"instances": ["a good film"]})
    assert answer["classes"] == ["neg", "pos"]
    assert answer["scores"] == pytest.approx([0.1, 0.9])


def test_numbers_that_json_lacks_are_bare_tokens() -> None:
    reply = send("echo-float64", b'{"inputs": [[NaN, 1.5]]}')
    assert reply.body == b'{"predictions":[[NaN,1.5]]}'


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        [[1.0, 2.0]], "text", {}, {"rows": []}, {"instances": [], "inputs": []},
        {"dataframe_split": []}, {"dataframe_split": {"columns": ["a"]}}, {"dataframe_split": {"data": 3}},
        {"dataframe_split": {"data": [], "shape": 3}}, {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
        {"dataframe_split": {"index": [0, 1], "data": [[1, 2]]}}, {"dataframe_split": {"columns": "ab", "data": []}},
        {"dataframe_records": {"a": 1}}, {"dataframe_records": [1]}, {"instances": [{"a": 1}, {"b": 1}]},
        {"inputs": [1], "signature_name": "serving_default"},
    ],
)  # fmt: skip
def test_bodies_of_another_form_are_bad_requests(body: Any) -> None:
    reply = send("iris", body)
    assert reply.status == 400
    assert refused(reply, "request.form")["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize("key", ["messages", "prompt", "input"])
def test_a_language_models_body_is_refused_by_name(key: str) -> None:
    reply = send("iris", {key: "hello"})
    body = refused(reply, "request.unsupported")
    assert (reply.status, body["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert f"`{key}`" in body["message"]


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/json; charset=latin-1", "text/csv; header=present", "application/x-npy"]
)
def test_other_content_types_are_refused_in_plain_text(content_type: str) -> None:
    reply = send("iris", b"", content_type)
    assert (reply.status, dict(reply.headers)["content-type"]) == (415, "text/plain; charset=utf-8")
    assert dict(reply.headers)["x-setsail-error"] == "request.media_type"


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ({"children": "two"}, "input.dtype"),
        ({"children": 1.5}, "input.dtype"),
        ({"age": "old"}, "input.dtype"),
        ({"children": None}, "input.null"),
        ({"city": "Paris"}, "input.category"),
    ],
)
def test_types_are_enforced(rows: dict[str, Any], code: str) -> None:
    row = {"age": 1, "city": "Rome", "children": 1, "member": True} | rows
    reply = send("people", {"dataframe_records": [row]})
    body = refused(reply, code)
    assert (reply.status, body["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert body["error_class"] == "SCHEMA_ENFORCEMENT_FAILED"


def test_what_a_frame_writes_otherwise_and_loses_nothing_by_is_taken() -> None:
    """pandas makes an integer column one of floats, and a truth value a number, without being asked."""
    row = {"age": True, "city": "Rome", "children": 2.0, "member": 1}
    assert told("people", {"dataframe_records": [row, row | {"children": False, "member": 0.0}]}) == [5.0, 2.0]
    assert told("people", b"age,city,children,member\n1,Rome,2.0,True\n", "text/csv") == [5.0]
    for wrong in ({"children": 2.5}, {"member": 2}, {"children": "2"}, {"age": "1"}):
        refused(send("people", {"dataframe_records": [row | wrong]}), "input.dtype")
    refused(send("people", b"age,city,children,member\n1,Rome,2.5,True\n", "text/csv"), "input.dtype")


def test_a_missing_column_is_named_and_an_extra_one_ignored() -> None:
    frame = {"columns": ["age", "children", "member", "shoe"], "data": [[1, 1, True, 46]]}
    assert "'city'" in refused(send("people", {"dataframe_split": frame}), "input.missing")["message"]
    frame = {"columns": [*frame["columns"], "city"], "data": [[1, 1, True, 46, "Rome"]]}
    assert told("people", {"dataframe_split": frame}) == [4.0]


@pytest.mark.parametrize("rows", [[[1, 2, 3, 4], [1, 2]], [[1, 2, 3]], [3]])
def test_a_row_that_does_not_fit_the_columns(rows: Any) -> None:
    refused(send("iris", {"dataframe_split": {"columns": COLUMNS, "data": rows}}), "input.ragged")
    long = [[0.5] * 3] * 2000
    refused(send("iris", {"dataframe_split": {"columns": COLUMNS, "data": long}}), "input.ragged")


def test_no_rows() -> None:
    for body in ({"instances": []}, {"inputs": []}, {"dataframe_split": {"columns": COLUMNS, "data": []}},
                 {"dataframe_records": []}):  # fmt: skip
        refused(send("iris", body), "input.empty")


def test_faults_of_models_and_paths() -> None:
    assert refused(send("nobody", {"inputs": [1]}), "model.unknown")["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert refused(send("sleepy", {"inputs": [1]}), "model.not_ready")["error_code"] == "TEMPORARILY_UNAVAILABLE"
    for path, status, detail in (("/invocation", 404, "Not Found"), ("/invocations", 405, "Method Not Allowed")):
        with pytest.raises(SetsailError) as caught:
            TABLE.find("GET", path)
        reply = mlflow.WIRE.render_error(caught.value)
        assert (reply.status, json.loads(reply.body)) == (status, {"detail": detail})


# -- health ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_health_is_a_line_feed(path: str) -> None:
    exchange = TABLE.find("GET", path).decode(HttpRequest("GET", path))
    assert (exchange.encode(True).status, exchange.encode(True).body) == (200, b"\n")
    assert exchange.encode(False).status == 404


def test_the_version_is_one_that_mlflow_s_clients_can_compare() -> None:
    exchange = TABLE.find("GET", "/version").decode(HttpRequest("GET", "/version"))
    assert [int(part) for part in exchange.encode(None).body.split(b".")] >= [2, 0]


# -- anything ----------------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["data", "columns", "index", "age", "city", "input"]), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(mlflow.KEYS)), ANYTHING, st.sampled_from(["iris", "people", "review"]))
def test_no_body_is_a_fault_of_the_server(key: str, value: Any, model: str) -> None:
    assert send(model, {key: value}).status in (200, 400)


FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(FLOATS, min_size=4, max_size=4), min_size=1, max_size=4))
def test_the_quick_way_and_the_general_way_agree(rows: list[list[float]]) -> None:
    for value in ({"instances": rows}, {"dataframe_split": {"columns": COLUMNS, "data": rows}}):
        raw = json.dumps(value).encode()
        quick, general = mlflow.read_json(raw), mlflow.from_json(json.loads(raw))
        assert quick == general
