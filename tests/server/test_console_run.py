"""The console in a real browser: numbers that move, buttons that change a route, a page that says what drifted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import chrome
import pytest
from watched_server import drawn, packed

import setsail
from setsail.server.run import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chrome.chromium() is None, reason="needs Chromium: apt install chromium"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of one model, watched."""
    folder = tmp_path_factory.mktemp("console")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(folder / "cache"))
        (folder / "loans").mkdir()
        for version in (1, 2):
            packed(folder, reference=True).rename(folder / "loans" / f"{version}.setsail")
        with setsail.serve(folder, port=0, admin_port=0, block=False, watch_rows=200) as made:
            yield made


def send(server: Server, count: int, shift: float) -> None:
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    for number in range(count):
        rows = drawn(number, 50, shift)
        connection.request("POST", "/v1/models/loans:predict", json.dumps({"instances": rows.tolist()}))
        reply = connection.getresponse()
        assert (reply.status, bool(reply.read())) == (200, True)
    connection.close()


def change(server: Server, verb: str, action: str, body: Any) -> None:
    connection = HTTPConnection(str(server.admin_url).removeprefix("http://"), timeout=30)
    connection.request(verb, f"/v1/routes/loans{action}", json.dumps(body))
    reply = connection.getresponse()
    assert reply.status == 200, reply.read()
    connection.close()


def test_numbers_move_and_charts_are_drawn(server: Server) -> None:
    with chrome.tab() as page:
        page.open(f"{server.admin_url}/")
        page.wait("document.querySelector('#traffic') && !document.querySelector('#traffic').hidden")
        for _ in range(4):
            send(server, 10, 0.0)
            time.sleep(1)
        rate = """[...document.querySelectorAll('tr[data-version] [data-cell=rate]')]
                  .some(cell => parseFloat(cell.textContent) > 0)"""
        assert page.wait(rate)
        assert page.run("document.querySelectorAll('#traffic canvas').length") == 2
        assert page.errors == []


def test_a_button_changes_the_route(server: Server) -> None:
    change(server, "PUT", "", {"weights": {"1": 100}, "who": "test"})
    change(server, "PUT", "", {"weights": {"1": 50, "2": 50}, "who": "test"})
    with chrome.tab() as page:
        page.open(f"{server.admin_url}/")
        page.wait(
            "document.querySelector('[data-act=rollback]') && !document.querySelector('[data-act=rollback]').hidden"
        )
        assert "v1 50 %, v2 50 %" in page.run("document.querySelector('#routes').innerText")
        assert page.run("document.querySelector('[data-act=promote]').disabled")
        page.run("window.confirm = () => true; document.querySelector('[data-act=rollback]').click()")
        assert page.wait("document.querySelector('#routes')?.innerText.includes('v1 100 %')")
        assert page.errors == []


def test_a_models_page_shows_its_drift(server: Server) -> None:
    change(server, "DELETE", "", {})
    with chrome.tab() as page:
        for _ in range(6):
            send(server, 10, 5.0)
            time.sleep(1.1)
        page.open(f"{server.admin_url}/docs/loans")
        page.wait("document.querySelector('svg.bins rect')")
        assert page.run("document.querySelector('[role=alert]').innerText").startswith("Alarm: inputs")
        assert page.run("document.querySelectorAll('tr.alarm').length") >= 1
        assert "parity" in page.run("document.querySelector('table.card').innerText")
        assert page.errors == []
