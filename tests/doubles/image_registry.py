"""A registry of images in memory: the parts of the OCI distribution API that a client uses, with or without tokens.

Source: opencontainers/distribution-spec v1.1.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["ImageRegistry"]


class ImageRegistry:
    """On a port of its own while it is a context.

    Args:
        secret: `user:password`; with one, every question needs a token that is given for it.
    """

    def __init__(self, secret: str = "") -> None:
        self.secret = secret
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}  # tag or digest -> media type, bytes
        self.asked: list[str] = []
        handler = type("Handler", (_Handler,), {"registry": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = False  # all of them have ended when it is closed
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> ImageRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    registry: ImageRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            right = f"Basic {base64.b64encode(self.registry.secret.encode()).decode()}"
            good = self.headers.get("Authorization") == right
            return self._reply(200 if good else 401, b'{"token": "t0"}' if good else b"")
        if not self._allowed():
            return None
        kind, name = self._target()
        if kind == "manifests" and name in self.registry.manifests:
            media, body = self.registry.manifests[name]
            return self._reply(200, body, {"Content-Type": media})
        if kind == "blobs" and name in self.registry.blobs:
            return self._reply(200, self.registry.blobs[name])
        return self._reply(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')

    do_HEAD = do_GET  # noqa: N815  # the name that the server looks for

    def do_POST(self) -> None:
        if self._allowed():
            self._reply(202, b"", {"Location": f"{urlsplit(self.path).path}{uuid.uuid4()}?state=1"})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._allowed():
            return None
        kind, name = self._target()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if kind == "manifests":
            for key in {name, digest}:
                self.registry.manifests[key] = (self.headers["Content-Type"], body)
            return self._reply(201, b"", {"Docker-Content-Digest": digest})
        if parse_qs(urlsplit(self.path).query)["digest"] != [digest]:
            return self._reply(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "other bytes"}]}')
        self.registry.blobs[digest] = body
        return self._reply(201, b"")

    def _allowed(self) -> bool:
        self.registry.asked.append(f"{self.command} {urlsplit(self.path).path}")
        if not self.registry.secret or self.headers.get("Authorization") == "Bearer t0":
            return True
        challenge = f'Bearer realm="http://{self.registry.host}/token",service="s",scope="repository:x:pull,push"'
        self._reply(401, b"", {"WWW-Authenticate": challenge})
        return False

    def _target(self) -> tuple[str, str]:
        parts = urlsplit(self.path).path.split("/")
        return ("uploads", "") if "uploads" in parts else (parts[-2], parts[-1])

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
