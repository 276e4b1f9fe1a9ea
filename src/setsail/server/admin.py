"""The admin port: the console, docs with a try-it form, metrics, load and unload. A Starlette application.

It listens on loopback unless told otherwise. Requests that change something, and the form, must name this server as
their Host and, where a browser says where they come from, come from its own pages: a page elsewhere cannot drive it,
nor can a name that was re-bound to 127.0.0.1.
"""

from __future__ import annotations

import ipaddress
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection
from importlib import import_module
from importlib.resources import files
from inspect import iscoroutinefunction
from time import time
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from setsail.catalog import Card, Index, Load, Metadata, ModelMetadata, Unload
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request
from setsail.monitor.meter import Meter
from setsail.protocols import plain
from setsail.protocols.curl import curl_lines
from setsail.protocols.open_inference.server import server_version
from setsail.protocols.routes import model_ref
from setsail.protocols.table import DATA, Table
from setsail.protocols.values import dump
from setsail.routing import Routes
from setsail.server import console
from setsail.server.dispatch import Answering
from setsail.server.forms import answer_rows, body, fields, received, sent
from setsail.server.live import live
from setsail.server.metrics import CONTENT_TYPE, Counted, Metrics
from setsail.server.route_pages import RoutePages, document
from setsail.server.watched import Watching
from setsail.signature import DEFAULT, TensorSpec

__all__ = ["Admin", "application"]

_LOG = logging.getLogger("setsail.server")
_Handler = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]
_OPENAPI: Final = "setsail.protocols.openapi"  # few who open these pages ask for it
_MAX_FORM: Final = 16 << 20  # a photograph
_FOLDER: Final = files("setsail.server") / "pages"
_FILES: Final = {"style.css": "text/css", "console.css": "text/css", "console.js": "text/javascript"}
_PAGES: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    # not no-referrer, with which browsers send `Origin: null` even to the page's own server
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


def application(
    house: Answering,
    *,
    data_url: str | Callable[[], str],
    meter: Counted | None = None,
    triton: bool = False,
    hosts: Collection[str] = (),
    keyed: bool = False,
    table: Callable[[], Table] = lambda: DATA,
    watching: Watching | None = None,
) -> Starlette:
    """The admin application.

    Args:
        data_url: where the data port is, for the curl lines; a callable where the port is known only later.
        meter: what the data port counts.
        triton: whether /metrics also has Triton's names.
        hosts: names besides loopback that the Host header of a changing request may have.
        keyed: whether the data port asks for an API key, which the curl lines then send.
        table: makes the paths of the data port.
        watching: knows what is watched; without one nothing is.
    """
    allowed = frozenset(h.lower() for h in hosts)
    return Admin(house, data_url, meter or Meter(), allowed, keyed, triton, table(), watching).starlette()


class Admin:
    """The handlers, over one house."""

    def __init__(
        self,
        house: Answering,
        data_url: str | Callable[[], str],
        meter: Counted,
        hosts: frozenset[str],
        keyed: bool,
        triton: bool,
        table: Table = DATA,
        watching: Watching | None = None,
    ) -> None:
        self._house = house
        self._data_url = data_url
        self._hosts = hosts
        self._keyed = keyed
        self._table = table
        self._meter = meter
        names = ("setsail", "triton") if triton else ("setsail",)
        self._metrics = Metrics(meter, lambda: self._ask(Index()), names=names, watching=watching)
        self._watching = watching
        self._pages = Environment(
            loader=PackageLoader("setsail.server", "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def starlette(self) -> Starlette:
        rows: list[tuple[str, str, _Handler]] = [
            ("GET", "/", self._models),
            ("GET", "/docs", self._models),
            ("GET", "/docs/{model}", self._model),
            ("POST", "/docs/{model}/try", self._try),
            ("GET", "/openapi.json", self._openapi),
            ("GET", "/openapi/{model}.json", self._openapi_of),
            ("GET", "/metrics", self._metrics_page),
            ("GET", "/v1/watch", self._watch),
            ("GET", "/v1/watch/{model}", self._watch),
            ("GET", "/healthz", self._health),
            ("GET", "/live.json", self._live),
            *RoutePages(self._ask, self._meter.snapshot, self._check_origin).rows(),
            *((("GET", f"/{name}", _file(name, kind))) for name, kind in _FILES.items()),
            ("POST", "/models/{model}/load", self._load),
            ("POST", "/models/{model}/unload", self._unload),
        ]
        routes = [Route(path, _guarded(handler), methods=[method]) for method, path, handler in rows]
        return Starlette(routes=routes)

    def _ask(self, ask: Any) -> Any:
        return self._house.answer(ask, control=True)

    def _page(self, request: HttpRequest, name: str, status: int = 200, **values: Any) -> HttpResponse:
        base = request.scope.get("root_path", "").rstrip("/")
        text = self._pages.get_template(name).render(base=base, data_url=self._url(), **values)
        return HTMLResponse(text, status, _PAGES)

    def _url(self) -> str:
        return (self._data_url() if callable(self._data_url) else self._data_url).rstrip("/")

    # -- pages ---------------------------------------------------------------------------------------------------

    def _models(self, request: HttpRequest) -> HttpResponse:
        counts = self._meter.snapshot()
        routed = [document(one, counts) for one in self._ask(Routes(""))]
        told = [(one, console.route_text(one)) for one in routed if console.interesting(one)]
        return self._page(request, "models.html", rows=self._ask(Index()), routes=self._table.routes, routed=told)

    def _model(self, request: HttpRequest) -> HttpResponse:
        return self._model_page(request, self._metadata(request))

    async def _try(self, request: HttpRequest) -> HttpResponse:
        self._check_origin(request)
        form = await received(request.stream(), _MAX_FORM, "form")
        return await run_in_threadpool(self._tried, request, form)

    def _tried(self, request: HttpRequest, form: bytes) -> HttpResponse:
        """Predict with what the form holds; a fault is shown above the form, which keeps what was typed."""
        meta = self._metadata(request)
        name, one = _meant(request, meta)
        filled = sent(one, form, request.headers.get("content-type", ""))
        try:
            response = self._ask(Request(ModelRef(meta.name, meta.version), body(one.signature, filled), None, name))
        except SetsailError as fault:
            return self._model_page(request, meta, fault.family.http, filled=filled, error=str(fault))
        return self._model_page(request, meta, filled=filled, answer=answer_rows(response))

    def _metadata(self, request: HttpRequest) -> ModelMetadata:
        version = request.query_params.get("version")
        named = {"model": request.path_params["model"]} | ({"version": version} if version else {})
        meta: ModelMetadata = self._ask(Metadata(model_ref(named)))
        return meta

    def _model_page(
        self,
        request: HttpRequest,
        meta: ModelMetadata,
        status: int = 200,
        *,
        filled: dict[str, str] | None = None,
        error: str = "",
        answer: list[tuple[str, str, str]] | None = None,
    ) -> HttpResponse:
        pinned = "version" in request.query_params
        version = str(meta.version) if pinned else ""
        name, one = _meant(request, meta)
        other = "" if one is meta else name
        lines = curl_lines(one, self._url(), pinned=pinned, keyed=self._keyed, signature=other)
        sides = (("input", one.signature.inputs), ("output", one.signature.outputs))
        return self._page(
            request,
            "model.html",
            status,
            meta=meta,
            pinned=pinned,
            asked=name,
            others=[
                (DEFAULT, _query(version=version)),
                *((n, _query(version=version, signature=n)) for n in meta.others),
            ],
            query=_query(version=version, signature=other),
            signature=[(side, spec, _notes(spec, one)) for side, specs in sides for spec in specs],
            fields=fields(one, filled),
            lines=[(wire.title, lines[wire.name]) for wire in self._table.wires if wire.name in lines],
            error=error,
            answer=answer,
            card=self._ask(Card(ModelRef(meta.name, meta.version))),
            drift=None if other else self._drift(meta),
        )

    # -- machines ------------------------------------------------------------------------------------------------

    def _drift(self, meta: ModelMetadata) -> dict[str, Any] | None:
        """What is known of a version that is watched, and its columns as they are drawn."""
        if self._watching is None:
            return None
        found = self._watching.version(meta.name, meta.version)
        return None if found is None else found | {"shown": console.features(found)}

    def _openapi(self, request: HttpRequest) -> HttpResponse:
        names = dict.fromkeys(status.name for status in self._ask(Index()) if status.ready)
        return self._document([self._ask(Metadata(ModelRef(name))) for name in names], only=False)

    def _openapi_of(self, request: HttpRequest) -> HttpResponse:
        return self._document([self._metadata(request)], only=True)

    def _document(self, models: list[ModelMetadata], *, only: bool) -> HttpResponse:
        made = import_module(_OPENAPI).document(
            self._table.routes, models, url=self._url(), version=server_version(), only=only, keyed=self._keyed
        )
        return JSONResponse(made, headers={"cache-control": "no-store"})

    def _live(self, request: HttpRequest) -> HttpResponse:
        told = live(self._meter.snapshot(), self._ask(Index()), time())
        return JSONResponse(told, headers={"cache-control": "no-store"})

    def _metrics_page(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(self._metrics.text(), media_type=CONTENT_TYPE)

    def _watch(self, request: HttpRequest) -> HttpResponse:
        """What is known of a watched model, or of all."""
        model = request.path_params.get("model", "")
        if self._watching is None:
            raise SetsailError("watch.none", "nothing is watched here", field="model", value=model)
        return HttpResponse(
            dump(self._watching.report(model)), media_type="application/json", headers={"cache-control": "no-store"}
        )

    async def _health(self, request: HttpRequest) -> HttpResponse:
        return PlainTextResponse("ok\n")

    def _load(self, request: HttpRequest) -> HttpResponse:
        self._check_origin(request)
        return self._control(Load(request.path_params["model"]))

    def _unload(self, request: HttpRequest) -> HttpResponse:
        self._check_origin(request)
        return self._control(Unload(request.path_params["model"]))

    def _control(self, ask: Load | Unload) -> HttpResponse:
        self._ask(ask)
        states = {str(s.version): s.state for s in self._ask(Index()) if s.name == ask.name}
        return JSONResponse({"model": ask.name, "versions": states})

    # -- who may change something --------------------------------------------------------------------------------

    def _check_origin(self, request: HttpRequest) -> None:
        """Raises `admin.origin`."""
        host = request.headers.get("host", "")
        if not self._is_own(host):
            raise SetsailError("admin.origin", "the Host header names another server", field="host", value=host)
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise SetsailError("admin.origin", "the request comes from another site", field="origin", value=origin)
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise SetsailError("admin.origin", "the request comes from another site", field="sec-fetch-site")

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost" or name in self._hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _meant(request: HttpRequest, meta: ModelMetadata) -> tuple[str, ModelMetadata]:
    """The signature that the query names, and what it takes and gives. Raises `model.signature`."""
    name = request.query_params.get("signature") or DEFAULT
    if name == DEFAULT:
        return name, meta
    if name not in meta.others:
        raise SetsailError("model.signature", f"model {meta.name!r} has no signature {name!r}", field="signature",
                           value=name, expected=", ".join((DEFAULT, *meta.others)))  # fmt: skip
    return name, meta.others[name]


def _query(**given: str) -> str:
    told = urlencode({key: value for key, value in given.items() if value})
    return f"?{told}" if told else ""


def _guarded(handler: _Handler) -> Callable[[HttpRequest], Any]:
    """Faults as JSON with their code; what nobody planned for as an id, its details in the log.

    The loop may be the one that predictions come in by: what asks, counts or renders is a plain function, and runs in a
    thread.
    """
    waits = iscoroutinefunction(handler)

    async def call(request: HttpRequest) -> HttpResponse:
        try:
            found = handler(request) if waits else await run_in_threadpool(handler, request)
            return await found if isinstance(found, Awaitable) else found
        except SetsailError as known:
            fault = known
        except Exception:
            error_id = uuid.uuid4().hex[:12]
            _LOG.exception("error %s on the admin port", error_id)
            fault = SetsailError("server.fault", f"the server failed (error {error_id})", id=error_id)
        reply = plain.WIRE.render_error(fault)
        return HttpResponse(reply.body, reply.status, dict(reply.headers))

    return call


def _file(name: str, kind: str) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    """A file beside the pages."""

    async def call(request: HttpRequest) -> HttpResponse:
        return PlainTextResponse(
            (_FOLDER / name).read_text("utf-8"), headers={"cache-control": "max-age=3600"}, media_type=kind
        )

    return call


def _notes(spec: TensorSpec, meta: ModelMetadata) -> str:
    notes = [
        f"{what}: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}"
        for what, names in (("columns", spec.columns), ("categories", spec.categories), ("labels", spec.labels))
        if names
    ]
    if spec.closed:
        notes.append("no other values")
    if spec.name in meta.signature.defaults and spec in meta.signature.outputs:
        notes.append("default")
    return "; ".join(notes)
