"""What a client of TorchServe's management orders, over HTTP or gRPC: an ask, and its answer in the original's words.

An order's `told` gives a status and a value: a text, or what is told as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from setsail.catalog import (
    ALL,
    Ask,
    Describe,
    ModelDescription,
    Register,
    Registered,
    Scale,
    SetDefault,
    Terms,
    Unregister,
)  # fmt: skip
from setsail.errors import SetsailError
from setsail.protocols.torchserve.described import described
from setsail.protocols.torchserve.wire import version_of, version_text

__all__ = ["Order", "describing", "listing", "registering", "scaling", "setting_default", "unregistering"]

_LATER: Final = (202, "Processing worker updates...")
_RUNTIMES: Final = ("python", "python2", "python3", "lsp")
_PAGE: Final = 100


class Order(Struct, frozen=True):
    """What to ask, and the status and value that its answer becomes."""

    ask: Ask
    told: Callable[[Any], tuple[int, Any]]


def registering(given: Mapping[str, Any], *, wait: bool) -> Order:
    """`POST /models`: parameters by their names, of a query, a JSON body or a message.

    Args:
        wait: whether it waits for the model where the client does not say.

    Raises:
        SetsailError: `request.form` without `url` or for another runtime; `request.unsupported` for a handler.
    """
    url = given.get("url")
    if not url:
        raise _bad("Parameter url is required.", "url", None, "a file's name in the model store")
    if given.get("handler"):
        raise SetsailError(
            "request.unsupported", "handlers are code, and none is run here", field="handler", value=given["handler"],
            expected="no handler", todo="register an artifact, and do in the client what the handler did",
        )  # fmt: skip
    runtime = str(given.get("runtime") or "python")
    if runtime.lower() not in _RUNTIMES:
        raise _bad(f"Invalid RuntimeType value: {runtime}", "runtime", runtime, " or ".join(_RUNTIMES))
    workers = max(0, _int(given, "initial_workers", 0))
    terms = Terms(
        workers, workers, _int(given, "batch_size", 1), _int(given, "max_batch_delay", 100),
        _int(given, "response_timeout", 120), _int(given, "startup_timeout", 120),
    )  # fmt: skip
    wait = _bool(given, "synchronous", wait)

    def told(answer: Registered) -> tuple[int, Any]:
        if workers and not wait:
            return _LATER
        text = (
            f'Model "{answer.name}" Version: {version_text(answer.version)} registered with {workers} initial workers'
        )
        return 200, text if workers else text + ". Use scale workers API to add workers for the model."

    return Order(Register(str(url), str(given.get("model_name") or ""), None, terms, True, wait), told)


def scaling(model: str, version: str | None, given: Mapping[str, Any]) -> Order:
    """`PUT /models/{model}`. Raises `request.form` for a maximum below the minimum."""
    version = version or given.get("model_version") or None
    least = max(0, _int(given, "min_worker", 1))
    most = _int(given, "max_worker", least)
    if most < least:
        raise _bad("max_worker cannot be less than min_worker.", "max_worker", most, f"{least} or more")
    wait = _bool(given, "synchronous", False)

    def told(answer: ModelDescription) -> tuple[int, Any]:
        text = f"Workers scaled to {least} for model: {model}"
        return (200, text if version is None else f"{text}, version: {version}") if wait else _LATER

    return Order(Scale(model, None if version is None else version_of(version, model), least, most, wait), told)


def setting_default(model: str, version: str) -> Order:
    text = f'Default version successfully updated for model "{model}" to "{version}"'
    return Order(SetDefault(model, version_of(version, model)), lambda _: (200, text))


def unregistering(model: str, version: str | None) -> Order:
    ask = Unregister(model, version_of(version, model) if version else None, sole=True)
    return Order(ask, lambda _: (200, f'Model "{model}" unregistered'))


def describing(model: str, version: str | None, *, customized: bool) -> Order:
    """`GET /models/{model}`; the version may be `all`."""
    meant = ALL if version == "all" else version_of(version, model) if version else None
    customized = customized and meant != ALL
    return Order(Describe(model, meant), lambda told: (200, [described(one, customized=customized) for one in told]))


def listing(given: Mapping[str, Any]) -> Order:
    """`GET /models`: a page of names. Where a page ends with the last name there is another, empty one, as there is in
    the original."""
    limit, first = _int(given, "limit", _PAGE), max(0, _int(given, "next_page_token", 0))
    limit = limit if 0 <= limit <= _PAGE else _PAGE

    def told(answer: tuple[ModelDescription, ...]) -> tuple[int, Any]:
        last = first + limit
        more = {"nextPageToken": str(last)} if last <= len(answer) else {}
        return 200, more | {"models": [{"modelName": m.name, "modelUrl": m.source} for m in answer[first:last]]}

    return Order(Describe(), told)


# -- parameters ----------------------------------------------------------------------------------------------------


def _int(given: Mapping[str, Any], name: str, default: int) -> int:
    """A parameter; what is no number is as if it was not there, as in the original."""
    try:
        return int(str(given[name])[:19])
    except (KeyError, ValueError):
        return default


def _bool(given: Mapping[str, Any], name: str, default: bool) -> bool:
    return str(given[name]).lower() == "true" if name in given else default


def _bad(text: str, field: str, value: Any, expected: str) -> SetsailError:
    """`original`: the original's own text, which is what its clients are told."""
    return SetsailError("request.form", text.rstrip("."), field=field, value=value, expected=expected, original=text)
