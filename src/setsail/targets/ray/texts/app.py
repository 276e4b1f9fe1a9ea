"""A model on Ray Serve. `setsail ship --to ray` puts this file, as it is, beside the artifact and serve.yaml.

Two deployments:

- *Models* holds the artifact and answers whole HTTP requests through setsail's own ASGI application, with every
  wire that it has. There is one replica a core, say, on as many nodes as Ray likes; those of a node map the same
  prepared weights.
- *Door* takes requests from Ray's proxy and hands them to a replica of Models. When that replica, or the node it is
  on, dies before it has answered, the door asks another one: a prediction changes nothing, so asking twice is safe.
  Without it Ray answers `500 Internal Server Error`, and nobody knows whether to try again.

What cannot be answered is refused with 503 and Retry-After. Ray's proxy prefers a door on its own node.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import Response

import setsail

MAX_BODY = 64 << 20  # bytes, as setsail.asgi has it
_LOG = logging.getLogger("ray.serve")
_PASSED = ("type", "http_version", "method", "path", "root_path", "raw_path", "query_string", "headers", "scheme")
_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class Models:
    """Answers for the artifact.

    Args:
        artifact: its file, beside this one.
    """

    def __init__(self, artifact: str) -> None:
        self._application = setsail.asgi(Path(__file__).parent / artifact)

    async def answer(self, scope: Mapping[str, Any], body: bytes) -> _Answer:
        """Status, headers and body of one request, which came whole."""
        incoming = iter([{"type": "http.request", "body": body, "more_body": False}])
        status, headers, parts = 500, [], []

        async def receive() -> dict[str, Any]:
            return next(incoming, {"type": "http.disconnect"})

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message.get("headers", ()))
            else:
                parts.append(bytes(message.get("body", b"")))

        await self._application(dict(scope), receive, send)
        return status, headers, b"".join(parts)

    async def check_health(self) -> None:
        """Ray replaces a replica that raises here."""
        status, _, body = await self.answer(_asking("/v2/health/live"), b"")
        if status != 200:
            raise RuntimeError(body.decode("utf-8", "replace"))

    def __del__(self) -> None:
        if hasattr(self, "_application"):
            self._application.close()


class Door:
    """Hands each request to a replica of Models, and to another one when that is gone.

    Args:
        tries: replicas that are asked at most.
        seconds: that one try may take.
    """

    def __init__(self, models: DeploymentHandle, tries: int, seconds: float) -> None:
        self._models, self._tries, self._seconds = models, tries, seconds

    async def __call__(self, request: Request) -> Response:
        scope = {name: request.scope[name] for name in _PASSED if name in request.scope}
        body = b"".join([part async for part in _limited(request)])
        for attempt in range(self._tries):
            try:
                answer = self._models.answer.remote(scope, body)
                return _response(await asyncio.wait_for(answer, self._seconds))
            except (BackPressureError, DeploymentUnavailableError) as full:
                return _refusal(str(full))
            except RayTaskError:
                raise  # a fault of the code above, which another replica has too
            except (RayError, TimeoutError) as lost:
                _LOG.warning("try %d of %d: a replica did not answer: %r", attempt + 1, self._tries, lost)
                await asyncio.sleep(0.05 * 2**attempt)
        return _refusal(f"{self._tries} replicas did not answer")


async def _limited(request: Request) -> AsyncIterator[bytes]:
    """The body; of one that is too long a byte too many, for which Models refuses it in its wire's words."""
    left = MAX_BODY + 1
    async for part in request.stream():
        yield part[:left]
        left -= len(part)
        if left <= 0:
            return


def _asking(path: str) -> dict[str, Any]:
    return {"type": "http", "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": [], "scheme": "http"}  # fmt: skip


def _response(answer: _Answer) -> Response:
    status, headers, body = answer
    response = Response(body, status)
    response.raw_headers = headers
    return response


def _refusal(why: str) -> Response:
    """One that may be tried again, in the words of every plain wire: the error and its code."""
    body = json.dumps({"error": f"[server.busy] {why}. Try again after Retry-After.", "code": "server.busy"})
    return Response(body, 503, {"retry-after": "1"}, "application/json")


def application(args: Mapping[str, Any]) -> serve.Application:
    """What serve.yaml names; its `args` are these.

    Args:
        args: `artifact`, a file beside this one; `tries` and `seconds` of Door.
    """
    models = serve.deployment(Models).bind(args["artifact"])
    return serve.deployment(Door).bind(models, int(args.get("tries", 3)), float(args.get("seconds", 30)))
