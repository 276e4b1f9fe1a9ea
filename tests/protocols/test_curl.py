"""The curl lines of docs pages, taken apart as a shell would and sent."""

from __future__ import annotations

import shlex
import subprocess
import sys

import numpy as np
import pytest
from fakehouse import gallery

from setsail.binding import bind
from setsail.catalog import ModelMetadata
from setsail.protocols.curl import CURL, curl_lines
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import DATA
from setsail.signature import Signature, TensorSpec

HOUSE = gallery()


def request(url: str, header: list[str], body: bytes) -> HttpRequest:
    """What curl sends."""
    path, _, query = url.removeprefix("http://127.0.0.1:8080").partition("?")
    kind = header[1].partition(": ")[2] if header else "application/x-www-form-urlencoded"
    return HttpRequest("POST", path, query, {"content-type": kind}, body)


def test_every_wire_has_a_line() -> None:
    assert set(CURL) == {w.name for w in DATA.wires} - {"graphpipe"}  # whose bodies no shell takes


@pytest.mark.parametrize("model", [n for n, m in HOUSE.models.items() if m.state == "ready"])
@pytest.mark.parametrize("wire", list(CURL))
@pytest.mark.parametrize("pinned", [False, True])
def test_the_line_answers(model: str, wire: str, pinned: bool) -> None:
    line = curl_lines(HOUSE.models[model].metadata(), "http://127.0.0.1:8080", pinned=pinned)[wire]
    curl, url, *header, flag, body = shlex.split(line)
    assert (curl, flag) == ("curl", "-d")
    exchange = DATA.route(request(url, header, body.encode()))
    assert exchange.ask.model.version == (1 if pinned else None)  # type: ignore[union-attr]
    assert exchange.encode(HOUSE.answer(exchange.ask)).status == 200


def test_names_of_columns_are_in_the_plain_line() -> None:
    line = curl_lines(HOUSE.models["iris"].metadata(), "http://h")["plain"]
    row = '{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
    assert line == f"curl http://h/predict/iris -d '{row}'"


@pytest.mark.parametrize("wire", list(CURL))
@pytest.mark.parametrize("shape", ["N,3,32,32", "3,32,32"])
def test_a_large_row_is_made_by_python_because_no_shell_takes_it(wire: str, shape: str) -> None:
    signature = Signature((TensorSpec.parse(f"image:float32[{shape}]"),), (TensorSpec.parse("y:float32[N]"),), ("y",))
    example = {"image": np.ones((3, 32, 32)).tolist()}
    meta = ModelMetadata("resnet", 1, (1,), signature, "torch", None, example)
    line = curl_lines(meta, "http://127.0.0.1:8080")[wire]
    assert len(line) < 400
    python, option, program, pipe, *curl = shlex.split(line)
    assert (python, option, pipe, curl[-2:]) == ("python3", "-c", "|", ["-d", "@-"])
    made = subprocess.run([sys.executable, option, program], capture_output=True, check=True).stdout
    exchange = DATA.route(request(curl[1], curl[2:-2], made))
    (array,) = bind(signature, exchange.ask.body).values()  # type: ignore[union-attr]
    np.testing.assert_array_equal(array, np.zeros((1, 3, 32, 32) if "N" in shape else (3, 32, 32)))
