"""A package index of one's own: the JSON form of the simple API (PEP 691), and the ways in which one can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

FORM = "application/vnd.pypi.simple.v1+json"


def wheel(name: str, version: str, yanked: Any = False) -> dict[str, Any]:
    return {"filename": f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "url": "x", "hashes": {},
            "yanked": yanked}  # fmt: skip


@contextmanager
def index(
    projects: Mapping[str, list[dict[str, Any]]], *, status: int = 200, form: str = FORM, body: bytes | None = None
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Answer with these files; gives the URL, and (path, Authorization) of every request."""
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            assert self.headers["Accept"] == FORM
            files = projects.get(self.path.strip("/").rpartition("/")[2])
            data = body if body is not None else json.dumps({"meta": {"api-version": "1.1"}, "files": files}).encode()
            self.send_response(status if files is not None or body is not None else 404)
            self.send_header("Content-Type", form)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
