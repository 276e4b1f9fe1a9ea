"""`setsail route`, `canary`, `shadow`, `promote`, `rollback`: against a server that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression

import setsail
from setsail.cli.root import main
from setsail.server.run import Server
from setsail.server.settings import Settings

X = np.arange(40.0).reshape(20, 2) % 7


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "line").mkdir()
    setsail.pack(LinearRegression().fit(X, X[:, 0]), X, name="line", output=folder / "line/1.setsail").close()
    (folder / "line/2.setsail").write_bytes((folder / "line/1.setsail").read_bytes())
    with Server(Settings(port=0, admin_port=0, watch="all")) as made:
        made.open(folder)
        yield made.start()


def run(server: Server, *words: str) -> tuple[int, Any, str]:
    """Exit code, the JSON document or the text, and what was said beside."""
    url = () if "--url" in words else ("--url", str(server.admin_url))
    done = CliRunner().invoke(main, [*words, *url])
    text = done.stdout
    return done.exit_code, json.loads(text) if "--json" in words else text, done.stderr


def test_a_route_is_made_shown_and_taken_back(server: Server) -> None:
    code, text, beside = run(server, "route", "line", "v1=90", "2=10", "--sticky", "header:X-User", "--why", "slowly")
    assert code == 0
    assert "line: v1=90 v2=10 sticky by header:x-user" in text
    assert "setsail rollback line" in beside
    code, told, beside = run(server, "route", "line", "--json")
    assert (code, beside) == (0, "")
    assert told["route"]["weights"] == {"1": 90.0, "2": 10.0}
    assert told["history"][0]["why"] == "slowly"
    assert told["history"][0]["who"]
    assert run(server, "rollback", "line", "--json")[1]["route"] is None
    assert "no route; v2 answers" in run(server, "route", "line")[1]


def test_promoting_a_canary(server: Server) -> None:
    code, text, _ = run(server, "promote", "line", "v1")
    assert (code, "line: v1=100" in text) == (0, True)
    code, text, _ = run(server, "canary", "line", "v2", "--weight", "10", "--budget", "0.5", "--manual", "--labels")
    assert code == 0
    assert "canary v2 against v1: wait" in text
    assert "latency" in text
    assert "label" in text
    assert run(server, "promote", "line", "--json")[1]["route"]["weights"] == {"2": 100.0}
    assert run(server, "route", "line", "--clear", "--json")[1]["route"] is None


def test_a_shadow(server: Server) -> None:
    run(server, "promote", "line", "v1")
    code, text, beside = run(server, "shadow", "line", "v2")
    assert code == 0
    assert "shadow v2: 0 agreed, 0 differed, 0 failed, 0 dropped" in text
    assert "setsail canary line v2" in beside
    assert run(server, "shadow", "line", "--end", "--json")[1]["route"]["shadows"] == {}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("route", "nobody", "v1=1"), "model.unknown"),
        (("route", "line", "v9=1"), "model.version"),
        (("route", "line", "v1=many"), "route.value"),
        (("route", "line", "v1=1", "1=2"), "route.value"),
        (("route", "line", "first=1"), "route.value"),
        (("route", "line", "v1=1", "--sticky", "cookie:a"), "route.value"),
        (("route", "line", "v1=1", "--clear"), "command.usage"),
        (("route", "line", "--sticky", "header:a"), "command.usage"),
        (("shadow", "line"), "command.usage"),
        (("canary", "line", "v2", "--weight", "0"), "route.value"),
        (("route", "line", "--url", "http://127.0.0.1:9"), "command.system"),
    ],
)
def test_what_is_refused(server: Server, words: tuple[str, ...], code: str) -> None:
    exit_code, told, _ = run(server, *words, "--json")
    assert exit_code > 0
    assert told["error"]["code"] == code


def test_a_refusal_reads_as_the_server_said_it(server: Server) -> None:
    _, _, beside = run(server, "route", "line", "v9=1")
    assert "model 'line' has no version 9; got 9; expected one of 1, 2 [model.version]" in beside
