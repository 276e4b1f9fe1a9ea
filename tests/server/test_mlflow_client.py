"""MLflow's own client, in its own environment, against a real server of the flavour and the data port."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import workshop
from client_envs import ask_client, client_python

import setsail

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "wires" / "mlflow.md"
PINS = ("mlflow-skinny==3.17.2", "numpy==2.4.6", "pandas==2.3.3", "pyarrow==26.0.1", "scipy==1.16.3")
SCRIPT = """
import io, json, sys
import numpy as np
import pandas as pd
import requests
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, port = sys.argv[1].split(":")
client = ScoringServerClient(host, int(port))
client.wait_server_ready(timeout=20)
told = {"version": client.get_version()}

frame = pd.DataFrame({"age": [42.0, 7.0], "city": ["Rome", "Oslo"], "children": [2, 0], "member": [True, False]})
told["frame"] = client.invoke(frame).get_predictions("ndarray").tolist()
told["dataframe"] = client.invoke(frame).get_predictions().to_dict("list")
turned = frame[frame.columns[::-1]].set_index(pd.Index([5, 9])).assign(shoe=46)
told["turned"] = client.invoke(turned, params={"depth": 3})["predictions"]
told["records"] = client.invoke(json.dumps({"dataframe_records": frame.to_dict("records")}))["predictions"]
url = f"http://{host}:{port}/invocations"
csv = requests.post(url, data=frame.to_csv(), headers={"content-type": "text/csv"})
told["csv"] = csv.json()["predictions"]
file = io.BytesIO()
frame.to_parquet(file)
parquet = requests.post(url, data=file.getvalue(), headers={"content-type": "application/vnd.apache.parquet"})
told["parquet"] = parquet.json()["predictions"]
for name, wrong in (
    ("missing", frame.drop(columns="city")), ("lossy", frame.assign(children=[1.5, 2.0])),
    ("text", frame.assign(age=["old", "young"])), ("unknown", frame.assign(city="Paris")),
):
    try:
        client.invoke(wrong)
    except Exception as refused:
        told[name] = str(refused)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mlflow") / "people.setsail"
    model, frame = workshop.people()
    setsail.pack(model, frame, name="people", output=place).close()
    return place


@pytest.mark.parametrize("flavour", ["mlflow", ""])
def test_scoring_server_client(artifact: Path, flavour: str) -> None:
    with setsail.serve(artifact, as_=flavour, port=0, admin_port=-1, workers=1, block=False) as server:
        told = ask_client(client_python("mlflow", *PINS), SCRIPT, server.url.partition("://")[2]).json()
    answers = pytest.approx([46.0, 7.0])
    for form in ("frame", "turned", "records", "csv", "parquet"):
        assert told[form] == answers, form
    assert told["dataframe"] == {"0": answers}
    assert told["version"].startswith("3.")
    for name, column in (("missing", "city"), ("lossy", "children"), ("text", "age"), ("unknown", "city")):
        assert "SCHEMA_ENFORCEMENT_FAILED" in told[name]
        assert f"'{column}'" in told[name]


def test_the_example_of_its_page(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python no-run\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    artifact = setsail.pack(workshop.credit(), workshop.X, name="credit", output=tmp_path / "credit.setsail")
    with artifact, setsail.serve(artifact, as_="mlflow", port=0, admin_port=-1, workers=1, block=False) as server:
        port = server.url.rpartition(":")[2]
        told = ask_client(client_python("mlflow", *PINS), code.replace("5000", port))
    assert told.rc == 0, told.err
    assert told.out.split() == ["0", "0", "0"]  # a data frame of one row and one column
