"""Several signatures and two versions: what a route's shadows and canaries make of requests for another signature."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import requests
import several_signatures
from several_signatures import conversion, one, packed, spec

from setsail.server.run import Server
from setsail.server.settings import Settings

Z = [[1.0, 2.0], [3.0, 4.0]]
X = [[1.0, 2.0, 3.0]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions of `two`: 1 and 2 as they are, 3 whose `classify` says half as much, 4 without other signatures."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "two").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(folder / "cache"))
        made = conversion()
        both = replace(made, others={"classify": made.others["classify"]})
        packed(folder / "two/1.setsail", both).close()
        copyfile(folder / "two/1.setsail", folder / "two/2.setsail")  # a directory's version beats the manifest's
        patch.setitem(several_signatures.ANSWERS, "classify", lambda z: {"scores": z / 4})  # type: ignore[arg-type]
        less = one("classify", "Mul", 0.25, spec("z", 2), spec("scores", 2))
        packed(folder / "two/3.setsail", replace(made, others={"classify": less}, aliases={}), version=3).close()
        packed(folder / "two/4.setsail", replace(made, others={}, aliases={}), version=4).close()
    return folder


@pytest.fixture
def server(models: Path) -> Iterator[Server]:
    with Server(Settings(port=0, admin_port=0)) as made:
        made.open(models)
        made.start()
        admin(made, "PUT", "", {"weights": {"1": 1}})
        yield made


def admin(server: Server, method: str = "GET", action: str = "", body: Any = None) -> Any:
    url = f"{server.admin_url}/v1/routes/two" + (f"/{action}" if action else "")
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=20) as reply:
        return json.loads(reply.read())


def ask(server: Server, name: str, rows: Any) -> requests.Response:
    body = {"signature_name": name, "instances": rows}
    return requests.post(f"{server.url}/v1/models/two:predict", data=json.dumps(body).encode(), timeout=20)


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def shadow(server: Server, version: int) -> dict[str, int]:
    found: dict[str, int] = admin(server)["route"]["shadows"][str(version)]
    return found


@pytest.mark.parametrize(("version", "result"), [(2, "agreed"), (3, "differed"), (4, "failed")])
@pytest.mark.parametrize("name", ["classify", "sort"])
def test_a_shadow_is_asked_for_the_same_signature(server: Server, version: int, result: str, name: str) -> None:
    if (version, name) == (3, "sort"):
        result = "failed"  # it has `classify`, and no further name for it
    admin(server, "POST", "shadow", {"version": version})
    for scale in range(1, 9):
        told = ask(server, name, [[scale * value for value in row] for row in Z])
        assert told.json() == {"predictions": [[scale * value / 2 for value in row] for row in Z]}
    until(lambda: shadow(server, version)[result] > 0)
    told = shadow(server, version)
    assert {key for key in ("agreed", "differed", "failed") if told[key]} == {result}


def test_a_canary_is_judged_by_requests_for_another_signature(server: Server) -> None:
    admin(server, "POST", "canary", {"version": 2, "percent": 50, "automatic": False})
    for _ in range(40):
        assert ask(server, "classify", Z).status_code == 200
    told = admin(server)["route"]["canary"]["metrics"]["error"]
    assert told["pairs"] > 10
    assert told["difference"] == 0


def test_a_canary_that_lacks_a_signature_is_worse(server: Server) -> None:
    server.house.on_route("two")
    admin(server, "POST", "canary", {"version": 4, "percent": 20})

    def stopped() -> bool:
        found = {ask(server, "classify", Z).status_code for _ in range(20)}
        assert found <= {200, 400}
        return bool(admin(server)["history"][0]["who"] == "canary")

    until(stopped)
    assert admin(server)["route"]["weights"] == {"1": 100.0}


def test_an_input_of_another_signature_keeps_its_client(server: Server) -> None:
    """`sticky` by an input's column: the row is read by the signature that the request names."""
    admin(server, "PUT", "", {"weights": {"1": 50, "3": 50}, "sticky": "input:0"})
    found = {key: {json.dumps(ask(server, "classify", [[key, 1.0]]).json()) for _ in range(6)} for key in range(12)}
    assert {len(told) for told in found.values()} == {1}
    assert len({json.loads(*told)["predictions"][0][1] for told in found.values()}) == 2  # each version has some


def test_runs_are_counted_by_signature_of_the_artifact(server: Server) -> None:
    for name, rows in (("classify", Z), ("sort", Z), ("serving_default", X), ("serve", X)):
        assert ask(server, name, rows).status_code == 200
    assert ask(server, "nothing", X).status_code == 400
    page = requests.get(f"{server.admin_url}/metrics", timeout=20).text
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines()
             if line.startswith("setsail_signature_")}  # fmt: skip
    labels = '{{model="two",signature="{}",version="1"}}'
    assert found == {
        f"setsail_signature_{what}_total" + labels.format(name): count
        for what, counts in {"requests": (2, 2), "rows": (4, 2)}.items()
        for name, count in zip(("classify", "serving_default"), counts, strict=True)
    }
