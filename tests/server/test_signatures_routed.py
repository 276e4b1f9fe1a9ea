"""Several signatures and two versions: what a route's shadows and canaries make of requests for another signature."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from fakehouse import two
from furnished import furnish

from setsail.server.run import Server
from setsail.server.settings import Settings

Z = [[1.0, 2.0], [3.0, 4.0]]
X = [[1.0, 2.0, 3.0]]


@pytest.fixture
def server() -> Iterator[Server]:
    """Versions of `two`: 2 is as 1, 3 scores half as much and knows fewer names, 4 has one signature."""
    less, none = two(3, 0.25), two(4)
    less.others = {"classify": less.others["classify"]}
    none.others = {}
    with Server(Settings(port=0, admin_port=0)) as made:
        furnish(made.house, two(1), two(2), less, none)
        made.start()
        made.house.traffic.on_route("two")
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


@pytest.mark.parametrize(
    ("version", "name", "result"),
    [
        (2, "classify", "agreed"),
        (2, "sort", "agreed"),
        (3, "classify", "differed"),
        (3, "sort", "failed"),  # it knows the signature by one name only
        (4, "classify", "failed"),
    ],
)
def test_a_shadow_is_asked_for_the_same_signature(server: Server, version: int, name: str, result: str) -> None:
    admin(server, "POST", "shadow", {"version": version})
    for scale in range(1, 9):
        reply = ask(server, name, [[scale * value for value in row] for row in Z])
        assert reply.json() == {"predictions": [[scale * value / 2 for value in row] for row in Z]}
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
    for name, rows in (("classify", Z), ("sort", Z), ("serving_default", X), ("serve", X), ("prediction", X)):
        assert ask(server, name, rows).status_code == 200
    assert ask(server, "nothing", X).status_code == 400
    page = requests.get(f"{server.admin_url}/metrics", timeout=20).text
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines()
             if line.startswith("setsail_signature_")}  # fmt: skip
    labels = '{{model="two",signature="{}",version="1"}}'
    assert found == {
        f"setsail_signature_{what}_total" + labels.format(name): count
        for what, counts in {"requests": (2, 2, 1), "rows": (4, 2, 1)}.items()
        for name, count in zip(("classify", "serving_default", "prediction"), counts, strict=True)
    }
