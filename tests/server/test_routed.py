"""Two versions on a running server: what clients get while routes change, in one process and in two."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import setsail
from setsail.messages import ModelRef, Request, Rows
from setsail.routing import Reroute, Sticky
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor

X = np.arange(40.0).reshape(20, 2) % 7


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version n of `line` answers x0 + x1 + n; version 3 takes one column more, so it refuses what the others take."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "line").mkdir()
    for version in (1, 2):
        model = LinearRegression().fit(X, X @ [1.0, 1.0] + version)
        setsail.pack(model, X, name="line", version=version, output=folder / f"line/{version}.setsail").close()
    wide = np.hstack([X, X[:, :1] ** 2])
    model = LinearRegression().fit(wide, wide @ [1.0, 1.0, 1.0])
    setsail.pack(model, wide, name="line", version=3, output=folder / "line/3.setsail").close()
    return folder


@pytest.fixture
def server(models: Path) -> Iterator[Server]:
    with Server(Settings(port=0, admin_port=0)) as made:
        made.open(models)
        made.start()
        admin(made, "PUT", "", {"weights": {"1": 1}})
        yield made


def admin(server: Any, method: str = "GET", action: str = "", body: Any = None, model: str = "line") -> Any:
    url = f"{server.admin_url}/v1/routes/{model}" + (f"/{action}" if action else "")
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=20) as reply:
            return json.loads(reply.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())["code"]


class Client:
    """One connection; `ask` says which version answered, or the status."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(url.partition("://")[2], timeout=20)

    def ask(self, path: str = "/v1/models/line:predict", row: Any = (1.0, 2.0), **headers: str) -> int:
        self._connection.request("POST", path, json.dumps({"instances": [list(row)]}), headers)
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            return reply.status
        return round(json.loads(body)["predictions"][0] - sum(row))

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    made = Client(server.url)
    yield made
    made.close()


def ask(client: Client, times: int, **more: Any) -> Counter[int]:
    return Counter(client.ask(**more) for _ in range(times))


def test_weights_hold(server: Server, client: Client) -> None:
    told = admin(server, "PUT", "", {"weights": {"1": 90, "2": 10}, "who": "me", "why": "slowly"})
    assert told["route"]["weights"] == {"1": 90.0, "2": 10.0}
    assert (told["history"][0]["who"], told["history"][0]["why"]) == ("me", "slowly")
    found = ask(client, 300)
    assert found[1] + found[2] == 300
    assert abs(found[2] - 30) <= 3


def test_who_names_a_version_gets_it(server: Server, client: Client) -> None:
    admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}})
    server.house.label("line", "old", 1)
    assert {client.ask("/v1/models/line/versions/2:predict") for _ in range(20)} == {2}
    assert {client.ask("/v1/models/line/labels/old:predict") for _ in range(20)} == {1}


def test_a_name_without_a_route_is_found_as_ever(server: Server) -> None:
    """What a request pays for routes where there is none: nothing, it never leaves the table's own way."""
    ref = ModelRef("line")
    server.house.table.find(ref)
    assert ref in server.house.table.found  # one version, nothing beside it: as good as none
    admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}})
    server.house.table.find(ref)
    assert ref not in server.house.table.found
    admin(server, "DELETE")
    server.house.table.find(ref)
    assert ref in server.house.table.found


def test_a_header_keeps_a_client_on_its_version(server: Server, client: Client) -> None:
    admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}, "sticky": "header:X-User"})
    first = {user: client.ask(**{"x-user": user}) for user in map(str, range(40))}
    assert Counter(first.values())[1] > 5
    assert Counter(first.values())[2] > 5
    again = {user: client.ask(**{"X-USER": user}) for user in first}
    assert again == first
    admin(server, "PUT", "", {"weights": {"1": 30, "2": 70}})  # the key stays what it was
    then = {user: client.ask(**{"x-user": user}) for user in first}
    assert {(first[user], then[user]) for user in first} <= {(1, 1), (2, 2), (1, 2)}
    assert len(ask(client, 40)) == 2  # who has no such header goes by the shares


def test_metadata_of_a_call_is_its_headers(server: Server, client: Client) -> None:
    grpc = pytest.importorskip("tritonclient.grpc")
    admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}, "sticky": "header:x-user"})
    first = {user: client.ask(**{"x-user": user}) for user in map(str, range(20))}
    rows = grpc.InferInput("input", [1, 2], "FP64")
    rows.set_data_from_numpy(np.array([[1.0, 2.0]]))
    with grpc.InferenceServerClient(server.grpc_target) as caller:
        told = {user: caller.infer("line", [rows], headers={"x-user": user}) for user in first}
    assert {user: int(answer.get_response().model_version) for user, answer in told.items()} == first


def test_googles_engine_knows_the_metadata_too(models: Path) -> None:
    grpc = pytest.importorskip("tritonclient.grpc")
    settings = Settings(port=0, admin_port=-1, grpc_engine="grpcio", grpc_port=0)
    with Server(settings) as made:
        made.open(models)
        made.start()
        made.house.answer(Reroute("line", "route", {1: 50, 2: 50}, Sticky("header", "x-user")))
        first = spread(made, "x-user")
        rows = grpc.InferInput("input", [1, 2], "FP64")
        rows.set_data_from_numpy(np.array([[1.0, 2.0]]))
        with grpc.InferenceServerClient(made.grpc_target) as caller:
            told = {user: caller.infer("line", [rows], headers={"x-user": user}) for user in first}
    assert set(first.values()) == {1, 2}
    assert {user: int(answer.get_response().model_version) for user, answer in told.items()} == first


def test_another_server_that_carries_the_application_knows_the_headers_too(server: Server, models: Path) -> None:
    admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}, "sticky": "header:x-user"})
    first = spread(server, "x-user")
    app = setsail.asgi(models)
    try:
        app.house.answer(Reroute("line", "route", {1: 50, 2: 50}, Sticky("header", "x-user")))
        told = {user: asyncio.run(mounted(app, {"x-user": user})) for user in first}
        shares = Counter(asyncio.run(mounted(app, {})) for _ in range(20))
    finally:
        app.close()
    assert told == first
    assert abs(shares[1] - 10) <= 2


async def mounted(app: Any, headers: dict[str, str]) -> int:
    """Who answers in an ASGI server."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
        reply = await client.post("/v1/models/line:predict", json={"instances": [[1.0, 2.0]]}, headers=headers)
    return round(reply.json()["predictions"][0] - 3)


def test_an_input_keeps_a_client_on_its_version(server: Server, client: Client) -> None:
    admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}, "sticky": "input:0"})
    found = {first: {client.ask(row=(first, other)) for other in range(4)} for first in range(30)}
    assert all(len(versions) == 1 for versions in found.values())
    assert {next(iter(versions)) for versions in found.values()} == {1, 2}
    key = next(first for first, versions in found.items() if versions == {2})
    csv = urllib.request.Request(f"{server.url}/invocations", f"{key}.0,5\n".encode(), {"content-type": "text/csv"})
    with urllib.request.urlopen(csv, timeout=20) as reply:
        assert json.loads(reply.read()) == [pytest.approx(key + 5 + 2)]  # the same key by another wire
    assert client.ask(row=(1.0,)) == 400  # no key, and its own fault
    assert admin(server, "PUT", "", {"weights": {"1": 1}, "sticky": "input:customer"}) == (400, "route.value")


def test_changes_under_load_lose_nothing_and_count_at_once(server: Server) -> None:
    stop, found, faults = threading.Event(), Counter[int](), []

    def load() -> None:
        mine = Client(server.url)
        try:
            while not stop.is_set():
                found[mine.ask()] += 1
        except Exception as fault:
            faults.append(fault)
        finally:
            mine.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    probe = Client(server.url)
    try:
        for _ in range(6):
            admin(server, "POST", "promote", {"version": 2})
            assert {probe.ask() for _ in range(5)} == {2}
            admin(server, "POST", "rollback", {})
            assert {probe.ask() for _ in range(5)} == {1}
            admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}})
            time.sleep(0.02)
            admin(server, "POST", "rollback", {})
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        probe.close()
    assert faults == []
    assert set(found) == {1, 2}
    assert sum(found.values()) > 100


def test_a_shadow_touches_no_answer(server: Server, client: Client) -> None:
    admin(server, "POST", "shadow", {"version": 2})
    told = admin(server, "POST", "shadow", {"version": 3})
    assert told["route"]["weights"] == {"1": 100.0}
    for number in range(30):
        assert client.ask(row=(number, 1.0)) == 1
    until(lambda: sum(shadows(server)["2"].values()) >= 30 and sum(shadows(server)["3"].values()) >= 30)
    assert shadows(server)["2"]["differed"] > 0  # its answers are larger by one
    assert shadows(server)["2"]["agreed"] == shadows(server)["2"]["failed"] == 0
    assert shadows(server)["3"]["failed"] > 0  # it takes a column more
    page = metrics(server)
    assert 'setsail_shadow_requests_total{model="line",result="differed",shadow="2",version="1"}' in page
    admin(server, "POST", "shadow", {})
    assert admin(server)["route"]["shadows"] == {}


def shadows(server: Any) -> dict[str, dict[str, int]]:
    found = admin(server)["route"]["shadows"]
    return {version: {key: n for key, n in told.items() if key != "seconds"} for version, told in found.items()}


def test_a_shadow_that_answers_alike_agrees(server: Server, client: Client) -> None:
    admin(server, "PUT", "", {"weights": {"2": 1}})
    server.house.load(server.house.sources["line", 2], "line", 4)
    admin(server, "POST", "shadow", {"version": 4})
    for number in range(10):
        assert client.ask(row=(number, 1.0)) == 2
    until(lambda: shadows(server)["4"]["agreed"] > 0)
    assert shadows(server)["4"]["differed"] == 0
    server.house.unload("line", 4, forget=True)
    assert client.ask() == 2
    until(lambda: shadows(server)["4"]["away"] > 0)


def test_a_canary_that_fails_is_stopped_by_itself(
    server: Server, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    server.house.traffic.on_route("line")  # the judge is there from the first route on
    with caplog.at_level(logging.INFO, "setsail.audit"):
        told = admin(server, "POST", "canary", {"version": 3, "percent": 20, "who": "me"})
        assert told["route"]["canary"]["decision"] == "wait"
        found: Counter[int] = Counter()

        def stopped() -> bool:
            found.update(ask(client, 20))
            return bool(admin(server)["history"][0]["who"] == "canary")

        until(stopped)
    assert found[1] > found[400] > 0
    told = admin(server)
    assert told["route"]["weights"] == {"1": 100.0}
    assert told["history"][0]["what"] == "rollback"
    assert "error 1 against 0" in told["history"][0]["why"]
    lines = [json.loads(record.message) for record in caplog.records if record.name == "setsail.audit"]
    assert [(line["what"], line["who"], line["to"]) for line in lines] == [
        ("canary", "me", "v1=80 v3=20 canary"), ("rollback", "canary", "v1=100"),
    ]  # fmt: skip
    assert ask(client, 20) == {1: 20}


def test_a_canary_that_does_well_is_promoted_by_itself(server: Server, client: Client) -> None:
    admin(server, "POST", "canary", {"version": 2, "percent": 50, "allowed": 0.2, "budget": 5})

    def promoted() -> bool:
        ask(client, 50)
        return bool(admin(server)["history"][0]["who"] == "canary")

    until(promoted)
    assert admin(server)["route"]["weights"] == {"2": 100.0}
    assert admin(server)["history"][0]["what"] == "promote"


def test_a_canary_that_only_tells(server: Server, client: Client) -> None:
    admin(server, "POST", "canary", {"version": 2, "percent": 50, "allowed": 0.3, "automatic": False})
    ask(client, 100)
    canary = admin(server)["route"]["canary"]
    assert canary["decision"] == "promote"
    assert canary["metrics"]["error"]["pairs"] > 40
    assert admin(server)["route"]["weights"] == {"1": 50.0, "2": 50.0}


def test_a_route_that_is_in_force_at_the_start(models: Path) -> None:
    with Server(Settings(port=0, admin_port=0, route="line:v1=50+v2=50+header:user")) as made:
        made.open(models)
        made.start()
        told = admin(made)
        assert told["route"]["weights"] == {"1": 50.0, "2": 50.0}
        assert told["route"]["sticky"] == "header:user"
        admin(made, "POST", "promote", {"version": 1})
        assert str(made.house.table.models["line"].routing.route) == "v1=100 sticky header:user"


@pytest.mark.parametrize(
    ("route", "code"),
    [
        ("line:v9=1", "model.version"),
        ("other:v1=1", "model.unknown"),
        ("line", "setting.value"),
        ("line:v1", "setting.value"),
    ],
)
def test_a_start_that_is_refused(models: Path, route: str, code: str) -> None:
    with Server(Settings(port=0, admin_port=-1, route=route)) as made:
        made.open(models / "line/1.setsail")
        with pytest.raises(setsail.SetsailError) as refused:
            made.start()
    assert refused.value.code == code


def test_what_is_refused(server: Server) -> None:
    assert admin(server, model="nobody") == (404, "model.unknown")
    assert admin(server, "PUT", "", {"weights": {"1": 1}, "after": 77}) == (409, "route.conflict")
    assert admin(server, "PUT", "", {"weights": {"9": 1}}) == (404, "model.version")
    assert admin(server, "PUT", "", {"weights": {"x": 1}}) == (400, "route.value")
    assert admin(server, "PUT", "", {"weights": {"1": 1}, "sticky": "cookie"}) == (400, "route.value")
    assert admin(server, "PUT", "", {"weight": {"1": 1}}) == (400, "request.form")
    assert admin(server, "POST", "promote", {}) == (409, "route.nothing")
    bad = urllib.request.Request(f"{server.admin_url}/v1/routes/line", b"{}", {"origin": "http://evil"}, method="PUT")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(bad, timeout=20)
    assert json.loads(refused.value.read())["code"] == "admin.origin"
    refused.value.close()
    with pytest.raises(setsail.SetsailError) as locked:
        server.house.answer(Reroute("line", "promote", version=2), control=False)
    assert locked.value.code == "control.refused"


def test_a_version_of_a_route_that_goes_leaves_its_share_to_the_others(server: Server, client: Client) -> None:
    admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}})
    server.house.unload("line", 1)
    assert ask(client, 20) == {2: 20}
    server.house.unload("line", 2)
    assert ask(client, 5) == {503: 5}  # version 3 answers, but it is not in the route
    assert server.house.predict(Request(ModelRef("line", 3), Rows([[1.0, 2.0, 3.0]]))).version == 3


def metrics(server: Any) -> str:
    with urllib.request.urlopen(f"{server.admin_url}/metrics", timeout=20) as reply:
        return str(reply.read().decode())


def until(done: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


# -- several processes -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")
def test_every_worker_has_the_same_route_and_one_decides(models: Path) -> None:
    made = Supervisor(Settings(port=0, admin_port=0), 2)
    made.open(models)
    with made as server:
        server.start()
        admin(server, "PUT", "", {"weights": {"1": 50, "2": 50}, "sticky": "header:user"})
        first = spread(server)
        assert set(first.values()) == {1, 2}
        os.kill(server.crew.pids[1], signal.SIGKILL)
        until(lambda: len(server.crew.pids) == 1)
        until(lambda: len(server.crew.pids) == 2)
        assert spread(server) == first  # the one that came later has it too
        admin(server, "PUT", "", {"weights": {"1": 1}, "sticky": ""})
        assert set(spread(server).values()) == {1}
        admin(server, "POST", "canary", {"version": 3, "percent": 30})

        def stopped() -> bool:
            spread(server)
            return bool(admin(server)["history"][0]["who"] == "canary")

        until(stopped)
        told = admin(server)
        assert told["route"]["weights"] == {"1": 100.0}
        assert [change["what"] for change in told["history"]] == ["rollback", "canary", "route", "route"]
        assert set(spread(server).values()) == {1}


def spread(server: Any, header: str = "user") -> dict[str, int]:
    """Who answers whom, each asked on a connection of its own: some worker's."""
    found = {}
    for user in map(str, range(24)):
        mine = Client(server.url)
        found[user] = mine.ask(**{header: user})
        mine.close()
    return found
