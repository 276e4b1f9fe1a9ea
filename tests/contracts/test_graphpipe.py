"""GraphPipe's own Python client, in an environment of its own, against a live server on GraphPipe's port."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_envs import ask_client, client_python
from fakehouse import FakeModel, echo, iris, people, review
from furnished import furnish

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, DTYPES

pytestmark = pytest.mark.slow
# The package asks for requests and flatbuffers of its time; it works with today's.
PINS = ("numpy==2.4.6", "requests==2.34.2", "flatbuffers==25.12.19", "--no-deps", "graphpipe==1.0.4")
PAGE = Path(__file__).parents[2] / "docs" / "wires" / "graphpipe.md"
HEAD = """
import json, sys
import numpy as np
import requests
from graphpipe import remote
several, only = sys.argv[1:]
told = {}

def refused(call):
    try:
        call()
    except requests.HTTPError as fault:
        return fault.response.status_code
"""
TAIL = "\nprint(json.dumps(told))\n"


@pytest.fixture(scope="module")
def python() -> Path:
    return client_python("graphpipe", *PINS)


def served(*models: FakeModel, **settings: Any) -> Server:
    made = Server(Settings(port=0, admin_port=-1, **settings))
    furnish(made.house, *models)
    return made.start()


@pytest.fixture(scope="module")
def addresses() -> Iterator[tuple[str, str]]:
    """A data port with many models, and GraphPipe's with one."""
    several = served(iris(), people(), review(), *map(echo, DTYPES))
    only = served(iris(), as_="graphpipe")
    yield several.url, only.url
    several.close()
    only.close()


def told(python: Path, addresses: tuple[str, str], script: str) -> Any:
    return ask_client(python, HEAD + script + TAIL, *addresses).json()


def test_the_pages_example(python: Path, addresses: tuple[str, str]) -> None:
    (code,) = re.findall(r"^```python no-run\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    ended = ask_client(python, code.replace("http://127.0.0.1:9000", addresses[1]))
    assert ended.rc == 0, ended.err
    assert len(ended.out.splitlines()) == 2, ended.out


def test_arrays_of_every_type_there_and_back(python: Path, addresses: tuple[str, str]) -> None:
    script = """
for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
    told[name] = np.array([[np.iinfo(name).min, np.iinfo(name).max]] * 3, name)
for name in ("float16", "float32", "float64"):
    told[name] = np.array([[np.finfo(name).max, 0.1]], name)
for name, array in told.items():
    for sent in (array, np.asfortranarray(array)):
        back = remote.execute(f"{several}/graphpipe/echo-{name}", sent)
        told[name] = bool((back == array).all()) and back.dtype == array.dtype
told["bool"] = remote.execute(f"{several}/graphpipe/echo-bool", np.array([[1, 0]], np.uint8)).tolist()
text = np.array([["a", "h\\u00e9"]], object)
told["string"] = remote.execute(f"{several}/graphpipe/echo-string", text)[0, 1].decode()
"""
    found = told(python, addresses, script)
    assert found.pop("bool") == [[1, 0]]
    assert found.pop("string") == "hé"
    assert found == dict.fromkeys(found, True)
    assert len(found) == 11


def test_names_and_several_tensors(python: Path, addresses: tuple[str, str]) -> None:
    script = """
uri = several + "/graphpipe/people"
person = [np.array([42.0]), np.array(["Rome"], object), np.array([2]), np.array([1], np.uint8)]
names = ["age", "city", "children", "member"]
told["order"] = remote.execute_multi(uri, person, None, None)[0].tolist()
told["names"] = remote.execute_multi(uri, person[::-1], names[::-1], ["prediction"])[0].tolist()
rows = np.array([[9.0, 1, 1, 1]])
both = remote.execute_multi(several + "/graphpipe/iris", [rows], ["input"], ["probabilities", "label"])
told["shapes"] = [list(part.shape) for part in both]
told["label"] = remote.execute(only, rows, output_name="label")[0].decode()
config = json.dumps({"model": "people"})
told["config"] = remote.execute_multi(several + "/graphpipe/iris", person, None, None, config)[0].tolist()
"""
    found = told(python, addresses, script)
    assert (found["order"], found["names"], found["config"]) == ([46.0], [46.0], [46.0])
    assert (found["shapes"], found["label"]) == ([[1, 3], [1]], "setosa")


def test_metadata_at_any_path(python: Path, addresses: tuple[str, str]) -> None:
    script = """
for path in ("", "/", "/some/where"):
    meta = remote.metadata(only + path)
    told[path] = [meta.Name().decode(), meta.Version().decode(), meta.Server().decode()]
told["inputs"] = [remote.get_input_names(only), remote.get_input_shapes(only),
                  [str(kind) for kind in remote.get_input_types(only)]]
told["outputs"] = [remote.get_output_names(only), remote.get_output_shapes(only)]
"""
    found = told(python, addresses, script)
    assert found[""] == found["/"] == found["/some/where"] == ["iris", "1", "setsail"]
    assert found["inputs"] == [["input"], [[None, 4]], ["float64"]]
    assert found["outputs"] == [["label", "probabilities"], [[None], [None, 3]]]


def test_faults(python: Path, addresses: tuple[str, str]) -> None:
    script = """
rows = np.array([[9.0, 1, 1, 1]])
told["shape"] = refused(lambda: remote.execute(only, rows[:, :3]))
told["model"] = refused(lambda: remote.execute(several + "/graphpipe/nobody", rows))
told["output"] = refused(lambda: remote.execute(only, rows, output_name="nothing"))
told["dtype"] = refused(lambda: remote.execute(several + "/graphpipe/echo-float32", rows[:, :2]))
reply = requests.post(only, data=b"hello")
told["text"] = [reply.status_code, reply.headers["content-type"], reply.text[:16]]
told["health"] = requests.get(only + "/control/is_ready").text
"""
    found = told(python, addresses, script)
    assert (found["shape"], found["model"], found["output"], found["dtype"]) == (400, 404, 400, 400)
    assert found["text"] == [400, "text/plain; charset=utf-8", "[request.binary]"]
    assert found["health"] == "ok\n"


def test_an_output_of_one_name_and_no_row_axis(python: Path) -> None:
    """A single value has no shape, and comes back as one."""
    spec, out = TensorSpec("x", BY_NAME["float64"], ("N",)), TensorSpec("total", BY_NAME["float64"], ())
    total = FakeModel("total", Signature((spec,), (out,), ("total",)), lambda inputs: {"total": inputs["x"].sum()})
    with served(total, as_="graphpipe") as server:
        script = 'back = remote.execute(only, np.array([1.0, 2.5]))\ntold["back"] = [list(back.shape), float(back)]'
        assert told(python, ("", server.url), script) == {"back": [[], 3.5]}
