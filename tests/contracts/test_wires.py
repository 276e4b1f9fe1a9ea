"""One suite every wire passes: same values, same codes, whatever the bytes look like."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from fakehouse import gallery
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.protocols.table import DATA
from setsail.server.asgi import Application, application
from setsail.tensors import BY_NAME, DTYPES, DType


@dataclass(frozen=True)
class Client:
    """How a test speaks one wire: columns in, outputs out."""

    path: str

    def body(self, columns: Mapping[str, Any], dtypes: Mapping[str, str]) -> Any:
        return columns

    def outputs(self, answer: Any) -> Any:
        return answer["outputs"]

    def told(self, answer: Any) -> Any:
        """The text of an error."""
        return answer["error"]


class Plain(Client):
    pass


class TfServing(Client):
    def body(self, columns: Mapping[str, Any], dtypes: Mapping[str, str]) -> Any:
        rows = max((len(c) for c in columns.values()), default=0)
        return {"instances": [{n: c[i] for n, c in columns.items() if i < len(c)} for i in range(rows)]}

    def outputs(self, answer: Any) -> Any:
        first = answer["predictions"][0]
        return first if isinstance(first, dict) else {"": answer["predictions"]}


class OpenInference(Client):
    def body(self, columns: Mapping[str, Any], dtypes: Mapping[str, str]) -> Any:
        tensors = []
        for name, values in columns.items():
            shape = [len(values), *((len(values[0]),) if values and isinstance(values[0], list) else ())]
            datatype = BY_NAME[dtypes.get(name, "float64")].oip
            tensors.append({"name": name, "shape": shape, "datatype": datatype, "data": values})
        return {"inputs": tensors}

    def outputs(self, answer: Any) -> Any:
        return {o["name"]: np.array(o["data"], dtype=object).reshape(o["shape"]).tolist() for o in answer["outputs"]}


class Mlflow(Client):
    def body(self, columns: Mapping[str, Any], dtypes: Mapping[str, str]) -> Any:
        return {"inputs": columns}

    def outputs(self, answer: Any) -> Any:
        return {"": answer["predictions"]}

    def told(self, answer: Any) -> Any:
        return answer["message"]


class TorchServe(Client):
    def outputs(self, answer: Any) -> Any:
        return {"": answer}

    def told(self, answer: Any) -> Any:
        return answer["message"]


CLIENTS: dict[str, Client] = {
    "open-inference": OpenInference("/v2/models/{}/infer"),
    "tf-serving": TfServing("/v1/models/{}:predict"),
    "plain": Plain("/predict/{}"),
    "mlflow": Mlflow("/invocations?model_name={}"),
    "torchserve": TorchServe("/predictions/{}"),
}
VERSIONED = {
    "open-inference": "/v2/models/{}/versions/{}/infer",
    "tf-serving": "/v1/models/{}/versions/{}:predict",
    "plain": "/predict/{}/versions/{}",
    "mlflow": "/invocations?model_name={}&model_version={}",
    "torchserve": "/predictions/{}/{}",
}
every_wire = pytest.mark.parametrize("wire", CLIENTS)


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    made = application(gallery(), max_body=20_000)
    yield made
    made.close()


def send(app: Application, path: str, body: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
            return await client.post(path, content=content)

    return asyncio.run(run())


def predict(
    app: Application, wire: str, model: str, columns: Mapping[str, Any], dtypes: Mapping[str, str] | None = None
) -> httpx.Response:
    client = CLIENTS[wire]
    return send(app, client.path.format(model), client.body(columns, dtypes or {}))


def test_the_suite_covers_every_wire() -> None:
    binary = {"graphpipe"}  # tests/contracts/test_graphpipe.py
    assert set(CLIENTS) == set(VERSIONED) == {w.name for w in DATA.wires} - binary


# -- values ------------------------------------------------------------------------------------------------------------

VALUES: Mapping[str, list[Any]] = {
    "bool": [True, False],
    "uint8": [0, 255], "uint16": [0, 65535], "uint32": [0, 2**32 - 1], "uint64": [0, 2**64 - 1],
    "int8": [-128, 127], "int16": [-(2**15), 2**15 - 1], "int32": [-(2**31), 2**31 - 1], "int64": [-(2**63), 2**63 - 1],
    "float16": [0.5, 65504.0], "float32": [0.1, 3.4028235e38], "float64": [0.1, 1.7976931348623157e308],
    "string": ["", 'é"\n\u2028😀'],
}  # fmt: skip


@every_wire
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_values_of_every_dtype_come_back_exactly(app: Application, wire: str, dtype: DType) -> None:
    reply = predict(app, wire, f"echo-{dtype.name}", {"x": [VALUES[dtype.name]]}, {"x": dtype.name})
    assert reply.status_code == 200, reply.text
    (values,) = CLIENTS[wire].outputs(reply.json()).values()
    assert values == [VALUES[dtype.name]]
    assert [type(v) for v in values[0]] == [type(v) for v in VALUES[dtype.name]]


@every_wire
def test_null_is_a_missing_value_where_the_model_has_them(app: Application, wire: str) -> None:
    dtypes = {"age": "float64", "city": "string", "children": "int64", "member": "bool"}
    columns = {"age": [None, 1.0], "city": ["Oslo", None], "children": [1, 2], "member": [True, False]}
    (values,) = CLIENTS[wire].outputs(predict(app, wire, "people", columns, dtypes).json()).values()
    assert values == [3.0, 3.0]


# -- one fault, one code -----------------------------------------------------------------------------------------------

PEOPLE = {"age": [1.0], "city": ["Rome"], "children": [1], "member": [True]}
KINDS = {"age": "float64", "city": "string", "children": "int64", "member": "bool"}
IRIS = {"input": [[1.0, 2.0, 3.0, 4.0]]}


@every_wire
@pytest.mark.parametrize(
    ("model", "columns", "status", "code"),
    [
        ("people", PEOPLE | {"age": ["old"]}, 400, "input.dtype"),
        ("people", PEOPLE | {"children": [1.5]}, 400, "input.dtype"),
        ("people", PEOPLE | {"member": [1]}, 400, "input.dtype"),
        ("people", {k: v for k, v in PEOPLE.items() if k != "city"}, 400, "input.missing"),
        ("people", PEOPLE | {"city": ["Paris"]}, 400, "input.category"),
        ("people", PEOPLE | {"children": [None]}, 400, "input.null"),
        ("echo-uint8", {"x": [[1, 256]]}, 400, "input.range"),
        ("iris", {"input": [[1.0, 2.0, 3.0]]}, 400, "input.shape"),
        ("iris", {"input": [[1.0, 2.0, 3.0, 4.0], [1.0]]}, 400, "input.ragged"),
        ("nobody", IRIS, 404, "model.unknown"),
        ("sleepy", {"x": [[1.0, 2.0]]}, 503, "model.not_ready"),
    ],
)  # fmt: skip
def test_a_fault_has_one_code_on_every_wire(
    app: Application, wire: str, model: str, columns: Mapping[str, Any], status: int, code: str
) -> None:
    reply = predict(app, wire, model, columns, KINDS | {"x": model.partition("-")[2] or "float32"})
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (status, code)
    assert isinstance(CLIENTS[wire].told(reply.json()), str)


@every_wire
def test_a_name_the_model_does_not_have(app: Application, wire: str) -> None:
    reply = predict(app, wire, "people", PEOPLE | {"shoe": [46.0]}, KINDS)
    if wire == "mlflow":  # whose frames may have more columns than the model
        assert reply.status_code == 200
    else:
        assert (reply.status_code, reply.headers["x-setsail-error"]) == (400, "input.unknown")


@every_wire
def test_nan_where_the_model_has_no_missing_values(app: Application, wire: str) -> None:
    columns = {"input": [[float("nan"), 2.0, 3.0, 4.0]]}
    assert predict(app, wire, "iris", columns).headers["x-setsail-error"] == "input.nan"


def test_lengths_that_differ_are_told_where_columns_can_be_sent(app: Application) -> None:
    """Rows cannot differ in length; the wires that take columns say the same of them."""
    columns = PEOPLE | {"age": [1.0, 2.0]}
    for wire in ("open-inference", "plain"):
        assert predict(app, wire, "people", columns, KINDS).headers["x-setsail-error"] == "input.length"
    reply = send(app, "/v1/models/people:predict", {"inputs": columns})
    assert reply.headers["x-setsail-error"] == "input.length"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/iris:predict", {"instances": []}),
        ("/v1/models/iris:predict", {"inputs": {"input": []}}),
        ("/v2/models/iris/infer", {"inputs": [{"name": "input", "shape": [0, 4], "datatype": "FP64", "data": []}]}),
        ("/predict/iris", []),
        ("/predict/iris", {"input": []}),
    ],
)
def test_a_request_without_rows(app: Application, path: str, body: Any) -> None:
    reply = send(app, path, body)
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (400, "input.empty")


@every_wire
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "request.json"),
        (b"", 400, "request.json"),
        (b"\xff\xfe", 400, "request.json"),
        (b"null", 400, "request.form"),
        (b" " * 20_001, 413, "request.too_large"),
    ],
    ids=["cut", "empty", "not UTF-8", "null", "too large"],
)
def test_bodies_that_are_no_request(app: Application, wire: str, body: bytes, status: int, code: str) -> None:
    if wire == "torchserve" and body == b"\xff\xfe":
        code = "request.media_type"  # bytes without a type may be one row of a model that takes text
    reply = send(app, CLIENTS[wire].path.format("iris"), body)
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (status, code)


@every_wire
@pytest.mark.parametrize("version", ["2", "0", "-1", "x", "9" * 30])
def test_versions_that_do_not_exist(app: Application, wire: str, version: str) -> None:
    client = CLIENTS[wire]
    reply = send(app, VERSIONED[wire].format("iris", version), client.body(IRIS, {}))
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (404, "model.version")


@every_wire
def test_a_version_that_exists(app: Application, wire: str) -> None:
    client = CLIENTS[wire]
    assert send(app, VERSIONED[wire].format("iris", "1"), client.body(IRIS, {})).status_code == 200


@every_wire
def test_many_at_once_get_their_own_answers(app: Application, wire: str) -> None:
    client, answers = CLIENTS[wire], {}

    def one(i: int) -> None:
        reply = predict(app, wire, "echo-int64", {"x": [[i, i]]}, {"x": "int64"})
        (answers[i],) = client.outputs(reply.json()).values()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: [[i, i]] for i in range(12)}


# -- anything at all -------------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(
    ["input", "x", "age", "city", "member", "b64", "name", "shape", "datatype", "data", "parameters"]
)
ANYTHING = st.recursive(
    SCALARS | st.sampled_from(["FP32", "BYTES", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FORMS = {
    "open-inference": "inputs",
    "tf-serving": "instances",
    "plain": "",
    "mlflow": "dataframe_split",
    "torchserve": "data",
}


@every_wire
@pytest.mark.parametrize("model", ["iris", "people", "review", "echo-int8", "echo-string"])
def test_no_body_makes_the_server_fail(app: Application, wire: str, model: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(ANYTHING, st.booleans())
    def check(value: Any, wrapped: bool) -> None:
        body = {FORMS[wire]: value} if wrapped and FORMS[wire] else value
        reply = send(app, CLIENTS[wire].path.format(model), body)
        assert reply.status_code in (200, 400), reply.text

    check()


@pytest.mark.parametrize("model", ["iris", "people", "echo-uint64", "echo-string"])
def test_no_tensor_makes_the_server_fail(app: Application, model: str) -> None:
    tensor = st.fixed_dictionaries({
        "name": st.sampled_from(["input", "x", "age", "sepal_width"]),
        "shape": st.lists(st.sampled_from([0, 1, 2, 4, 2**31, 2**63, 2**70]), max_size=4),
        "datatype": st.sampled_from([d.oip for d in DTYPES]),
        "data": st.lists(ANYTHING, max_size=4),
    })  # fmt: skip

    @settings(max_examples=60, deadline=None)
    @given(st.lists(tensor, max_size=3))
    def check(tensors: list[Any]) -> None:
        reply = send(app, f"/v2/models/{model}/infer", {"inputs": tensors})
        assert reply.status_code in (200, 400), reply.text

    check()
