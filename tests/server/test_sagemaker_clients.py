"""boto3, in its own environment, against the platform's runtime API in front of a container of ours."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import workshop
from client_envs import ask_client, client_python
from sagemaker_platform import Container, Endpoint
from sklearn.linear_model import LinearRegression

import setsail

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "wires" / "sagemaker.md"
X = np.arange(40.0).reshape(20, 2) % 7
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "eu-north-1"}
ONE = """
import json, sys
import boto3

client = boto3.client("sagemaker-runtime", endpoint_url=sys.argv[1])
ask = {"EndpointName": "credit", "ContentType": "text/csv", "Body": b"1,2\\n3,4\\n"}
told = client.invoke_endpoint(**ask, Accept="application/json", CustomAttributes="trace=7")
answers = {"json": json.loads(told["Body"].read()), "type": told["ContentType"], "attributes": told["CustomAttributes"],
           "variant": told["InvokedProductionVariant"]}
answers["csv"] = client.invoke_endpoint(**ask, Accept="text/csv")["Body"].read().decode()
lines = client.invoke_endpoint(EndpointName="credit", ContentType="application/jsonlines", Body=b"[1, 2]\\n[3, 4]\\n",
                               Accept="application/jsonlines")["Body"].read()
answers["lines"] = [json.loads(line) for line in lines.splitlines()]
rows = "\\n".join("1,2" for _ in range(1000)).encode()
stream = client.invoke_endpoint_with_response_stream(EndpointName="credit", ContentType="text/csv", Body=rows,
                                                     Accept="application/jsonlines")["Body"]
parts = [event["PayloadPart"]["Bytes"] for event in stream]
answers["parts"] = len(parts)
answers["streamed"] = len(b"".join(parts).splitlines())
try:
    client.invoke_endpoint(EndpointName="credit", ContentType="text/csv", Body=b"1,2,3")
except client.exceptions.ModelError as refused:
    answers["status"] = refused.response["OriginalStatusCode"]
    answers["message"] = refused.response["OriginalMessage"]
print(json.dumps(answers))
"""
MANY = """
import json, sys
import boto3

client = boto3.client("sagemaker-runtime", endpoint_url=sys.argv[1])
answers = {}
for target in ("line.tar.gz", "slope.tar.gz", "line.tar.gz"):
    told = client.invoke_endpoint(EndpointName="many", TargetModel=target, ContentType="application/json",
                                  Body=json.dumps([[1, 2]]))
    answers[target] = json.loads(told["Body"].read())
try:
    client.invoke_endpoint(EndpointName="many", TargetModel="nobody.tar.gz", Body=b"")
except Exception as refused:
    answers["refused"] = type(refused).__name__
print(json.dumps(answers))
"""


def pack(place: Path, constant: float) -> Path:
    model = LinearRegression().fit(X, X @ [2.0, -1.0] + constant)
    setsail.pack(model, X, name=place.stem, output=place).close()
    return place


def ask(endpoint: Endpoint, script: str) -> dict[str, object]:
    python = client_python("boto3", "boto3==1.44.5")
    told: dict[str, object] = ask_client(python, script, endpoint.url, env=KEYS).json()
    return told


def test_invoke_endpoint(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    shutil.move(pack(tmp_path / "credit.setsail", 3.0), tmp_path / "model")
    with Container(tmp_path, {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}) as container, Endpoint(container) as endpoint:
        told = ask(endpoint, ONE)
    answers = pytest.approx([3.0, 5.0])
    assert told["json"] == answers
    assert (told["type"], told["attributes"], told["variant"]) == ("application/json", "trace=7", "AllTraffic")
    assert [float(line) for line in str(told["csv"]).split()] == answers
    assert told["lines"] == answers
    assert told["streamed"] == 1000
    assert int(str(told["parts"])) > 1
    assert told["status"] == 400
    assert "input.ragged" in str(told["message"]) or "input.shape" in str(told["message"])


def test_target_models(tmp_path: Path) -> None:
    store = {f"{name}.tar.gz": pack(tmp_path / f"{name}.setsail", constant)
             for name, constant in (("line", 3.0), ("slope", 0.0))}  # fmt: skip
    variables = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    with Container(tmp_path, variables) as container, Endpoint(container, store) as endpoint:
        told = ask(endpoint, MANY)
    assert told["line.tar.gz"] == pytest.approx([3.0])
    assert told["slope.tar.gz"] == pytest.approx([0.0])
    assert told["refused"] == "ValidationError"


def test_the_example_of_its_page(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python no-run\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "model").mkdir()
    setsail.pack(workshop.credit(), workshop.X, name="credit", output=tmp_path / "model" / "credit.setsail").close()
    with Container(tmp_path, {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}) as container, Endpoint(container) as endpoint:
        code = code.replace('"sagemaker-runtime"', f'"sagemaker-runtime", endpoint_url={endpoint.url!r}')
        told = ask_client(client_python("boto3", "boto3==1.44.5"), code, env=KEYS)
    assert (told.rc, told.out) == (0, "b'[0]'\n"), told.err
