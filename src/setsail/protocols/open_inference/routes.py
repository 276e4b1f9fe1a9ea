"""The protocol's paths, for each server that speaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from setsail.errors import SetsailError
from setsail.protocols.http import HttpRequest
from setsail.protocols.open_inference import dialects, metadata
from setsail.protocols.open_inference.dialects import Dialect
from setsail.protocols.open_inference.health import Health
from setsail.protocols.open_inference.infer import infer, infer_any_name
from setsail.protocols.open_inference.refusals import refuse_operation
from setsail.protocols.open_inference.repository import Repository
from setsail.protocols.routes import Exchange, Params, Route

__all__ = ["KSERVE", "MLSERVER", "ROUTES", "TRITON"]

Decode = Callable[[HttpRequest, Params], Exchange]
_Row = tuple[str, str, Decode, str]
_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = "/v2/models/{model}/versions/{version}"


def _refuse(kind: str) -> Decode:
    def decode(request: HttpRequest, params: Params) -> Exchange:
        raise refuse_operation(kind, request.path)

    return decode


def _no_versions(request: HttpRequest, params: Params) -> Exchange:
    raise SetsailError(
        "request.unsupported", "this server has no versions", field="path", value=request.path,
        expected=_MODEL.format(model=params["model"]), todo="leave out the version",
    )  # fmt: skip


def _of_models(dialect: Dialect) -> list[_Row]:
    """Paths of one model; the one that is asked most comes first."""
    health, rows = Health(dialect), list[_Row]()
    predict = infer_any_name if dialect.any_name else infer
    for model in (_MODEL, _VERSION):
        rows += [
            ("POST", model + "/infer", predict, "a prediction"),
            ("GET", model, metadata.metadata, "inputs and outputs of a model"),
            ("GET", model + "/ready", health.model_ready, "200 when the model is ready"),
            ("GET", model + "/config", metadata.config, "Triton's configuration of a model, as its signature has it"),
            ("GET", model + "/stats", metadata.statistics, "counts and times since it was loaded"),
            ("POST", model + "/generate", _refuse("generate"), "refused: no model generates text"),
            ("POST", model + "/generate_stream", _refuse("generate"), "refused: no model generates text"),
            ("POST", model + "/infer_stream", _refuse("infer_stream"), "refused: a prediction has one answer"),
        ]
    if not dialect.versions:
        rows = [(m, p, _no_versions if p.startswith(_VERSION) else decode, s) for m, p, decode, s in rows]
    return rows


def _of_the_server(dialect: Dialect) -> list[_Row]:
    health, repository = Health(dialect), Repository(dialect)
    return [
        ("GET", "/v2", metadata.server, "server metadata"),
        ("GET", "/v2/health/live", health.live, "200 while the process is up"),
        ("GET", "/v2/health/ready", health.ready, "200 when every model is ready"),
        ("GET", "/v2/models", metadata.names, "names of the models"),
        ("GET", "/v2/models/stats", metadata.statistics, "counts and times of all models"),
        ("POST", "/v2/repository/index", repository.index, "every version of every model and its state"),
        ("POST", "/v2/repository/{repository}/index", repository.other, "refused: repositories have no names"),
        ("POST", "/v2/repository/models/{model}/load", repository.load, "load a model (needs model control)"),
        ("POST", "/v2/repository/models/{model}/unload", repository.unload, "unload a model (needs model control)"),
    ]


def _refused() -> list[_Row]:
    rows: list[_Row] = []
    for kind, folder in (
        ("system shared memory", "/v2/systemsharedmemory"),
        ("cuda shared memory", "/v2/cudasharedmemory"),
    ):
        said = f"refused: {kind}"
        for region in ("", "/region/{region}"):
            rows.append(("GET", f"{folder}{region}/status", _refuse(kind), said))
            rows.append(("POST", f"{folder}{region}/unregister", _refuse(kind), said))
        rows.append(("POST", f"{folder}/region/{{region}}/register", _refuse(kind), said))
    for kind, path in (("log settings", "/v2/logging"), ("trace settings", "/v2/trace/setting"),
                       ("trace settings", _MODEL + "/trace/setting")):  # fmt: skip
        rows += [(method, path, _refuse(kind), f"refused: {kind}") for method in ("GET", "POST")]
    return rows


def _routes(dialect: Dialect) -> tuple[Route, ...]:
    # A model may be called "stats"; Triton answers the statistics all the same.
    rows = [*_of_the_server(dialect), *_of_models(dialect), *_refused()]
    return tuple(
        Route(m, p, decode, dialect.wire, said, predicts=decode in (infer, infer_any_name))
        for m, p, decode, said in rows
    )


ROUTES: Final = _routes(dialects.OURS)
TRITON: Final = _routes(dialects.TRITON)
KSERVE: Final = _routes(dialects.KSERVE)
MLSERVER: Final = _routes(dialects.MLSERVER)
