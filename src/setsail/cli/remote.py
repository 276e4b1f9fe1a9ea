"""The admin port of a running server, as the verbs about routes speak to it, and how they print what it says."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from getpass import getuser
from typing import Any, Final
from urllib.parse import quote

import click

from setsail.cli.console import Console
from setsail.errors import KINDS, SetsailError

__all__ = ["ADMIN", "change", "changed", "described", "number_of", "routes", "shared", "sticky"]

ADMIN: Final = "http://127.0.0.1:8081"
_SECONDS: Final = 60.0
_CLIENT_FIELDS: Final = ("field", "value", "expected", "todo")


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every verb that changes something on a running server."""
    why = click.option("--why", metavar="TEXT", default="", help="Reason, for the audit line.")
    url = click.option("--url", metavar="URL", default=ADMIN, show_default=True, envvar="SETSAIL_ADMIN_URL",
                       help="Admin port of the server.")  # fmt: skip
    return url(why(function))


def number_of(text: str) -> int:
    """`v2` or `2`. Raises `route.value`."""
    number = text.removeprefix("v")
    if number.isascii() and number.isdigit() and 0 < len(number) < 19 and int(number):
        return int(number)
    raise SetsailError("route.value", "a version cannot be read", field="VERSION", value=text, expected="v2, or 2")


def routes(url: str, model: str) -> Mapping[str, Any]:
    """What the server says of a model's route."""
    return _send("GET", url, model, "", None)


def change(url: str, model: str, action: str, **said: Any) -> Mapping[str, Any]:
    """Change a route. `action` "" is the route itself, "clear" ends it. Raises what the server answers."""
    body = {key: value for key, value in said.items() if value is not None} | {"who": _who()}
    method = {"": "PUT", "clear": "DELETE"}.get(action, "POST")
    return _send(method, url, model, "" if action == "clear" else action, body)


def changed(
    console: Console, url: str, model: str, action: str, version: str | None = None, **said: Any
) -> int | None:  # fmt: skip
    """What such a verb does: change the route, and say what is in force now.

    Returns:
        The version that was said.

    Raises:
        SetsailError: `route.value` for a version that is none, or what the server answers.
    """
    number = None if version is None else number_of(version)
    described(console, change(url, model, action, version=number, **said))
    return number


def _who() -> str:
    try:
        return getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _send(method: str, url: str, model: str, action: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
    place = f"{url.rstrip('/')}/v1/routes/{quote(model, safe='')}" + (f"/{action}" if action else "")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(place, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            answer: Mapping[str, Any] = json.loads(reply.read())
            return answer
    except urllib.error.HTTPError as refused:
        with refused:
            raise _fault(refused.read(), refused.code, place) from None
    except (OSError, ValueError) as fault:
        raise _nobody(url, str(getattr(fault, "reason", fault))) from fault


def _fault(body: bytes, status: int, place: str) -> SetsailError:
    """What the server told, as if it had been raised here."""
    try:
        told = json.loads(body)
        code, message = told["code"], str(told["error"])
    except (ValueError, KeyError, TypeError):
        return _nobody(place, f"HTTP {status}")
    if code not in KINDS:
        return _nobody(place, message)
    facts = {key: told[key] for key in _CLIENT_FIELDS if told.get(key) is not None}
    what = message.partition("; got ")[0].partition("; expected ")[0]
    error = SetsailError(code, what.removesuffix(f". {facts.get('todo', '')[:1].upper()}{facts.get('todo', '')[1:]}"),
                         field=facts.get("field"), expected=facts.get("expected"), todo=facts.get("todo"))  # fmt: skip
    error.value = facts.get("value")  # it was shortened when it was raised
    return error


def _nobody(url: str, reason: str) -> SetsailError:
    return SetsailError("command.system", "no admin port of setsail answers there", field="--url", value=reason,
                        expected=url, todo="start the server, or say where its admin port is with --url")  # fmt: skip


# -- printing ----------------------------------------------------------------------------------------------------------


def described(console: Console, told: Mapping[str, Any]) -> None:
    """The result of every such verb: what is in force now."""
    console.result("\n".join(_lines(told)), told)


def _lines(told: Mapping[str, Any]) -> list[str]:
    route = told["route"]
    if route is None:
        default = told["default"]
        lines = [f"{told['model']}: no route; " + (f"v{default} answers" if default else "no version answers")]
    else:
        parts = " ".join(f"v{one}={weight:g}" for one, weight in route["weights"].items())
        lines = [f"{told['model']}: {parts}" + (f" sticky by {route['sticky']}" if route["sticky"] else "")]
        for one, counts in route["shadows"].items():
            said = ", ".join(f"{counts[key]} {key}" for key in ("agreed", "differed", "failed", "dropped"))
            lines.append(f"  shadow v{one}: {said}")
        lines += _canary(route["canary"]) if route["canary"] else []
    for past in told["history"][:5]:
        moment = datetime.fromtimestamp(past["when"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        when = moment if past["when"] else "at the start"
        why = f": {past['why']}" if past["why"] else ""
        lines.append(f"  {past['revision']:>3}  {when}  {past['what']} by {past['who'] or 'nobody named'} "
                     f"to {past['to']}{why}")  # fmt: skip
    return lines


def _canary(canary: Mapping[str, Any]) -> list[str]:
    lines = [f"  canary v{canary['candidate']} against v{canary['control']}: {canary['decision']}"]
    for name, figures in canary["metrics"].items():
        lines.append(
            f"    {name:<8} {figures['candidate']:.4g} against {figures['control']:.4g} in {figures['pairs']} pairs; "
            f"difference below {figures['upper']:.3g}, evidence {figures['evidence']:.3g} of {1 / canary['alpha']:g}"
        )
    return lines


def sticky(text: str | None) -> str | None:
    """A key as the admin port takes it; `none` ends it."""
    return "" if text == "none" else text
