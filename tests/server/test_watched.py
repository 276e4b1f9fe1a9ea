"""A watched model from its rows to its alarms, over real ports."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from watched_server import Watched, drawn, packed, serving

from setsail.catalog import Index
from setsail.server.metrics import FAMILIES
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("loans"))


@pytest.fixture
def watched(artifact: Path) -> Iterator[Watched]:
    with serving(artifact) as found:
        yield found


def test_honest_rows_raise_nothing_and_shifted_ones_do(watched: Watched) -> None:
    watched.send(2, 1000)
    told = watched.told()
    assert told["rows"] == 1000
    assert told["windows"] >= 1
    assert not any(alarm["active"] for alarm in told["alarms"].values())
    watched.send(3, 1000, shift=1.0)
    alarms = watched.told()["alarms"]
    assert alarms["inputs"]["active"]
    assert alarms["inputs"]["features"] == ["input[1]"]
    assert alarms["outputs"]["active"]  # what it answers depends on that column


def test_one_version_is_told_alone(watched: Watched) -> None:
    watched.send(2, 600)
    told = watched.server.watching.version("loans", 1)
    assert told == watched.told()
    assert watched.server.watching.version("loans", 2) is None


def test_metrics_have_the_names_that_are_documented(watched: Watched) -> None:
    watched.send(2, 600)
    watched.predict(drawn(3, 1), "a")
    watched.feedback({"id": "a", "label": 1})
    page = watched.metrics()
    said = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    known = {f"{name}_total" if family.kind == "counter" else name for name, family in FAMILIES.items()}
    ours = {name for name in said if name.startswith(("setsail_watch", "setsail_drift", "setsail_feedback"))}
    assert ours <= known
    assert 'setsail_drift_alarm{family="inputs",model="loans",version="1"} 0.0' in page
    assert 'setsail_feedback_labels_total{model="loans",result="joined",version="1"} 1.0' in page
    assert 'setsail_drift_psi{family="outputs",feature="label",model="loans",version="1"}' in page


@pytest.mark.parametrize("path", ["/predict/loans", "/v1/models/loans:predict"])
def test_an_id_of_the_client_is_repeated_and_its_label_joined(watched: Watched, path: str) -> None:
    rows = drawn(4, 2).tolist()
    body = {"instances": rows} if ":" in path else rows
    reply = requests.post(watched.url + path, json=body, headers={"X-Request-Id": "r-1"}, timeout=30)
    assert reply.headers["x-request-id"] == "r-1"
    told = watched.feedback([{"id": "r-1", "label": [0, 1]}, {"id": "r-2", "label": 1}]).json()
    assert told == {"results": {"joined": 1, "unknown": 1}, "not_joined": {"r-2": "unknown"}}
    assert watched.told()["labels"]["count"] == 2


def test_the_id_of_the_open_inference_protocol_is_joined(watched: Watched) -> None:
    body = {"id": "oip", "inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 3], "data": [0.1, 0.2, 0.3]}]}
    reply = requests.post(f"{watched.url}/v2/models/loans/infer", json=body, timeout=30)
    assert reply.json()["id"] == "oip"
    assert watched.feedback({"ids": ["oip"], "labels": [1]}).json()["results"] == {"joined": 1}
    again = watched.feedback({"ids": ["oip"], "labels": [1]}, "/v1/models/loans/versions/1/feedback").json()
    assert again["results"] == {"duplicate": 1}


def test_feedback_that_cannot_be_is_refused(watched: Watched) -> None:
    for body in ({"id": "a"}, {"ids": ["a"], "labels": []}, [{"id": 1, "label": 1}], {"id": "a", "label": {}}, []):
        reply = watched.feedback(body)
        assert (reply.status_code, reply.json()["code"]) == (400, "request.form")
    reply = watched.feedback({"id": "a", "label": 1}, "/v1/models/nobody/feedback")
    assert (reply.status_code, reply.json()["code"]) == (404, "model.unknown")


def test_a_model_without_a_reference_is_watched_only_when_all_are(tmp_path: Path) -> None:
    path = packed(tmp_path, reference=False)
    with serving(path) as found:
        reply = requests.get(f"{found.admin}/v1/watch/loans", timeout=30)
        assert (reply.status_code, reply.json()["code"]) == (404, "watch.none")
        assert "setsail_watch" not in found.metrics()
    with serving(path, watch="all") as found:
        found.predict(drawn(4, 1), "a")
        assert found.feedback({"id": "a", "label": 1}).json()["results"] == {"joined": 1}
        assert found.told()["labels"]["count"] == 1


def test_nothing_is_noted_where_watching_is_off(artifact: Path) -> None:
    with serving(artifact, watch="off") as found:
        found.send(2, 600)
        assert found.server.house.watchers.some is False
        assert all(entry.loaded.watch is None for entry in found.server.house.table)


def test_a_version_that_is_loaded_again_goes_on_where_it_was(watched: Watched) -> None:
    watched.send(2, 300)
    house = watched.server.house
    house.load(str(house.sources["loans", 1]), "loans", 1)
    assert [status.state for status in house.answer(Index())] == ["ready"]
    watched.send(3, 100)
    assert watched.told()["rows"] == 400


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")
def test_windows_outlive_workers_that_die_and_that_are_replaced(tmp_path: Path) -> None:
    """What a worker has counted is kept where windows are, once: when it is killed, and when it ends in good order."""
    artifact = packed(tmp_path)
    with Supervisor(Settings(port=0, admin_port=0), 2) as server:
        server.open(artifact)
        server.start()
        found = Watched(server)
        found.send(2, 300)
        assert (found.told()["rows"], found.told()["windows"]) == (300, 0)
        first = server.crew.pids
        os.kill(first[0], signal.SIGKILL)
        until(lambda: len(server.crew.pids) == 2 and server.crew.pids[0] != first[0])
        assert found.told()["rows"] == 300
        found.send(3, 300)
        assert (found.told()["rows"], found.told()["windows"]) == (600, 1)  # the window that the dead one had begun
        second = server.crew.pids
        server.restart()
        until(lambda: len(server.crew.pids) == 2 and not {*second} & {*server.crew.pids})
        assert (found.told()["rows"], found.told()["windows"]) == (600, 1)
        found.send(4, 500)
        told = found.told()
        assert (told["rows"], told["windows"], told["window_rows"]) == (1100, 2, 0)
        assert not any(alarm["active"] for alarm in told["alarms"].values())


@pytest.mark.slow
def test_another_artifact_begins_anew_and_the_old_ones_rows_never_come_back(tmp_path: Path) -> None:
    artifact = packed(tmp_path)
    with Supervisor(Settings(port=0, admin_port=0), 2) as server:
        server.open(artifact)
        server.start()
        found = Watched(server)
        found.send(2, 300)
        first, digest = server.crew.pids, found.told()["digest"]
        artifact.unlink()
        packed(tmp_path, seed=9)
        server.restart()
        until(lambda: len(server.crew.pids) == 2 and not {*first} & {*server.crew.pids})
        found.send(3, 200)
        assert (found.told()["rows"], found.told()["digest"] != digest) == (200, True)
        found.send(4, 500)  # more than the old one ever counted
        assert (found.told()["rows"], found.told()["digest"] != digest) == (700, True)


def until(done: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.slow
def test_two_workers_are_one_window_and_know_each_others_ids(artifact: Path) -> None:
    with Supervisor(Settings(port=0, admin_port=0), 2) as server:
        server.open(artifact)
        server.start()
        found = Watched(server)
        for number in range(20):
            found.predict(drawn(number, 100, shift=1.0), f"r{number}")
        told = found.told()
        assert told["rows"] == 2000
        assert told["alarms"]["inputs"]["features"] == ["input[1]"]
        labels = [{"id": f"r{number}", "label": [1] * 100} for number in range(20)] + [{"id": "nobody", "label": 1}]
        assert found.feedback(labels).json()["results"] == {"joined": 20, "unknown": 1}
        assert found.told()["labels"]["results"] == {"joined": 20, "unknown": 1}
