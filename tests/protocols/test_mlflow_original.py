"""MLflow's own scoring function and ours, given the same bodies: the same answers, and refusals of the same status.

Where the two differ on purpose is in docs/wires/mlflow.md.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from client_envs import ask_client, client_python
from fakehouse import FakeHouse, FakeModel, image, people

from setsail.errors import SetsailError
from setsail.protocols import mlflow
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.table import Table
from setsail.signature import Signature, TensorSpec

pytestmark = pytest.mark.slow
PINS = ("mlflow-skinny==3.17.2", "numpy==2.4.6", "pandas==2.3.3", "pyarrow==26.0.1", "scipy==1.16.3")
JSON, CSV = "application/json", "text/csv"
THEIRS = """
import json, sys
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import invocations
from mlflow.types.schema import ColSpec, Schema, TensorSpec


def model(function, *specs):
    about = Model(signature=ModelSignature(inputs=Schema(list(specs))))
    about.add_flavor("python_function", loader_module="none", env={}, python_version="3")
    return PyFuncModel(about, type("Of", (), {"predict": lambda self, data, params=None: function(data)})())


def people(frame):
    known = frame["city"].notna().astype(float)
    return (frame["age"].fillna(0) + frame["children"] + known + frame["member"]).to_numpy()


MODELS = {
    "people": model(people, ColSpec("double", "age"), ColSpec("string", "city"), ColSpec("long", "children"),
                    ColSpec("boolean", "member")),
    "rows": model(lambda x: np.asarray(x).sum(axis=1), TensorSpec(np.dtype("float64"), (-1, 4))),
    "image": model(lambda x: np.asarray(x["pixels"] if isinstance(x, dict) else x).sum((1, 2)),
                   TensorSpec(np.dtype("float32"), (-1, 2, 3), name="pixels")),
}
answers = []
for case in json.load(open(sys.argv[1])):
    raw, chosen = bytes.fromhex(case["raw"]), MODELS[case["model"]]
    try:
        told = invocations(raw, case["type"], chosen, chosen.metadata.get_input_schema())
        answers.append([told.status, json.loads(told.response)["predictions"] if told.status == 200 else None])
    except MlflowException as refused:
        answers.append([refused.get_http_status_code(), None])
print(json.dumps(answers))
"""

FRAME: dict[str, Any] = {"columns": ["age", "city", "children", "member"],
                         "data": [[42.0, "Rome", 2, True], [7.5, "Oslo", 0, False]]}  # fmt: skip
RECORDS = [dict(zip(FRAME["columns"], row, strict=True)) for row in FRAME["data"]]
TABLE = pd.DataFrame(FRAME["data"], columns=FRAME["columns"])
X = [[5.0, 3.5, 1.5, 0.25], [1.0, 2.0, 3.0, 4.0]]
PIXELS = [[0.0, 0.25, 0.5], [1.0, 0.75, 0.5]]


def parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def changed(**values: Any) -> list[Any]:
    return [RECORDS[0] | values, RECORDS[1]]


PEOPLE: list[Any] = [
    {"dataframe_split": FRAME}, {"dataframe_split": FRAME | {"index": [3, 4]}},
    {"dataframe_split": FRAME | {"index": [3]}}, {"dataframe_records": RECORDS}, {"instances": RECORDS},
    {"inputs": RECORDS}, {"inputs": RECORDS[0]}, {"inputs": {key: [r[key] for r in RECORDS] for key in RECORDS[0]}},
    {"dataframe_records": [RECORDS[0], {key: RECORDS[1][key] for key in ("age", "children", "member")}]},
    {"dataframe_split": {"columns": [*FRAME["columns"], "z"], "data": [[*row, 1] for row in FRAME["data"]]}},
    {"dataframe_split": {"columns": FRAME["columns"][:3], "data": [row[:3] for row in FRAME["data"]]}},
    *({"dataframe_records": changed(age=age)} for age in (1, True, None, "old")),
    *({"dataframe_records": changed(children=children)} for children in (1, 1.0, True, None, "two")),
    *({"dataframe_records": changed(member=member)} for member in (1, 0, 1.0, False)),
    {"dataframe_records": changed(city=None)}, {"instances": changed(age=None)}, {"instances": changed(children=None)},
]  # fmt: skip
ROWS: list[Any] = [
    [[1]], "x", {}, {"a": 1}, {"instances": X, "inputs": X}, {"instances": X, "params": {"a": 1}},
    {"instances": X, "params": 3}, {"instances": X, "k": 1}, {"instances": X[0]}, {"instances": 5}, {"inputs": X},
    {"inputs": {"a": X}}, {"instances": [[1, 2, 3]]}, {"instances": [[1, 2], [1]]},
    {"dataframe_split": {"data": X}}, {"dataframe_split": {"columns": list("abcd"), "data": X}},
    {"dataframe_split": {"columns": [0, 1, 2, 3], "data": X}}, {"dataframe_split": {"columns": list("abc"), "data": X}},
    {"dataframe_split": {"data": X, "z": 1}}, {"dataframe_split": X}, {"dataframe_records": {"a": 1}},
    {"dataframe_records": [dict(zip("abcd", row, strict=True)) for row in X]}, b"{",
]  # fmt: skip
IMAGE: list[Any] = [
    {"instances": [PIXELS]}, {"inputs": [PIXELS]}, {"inputs": {"pixels": [PIXELS]}},
    {"instances": [{"pixels": PIXELS}]}, {"inputs": {"pixels": [PIXELS], "z": [1]}},
    {"dataframe_split": {"columns": ["pixels"], "data": [[PIXELS[0] + PIXELS[1]]]}},
    {"inputs": {"pixels": [PIXELS[0] + PIXELS[1]]}},
]  # fmt: skip
FILES: list[tuple[Any, str]] = [
    (TABLE.to_csv(), CSV), (TABLE.to_csv(index=False), CSV), (TABLE.drop(columns="city").to_csv(), CSV),
    (TABLE.assign(city=[None, "Oslo"]).to_csv(), CSV), (TABLE.assign(children=[1.0, 2.0]).to_csv(), CSV),
    (TABLE.assign(children=[1.5, 2.0]).to_csv(), CSV), ("", CSV), ("age,city\n", CSV),
    *((parquet(frame), mlflow.PARQUET) for frame in (
        TABLE, TABLE.assign(age=np.array([1, 2], np.int32)), TABLE.assign(age=np.array([1, 2], np.float32)),
        TABLE.assign(children=np.array([1, 2], np.int32)), TABLE.assign(children=[1.0, 2.0]),
        TABLE.assign(member=[1, 0]),
    )),
    (b"x", mlflow.PARQUET), ({"inputs": RECORDS}, "text/html"), ({"inputs": RECORDS}, JSON + "; charset=utf-8"),
    ({"inputs": RECORDS}, JSON + "; charset=latin1"), ({"inputs": RECORDS}, JSON + "; a=b"),
]  # fmt: skip
CASES = [
    *(("people", body, JSON) for body in PEOPLE), *(("rows", body, JSON) for body in ROWS),
    *(("image", body, JSON) for body in IMAGE), *(("people", body, kind) for body, kind in FILES),
]  # fmt: skip


def rows() -> FakeModel:
    signature = Signature((TensorSpec.parse("input:float64[N,4]"),), (TensorSpec.parse("y:float64[N]"),), ("y",))
    return FakeModel("rows", signature, lambda inputs: {"y": inputs["input"].sum(axis=1)})


def raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()


def ours(house: FakeHouse, model: str, body: Any, kind: str) -> HttpReply:
    table = Table(mlflow.ROUTES, (), mlflow.WIRE)
    request = HttpRequest("POST", "/invocations", f"model_name={model}", {"content-type": kind}, raw(body))
    try:
        exchange = table.find("POST", "/invocations").decode(request)
        return exchange.encode(house.answer(exchange.ask))
    except SetsailError as fault:
        return mlflow.WIRE.render_error(fault)


def test_the_original_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    file.write_text(json.dumps([{"model": m, "raw": raw(body).hex(), "type": kind} for m, body, kind in CASES]))
    theirs = ask_client(client_python("mlflow", *PINS), THEIRS, str(file)).json()
    house, differences = FakeHouse(people(), rows(), image()), []
    for (model, body, kind), (status, predictions) in zip(CASES, theirs, strict=True):
        reply = ours(house, model, body, kind)
        told = json.loads(reply.body)["predictions"] if reply.status == 200 else None
        if (reply.status, told) != (status, predictions):
            differences.append((model, kind, body, (reply.status, told), (status, predictions)))
    assert differences == []
    assert sum(status == 200 for status, _ in theirs) > 30
