"""A dissertation's example: a model behind a few lines of Flask, and the script that asks it.

The script is run as it is but for the port: against setsail in every run, and against the Flask program itself, in an
environment of its own, in `make test-all`. Both must tell it the same.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas
import pytest
import requests
from client_envs import client_python
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import setsail

SERVER = """
import io
import joblib
import pandas as pd
from flask import Flask, jsonify, request

app = Flask(__name__)
model = joblib.load("iris.joblib")
columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@app.route("/predict", methods=["POST"])
def predict():
    if "file" in request.files:
        rows = pd.read_csv(io.BytesIO(request.files["file"].read()))
    elif request.form:
        rows = pd.DataFrame([[float(request.form[name]) for name in columns]], columns=columns)
    else:
        data = request.get_json(force=True)
        values = data.get("features") or data.get("input") or data.get("data")
        if not isinstance(values[0], list):
            values = [values]
        rows = pd.DataFrame(values, columns=columns)
    return jsonify({"prediction": model.predict(rows).tolist()})


if __name__ == "__main__":
    import sys
    app.run(port=int(sys.argv[1]))
"""
CLIENT = """
import requests

url = "http://127.0.0.1:5000/predict"
flowers = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]

for flower in flowers:
    response = requests.post(url, json={"features": flower})
    print(response.status_code, response.json()["prediction"][0])

print(requests.post(url, json={"input": flowers}).json()["prediction"])
print(requests.post(url, json={"data": flowers}).json()["prediction"])

form = {"sepal_length": "6.7", "sepal_width": "3.0", "petal_length": "5.2", "petal_width": "2.3"}
print(requests.post(url, data=form).json()["prediction"])

with open("flowers.csv", "rb") as file:
    print(requests.post(url, files={"file": file}).json()["prediction"])
"""
TOLD = """200 setosa
200 virginica
200 versicolor
['setosa', 'virginica', 'versicolor']
['setosa', 'virginica', 'versicolor']
['virginica']
['setosa', 'virginica']
"""
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, and a table to upload."""
    here = tmp_path_factory.mktemp("dissertation")
    flowers = load_iris()
    table = pandas.DataFrame(flowers.data, columns=COLUMNS)
    model = LogisticRegression(max_iter=1000).fit(table, np.array(flowers.target_names)[flowers.target])
    joblib.dump(model, here / "iris.joblib")
    (here / "flowers.csv").write_text(",".join(COLUMNS) + "\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n")
    with setsail.pack(model, table, name="iris", output=here / "iris.setsail"):
        return here


def ask(folder: Path, port: int) -> str:
    script = CLIENT.replace("127.0.0.1:5000", f"127.0.0.1:{port}")
    told = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_setsail_tells_the_script_what_it_should_hear(folder: Path) -> None:
    with setsail.serve(folder / "iris.setsail", port=0, admin_port=-1, block=False) as server:
        assert ask(folder, int(server.url.rpartition(":")[2])) == TOLD


def test_any_path_of_the_flavour(folder: Path) -> None:
    with setsail.serve(folder / "iris.setsail", port=0, admin_port=-1, block=False, as_="flask") as server:
        assert ask(folder, int(server.url.rpartition(":")[2])) == TOLD
        for path in ("/", "/predict", "/api/v2/classify"):
            told = requests.post(server.url + path, json=[5.1, 3.5, 1.4, 0.2], timeout=10).json()
            assert told["prediction"] == ["setosa"]


@pytest.fixture
def flask_port(folder: Path) -> Iterator[int]:
    """The Flask program, running."""
    python = client_python("flask", "flask==3.1.3", "scikit-learn==1.9.0", "pandas==3.1.1", "numpy==2.4.6")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "server.py").write_text(SERVER)
    log = (folder / "server.log").open("w")
    running = subprocess.Popen([python, "server.py", str(port)], cwd=folder, stdout=log, stderr=log)
    for _ in range(300):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert running.poll() is None, (folder / "server.log").read_text()
        time.sleep(0.1)
    yield port
    running.terminate()
    running.wait(20)
    log.close()


@pytest.mark.slow
def test_the_flask_program_tells_the_script_the_same(folder: Path, flask_port: int) -> None:
    assert ask(folder, flask_port) == TOLD
