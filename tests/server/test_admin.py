"""The admin port: pages made from signatures, a form that predicts, metrics, load and unload."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import re
import shlex
import subprocess
import sys
import threading
from typing import Any

import httpx
import numpy as np
import pytest
from fakehouse import FakeHouse, FakeModel, gallery, iris, two
from prometheus_client.parser import text_string_to_metric_families

from setsail.monitor.meter import Meter
from setsail.routing import Routes
from setsail.server.admin import application
from setsail.server.lazy import Lazy
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

DATA = "http://127.0.0.1:8080"


def send(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8081") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


@pytest.fixture
def house() -> FakeHouse:
    return gallery()


@pytest.fixture
def app(house: FakeHouse) -> Any:
    return application(house, data_url=DATA, meter=Meter())


def form_of(page: str) -> dict[str, str]:
    """The values a browser would send if nobody touched the form."""
    filled = {n: html.unescape(v) for n, v in re.findall(r'<input [^>]*name="([^"]+)" value="([^"]*)"', page)}
    filled |= {n: html.unescape(v) for n, v in re.findall(r'<textarea [^>]*name="([^"]+)"[^>]*>([^<]*)<', page)}
    for name, options in re.findall(r'<select [^>]*name="([^"]+)">(.*?)</select>', page, re.S):
        filled[name] = (re.findall(r'value="([^"]*)" selected', options) or re.findall(r'value="([^"]*)"', options))[0]
    return filled


# -- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_list_of_models_and_wires(app: Any, path: str) -> None:
    page = send(app, "GET", path).text
    assert '<a href="/docs/iris">iris</a>' in page
    assert "loading" in page
    assert "/v2/models/{model}/infer" in page


def test_a_models_page_has_its_signature_and_curl_lines(app: Any) -> None:
    page = html.unescape(send(app, "GET", "/docs/people").text)
    assert "[N]" in page
    assert "categories: Rome, Oslo" in page
    lines = re.findall(r"<pre><code>(curl .*?)</code></pre>", page, re.S)
    assert {shlex.split(line)[1] for line in lines} == {
        f"{DATA}/predict/people", f"{DATA}/v1/models/people:predict", f"{DATA}/v2/models/people/infer",
        f"{DATA}/invocations?model_name=people", f"{DATA}/predictions/people",
    }  # fmt: skip


def test_a_version_of_a_model_has_its_own_page(app: Any) -> None:
    page = send(app, "GET", "/docs/iris?version=1").text
    assert "/docs/iris/try?version=1#try" in page
    assert "/v2/models/iris/versions/1/infer" in page
    assert send(app, "GET", "/docs/iris?version=2").headers["x-setsail-error"] == "model.version"


def test_each_signature_has_a_page_with_its_form_and_lines() -> None:
    app = application(FakeHouse(two()), data_url=DATA)
    page = html.unescape(send(app, "GET", "/docs/two").text)
    assert re.findall(r'<a href="(/docs/two[^"]*)"( aria-current="page")?>(\w+)</a>', page) == [
        ("/docs/two", ' aria-current="page"', "serving_default"),
        *((f"/docs/two?signature={name}", "", name) for name in ("classify", "prediction", "serve", "sort")),
    ]
    assert len(re.findall(r"<pre><code>curl", page)) == 5
    page = html.unescape(send(app, "GET", "/docs/two?version=1&signature=classify").text)
    assert "<code>z</code>" in page
    assert "<code>x</code>" not in page
    assert 'action="/docs/two/try?version=1&signature=classify#try"' in page
    lines = re.findall(r"<pre><code>(curl .*?)</code></pre>", page, re.S)
    bodies = [json.loads(shlex.split(line)[-1]) for line in lines]
    assert bodies == [
        {"parameters": {"signature": "classify"},
         "inputs": [{"name": "z", "shape": [1, 2], "datatype": "FP32", "data": [2.0, 4.0]}]},
        {"signature_name": "classify", "instances": [[2.0, 4.0]]},
    ]  # fmt: skip
    reply = send(app, "POST", "/docs/two/try?signature=classify", data=form_of(page))
    assert reply.status_code == 200
    found = re.findall(r"<code>scores</code></td><td>(\w+)</td><td>(.*?)</td>", reply.text)
    assert found == [("cat", "1.0"), ("dog", "2.0")]
    assert send(app, "GET", "/docs/two?signature=regress").headers["x-setsail-error"] == "model.signature"
    assert "signatures" not in send(application(FakeHouse(iris()), data_url=DATA), "GET", "/docs/iris").text


def test_pages_load_nothing_and_run_nothing(app: Any) -> None:
    reply = send(app, "GET", "/docs/iris")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in reply.text
    assert re.findall(r'(?:src|href)="(?:https?:)?//', reply.text) == []
    assert send(app, "GET", "/style.css").headers["content-type"].startswith("text/css")


def test_the_first_page_draws_what_its_own_server_counts(app: Any) -> None:
    page = send(app, "GET", "/")
    assert re.findall(r'<script[^>]*src="([^"]*)"', page.text) == ["/console.js"]
    assert "<script>" not in page.text
    assert "script-src 'self'; connect-src 'self'" in page.headers["content-security-policy"]
    assert 'data-live="/live.json"' in page.text
    assert send(app, "GET", "/console.js").headers["content-type"].startswith("text/javascript")
    assert send(app, "GET", "/console.css").headers["content-type"].startswith("text/css")
    told = json.loads(send(app, "GET", "/live.json").text)
    names = [f"{v['name']} v{v['version']}" for v in told["versions"]]
    assert names == re.findall(r'data-version="([^"]*)"', page.text)


class Watched:
    """What is known of one version."""

    def look(self, counts: Any = None) -> dict[Any, Any]:
        return {}

    def version(self, model: str, version: int) -> dict[str, Any]:
        assert (model, version) == ("iris", 1)  # no other's is made
        column = {"name": "<age>", "family": "inputs", "bins": ["low"], "reference": [4], "window": [2],
                  "scale_1": {"p": 1e-9, "psi": 0.3, "js": 0.1}}  # fmt: skip
        alarm = {"active": True, "since": 1.0, "raised": 1, "features": ["<age>"]}
        return {"rows": 1500, "windows": 3, "window_rows": 0, "reference_rows": 6000, "notes": [], "features": [column],
                "alarms": {"inputs": alarm}}  # fmt: skip


def test_a_models_page_shows_its_drift() -> None:
    watched = application(FakeHouse(iris()), data_url=DATA, watching=Watched())  # type: ignore[arg-type]
    page = send(watched, "GET", "/docs/iris").text
    assert "Alarm: inputs (&lt;age&gt;)" in page
    assert "1,500 rows noted, 3 windows tested" in page
    assert '<tr class="alarm"><td>&lt;age&gt;</td><td>inputs</td><td class="number">0.300</td>' in page


@pytest.mark.parametrize(
    "path", ["/", "/docs/iris", "/openapi.json", "/openapi/iris.json", "/live.json", "/metrics", "/v1/routes"]
)
def test_no_page_is_made_on_the_loop(path: str) -> None:
    """It is the loop that predictions come in by, and a house of several processes waits for all of them."""
    asked = set()

    class Elsewhere(FakeHouse):
        def answer(self, ask: Any, *, control: bool = False) -> Any:
            asked.add(threading.current_thread())
            return () if isinstance(ask, Routes) else super().answer(ask, control=control)

    assert send(application(Elsewhere(iris()), data_url=DATA), "GET", path).status_code == 200
    assert asked
    assert threading.main_thread() not in asked  # where `send` runs the loop


def test_a_models_page_shows_what_its_artifact_says(app: Any) -> None:
    page = send(app, "GET", "/docs/iris").text
    assert '<th scope="row">parity</th><td><div>iris: &lt;passed&gt; on 64 rows</div></td>' in page
    assert "told above" not in page  # the signature has a table of its own


def test_names_from_a_model_cannot_become_markup() -> None:
    evil = '"><script>alert(1)</script>'
    spec = TensorSpec(evil, BY_NAME["string"], ("N",), categories=(evil,), nullable=True)
    model = FakeModel("m", Signature((spec,), (spec,), (evil,)), lambda x: {evil: x[evil]}, {evil: evil})
    app = application(FakeHouse(model), data_url=DATA)
    assert "<script" not in send(app, "GET", "/docs/m").text
    assert "<script" not in send(app, "POST", "/docs/m/try", data={"input-0": evil}).text


def test_below_a_prefix_links_keep_it(house: FakeHouse) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    outer = Starlette(routes=[Mount("/admin", application(house, data_url=lambda: DATA + "/"))])
    page = send(outer, "GET", "/admin/docs/iris").text
    assert 'action="/admin/docs/iris/try#try"' in page
    assert f"{DATA}/predict/iris" in page


# -- the form ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, m in gallery().models.items() if m.state == "ready"])
def test_every_models_form_predicts_as_it_stands(app: Any, name: str) -> None:
    page = send(app, "GET", f"/docs/{name}").text
    reply = send(app, "POST", f"/docs/{name}/try", data=form_of(page))
    assert reply.status_code == 200, reply.text
    assert '<table class="answer">' in reply.text


def test_the_answer_names_the_classes(app: Any) -> None:
    filled = {f"input-{i}": str(v) for i, v in enumerate((9, 1, 1, 1))}
    page = send(app, "POST", "/docs/iris/try", data=filled).text
    assert "<td>setosa</td></tr>" in page  # the label
    assert "<td>versicolor</td>" in page  # a class of probabilities
    assert 'name="input-0" value="9"' in page  # what was typed stays


def test_an_empty_field_is_a_missing_value(app: Any) -> None:
    page = send(app, "POST", "/docs/people/try", data={"input-0": "", "input-1": "", "input-2": "2", "input-3": "true"})
    assert "<td>3.0</td>" in page.text


def test_a_fault_is_shown_with_the_form(app: Any) -> None:
    filled = {"input-0": "old", "input-1": "Rome", "input-2": "2", "input-3": "true"}
    reply = send(app, "POST", "/docs/people/try", data=filled)
    assert reply.status_code == 400
    assert "[input.dtype]" in reply.text
    assert 'value="old"' in reply.text
    assert "[request.form]" in send(app, "POST", "/docs/people/try", data={"input-0": "1"}).text
    assert "[request.json]" in send(app, "POST", "/docs/image/try", data={"input-0": "[1"}).text


def test_mixed_tensors_and_columns() -> None:
    specs = (
        TensorSpec("pixels", BY_NAME["float32"], ("N", 2)),
        TensorSpec("city", BY_NAME["string"], ("N",), nullable=True),
        TensorSpec("age", BY_NAME["float64"], ("N",), nullable=True),
        TensorSpec("scale", BY_NAME["float32"], (2,)),
    )
    out = TensorSpec("y", BY_NAME["float32"], ("N", 1, 2))
    model = FakeModel(
        "m", Signature(specs, (out,), ("y",)), lambda x: {"y": (x["pixels"] * x["scale"])[:, np.newaxis]},
        {"pixels": [1.0, 2.0], "city": None, "age": None, "scale": [2.0, 4.0]},
    )  # fmt: skip
    app = application(FakeHouse(model), data_url=DATA)
    page = send(app, "GET", "/docs/m").text
    assert "[[2.0,8.0]]" in send(app, "POST", "/docs/m/try", data=form_of(page)).text


def test_a_form_too_large_is_refused(app: Any) -> None:
    reply = send(app, "POST", "/docs/iris/try", content=b"x" * ((16 << 20) + 1))
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (413, "request.too_large")


# -- machines ----------------------------------------------------------------------------------------------------------


def test_metrics_parse_and_count(house: FakeHouse) -> None:
    meter = Meter()
    meter.answered("iris", 1, "plain", "ok", 0.002, 3)
    meter.answered("iris", 1, "plain", "ok", 99.0, 1)
    meter.answered('a"b\n', 0, "plain", "input.dtype", 0.1, 0)
    reply = send(application(house, data_url=DATA, meter=meter), "GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {f.name: f for f in text_string_to_metric_families(reply.text)}
    requests = {(s.labels["model"], s.labels["code"]): s.value for s in families["setsail_requests"].samples}
    assert requests == {("iris", "ok"): 2, ('a"b\n', "input.dtype"): 1}
    assert [s.value for s in families["setsail_rows"].samples] == [4]
    histogram = families["setsail_request_duration_seconds"].samples
    buckets = {s.labels["le"]: s.value for s in histogram if s.name.endswith("_bucket")}
    assert (buckets["0.001"], buckets["0.0025"], buckets["10.0"], buckets["+Inf"]) == (0, 1, 1, 2)
    states = {s.labels["state"]: s.value for s in families["setsail_model_versions"].samples}
    assert states["loading"] == 1
    assert states["ready"] == len(house.models) - 1


def test_health(app: Any) -> None:
    assert send(app, "GET", "/healthz").text == "ok\n"


def test_load_and_unload(app: Any, house: FakeHouse) -> None:
    assert send(app, "POST", "/models/iris/unload").json() == {"model": "iris", "versions": {"1": "gone"}}
    refused = send(app, "GET", "/docs/iris")
    assert (refused.status_code, refused.headers["x-setsail-error"]) == (503, "model.not_ready")
    assert send(app, "POST", "/models/iris/load").json()["versions"] == {"1": "ready"}
    assert send(app, "POST", "/models/nobody/load").headers["x-setsail-error"] == "model.unknown"
    assert send(app, "GET", "/models/iris/load").status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8081"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "[::1"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/models/iris/unload", "/models/iris/load", "/docs/iris/try"])
def test_other_sites_change_nothing(app: Any, house: FakeHouse, path: str, headers: dict[str, str]) -> None:
    reply = send(app, "POST", path, headers=headers)
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (403, "admin.origin")
    assert house.asks == []


@pytest.mark.parametrize(
    "headers",
    [{"host": "localhost:8081"}, {"host": "[::1]:8081"}, {"host": "ops.example"},
     {"host": "127.0.0.1:8081", "origin": "http://127.0.0.1:8081", "sec-fetch-site": "same-origin"}],
    ids=str,
)  # fmt: skip
def test_its_own_names_are_welcome(house: FakeHouse, headers: dict[str, str]) -> None:
    app = application(house, data_url=DATA, hosts=["ops.example"])
    assert send(app, "POST", "/models/iris/unload", headers=headers).status_code == 200


def test_an_unexpected_exception_stays_in_the_log(house: FakeHouse, caplog: pytest.LogCaptureFixture) -> None:
    house.models["iris"].example = None  # type: ignore[assignment]
    app = application(house, data_url=DATA)
    with caplog.at_level(logging.ERROR, "setsail.server"):
        reply = send(app, "GET", "/docs/iris")
    assert (reply.status_code, reply.headers["x-setsail-error"]) == (500, "server.fault")
    assert "TypeError" not in reply.text
    assert "TypeError" in caplog.text
    assert reply.headers["x-setsail-error-id"] in caplog.text


# -- lazy --------------------------------------------------------------------------------------------------------------


def test_lazy_imports_on_the_first_request() -> None:
    code = (
        "import sys, setsail.server.lazy as l; l.Lazy('setsail.server.admin:application', None, data_url='')\n"
        "print('starlette' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_lazy_serves_what_it_stands_for(house: FakeHouse) -> None:
    app = Lazy("setsail.server.admin:application", house, data_url=DATA)
    assert send(app, "GET", "/healthz").text == "ok\n"
    assert send(app, "GET", "/healthz").status_code == 200


def test_lazy_answers_the_lifespan_itself() -> None:
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> Any:
        return next(incoming)

    async def collect(event: Any) -> None:
        sent.append(event["type"])

    asyncio.run(Lazy("no.such:thing")({"type": "lifespan"}, receive, collect))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# -- for tools ---------------------------------------------------------------------------------------------------------


def test_the_document_of_all_models_and_of_one(app: Any) -> None:
    doc = send(app, "GET", "/openapi.json").json()
    assert doc["openapi"] == "3.1.0"
    assert doc["servers"] == [{"url": DATA}]
    assert "iris.plain.request" in doc["components"]["schemas"]
    assert not any("sleepy" in name for name in doc["components"]["schemas"])  # it is not ready
    one = send(app, "GET", "/openapi/iris.json?version=1").json()
    assert one["info"]["title"] == "iris"
    assert "/predict/iris" in one["paths"]
    assert send(app, "GET", "/openapi/nobody.json").headers["x-setsail-error"] == "model.unknown"
    assert 'href="/openapi.json"' in send(app, "GET", "/docs").text
    assert 'href="/openapi/iris.json"' in send(app, "GET", "/docs/iris").text
