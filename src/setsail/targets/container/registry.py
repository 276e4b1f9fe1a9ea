"""A registry of images, asked over HTTP: enough of the OCI distribution API to take a base and to leave an image.

Source: opencontainers/distribution-spec v1.1, spec.md; the token dance is docs.docker.com/reference/api/registry/auth.
Credentials are those that `docker login` or `podman login` left behind (`DOCKER_CONFIG/config.json`,
`REGISTRY_AUTH_FILE`), also in a helper program; they are sent to the registry they are for and to nobody
else. A registry on this machine is asked in plain HTTP, every other one in TLS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from setsail.errors import SetsailError

__all__ = ["INDEXES", "MANIFEST", "Reference", "Registry"]

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
)  # fmt: skip
_MANIFESTS: Final = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json", *INDEXES)
_SECONDS: Final = 60.0
_HUB: Final = "docker.io"
_HUB_API: Final = "registry-1.docker.io"
_HUB_KEY: Final = "https://index.docker.io/v1/"
_LARGEST: Final = 16 << 20  # bytes of a manifest
_LOCAL: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
_NAME: Final = re.compile(
    r"(?P<name>[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*)(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """`[HOST/]NAME[:TAG][@DIGEST]`."""

    host: str
    name: str
    tag: str = "latest"
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as `docker` does. Raises `setting.value`."""
        first, slash, rest = text.partition("/")
        foreign = bool(slash) and ("." in first or ":" in first or first == "localhost")
        host, name = (first, rest) if foreign else (_HUB, text)
        found = _NAME.fullmatch(name)
        if found is None:
            raise SetsailError("setting.value", "this is no file, folder or image", field="image", value=text,
                               expected="HOST/NAME:TAG")  # fmt: skip
        name = found["name"] if foreign or "/" in found["name"] else f"library/{found['name']}"
        return cls(host, name, found["tag"] or "latest", found["digest"] or "")

    @property
    def wanted(self) -> str:
        return self.digest or self.tag

    def __str__(self) -> str:
        return f"{self.host}/{self.name}:{self.tag}" + (f"@{self.digest}" if self.digest else "")


class Registry:
    """One repository of a registry."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        host = _HUB_API if reference.host == _HUB else reference.host
        self._base = f"{'http' if _LOCAL.fullmatch(host) else 'https'}://{host}"
        self._url = f"{self._base}/v2/{reference.name}/"
        self._token: dict[str, str] = {}
        self._opener = urllib.request.build_opener(_Redirects)

    # -- taking ---------------------------------------------------------------------------------------------------

    def manifest(self, wanted: str) -> tuple[str, dict[str, Any]]:
        """A manifest or index by tag or digest, and its digest."""
        with self._ask("GET", f"manifests/{wanted}", {"Accept": ", ".join(_MANIFESTS)}) as reply:
            body = reply.read(_LARGEST)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if wanted.startswith("sha256:") and wanted != digest:
            raise self._fault(f"its manifest has the digest {digest}, not {wanted}")
        try:
            found: dict[str, Any] = json.loads(body)
        except ValueError as fault:
            raise self._fault("its manifest is no JSON") from fault
        return digest, found

    @contextmanager
    def blob(self, digest: str) -> Iterator[IO[bytes]]:
        """A blob's bytes; who reads them checks their digest."""
        with self._ask("GET", f"blobs/{digest}") as reply:
            yield reply

    # -- leaving --------------------------------------------------------------------------------------------------

    def push_blob(self, digest: str, size: int, source: Path | bytes) -> bool:
        """Send a blob where the registry does not have it. Returns whether it was sent."""
        with suppress(_Refused), self._ask("HEAD", f"blobs/{digest}", wanted=(200,)):
            return False
        with self._ask("POST", "blobs/uploads/", {"Content-Length": "0"}, body=b"", wanted=(202,)) as reply:
            place = urljoin(self._url, reply.headers["Location"])
        place += ("&" if urlsplit(place).query else "?") + urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        if isinstance(source, bytes):
            self._ask("PUT", place, headers, body=source, wanted=(201,)).close()
        else:
            with source.open("rb") as file:
                self._ask("PUT", place, headers, body=file, wanted=(201,)).close()
        return True

    def push_manifest(self, body: bytes, name: str, media_type: str = MANIFEST) -> str:
        """Leave a manifest under a tag or its digest. Returns its digest."""
        self._ask("PUT", f"manifests/{name}", {"Content-Type": media_type}, body=body, wanted=(201,)).close()
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    # -- asking ---------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, *, body: Any = None,
             wanted: tuple[int, ...] = (200,), again: bool = True) -> Any:  # fmt: skip
        url = urljoin(self._url, path)
        given = dict(headers or {}) | (self._token if urlsplit(url).netloc == urlsplit(self._base).netloc else {})
        request = urllib.request.Request(url, body, given, method=method)
        try:
            reply = self._opener.open(request, timeout=_SECONDS)
        except urllib.error.HTTPError as fault:
            with fault:
                if fault.code != 401 or not again:
                    raise self._refusal(fault) from fault
            self._log_in(fault.headers.get("WWW-Authenticate", ""))
            if hasattr(body, "seek"):
                body.seek(0)
            return self._ask(method, path, headers, body=body, wanted=wanted, again=False)
        except (OSError, HTTPException) as fault:
            raise self._fault(f"it does not answer ({getattr(fault, 'reason', fault)})") from fault
        if reply.status not in wanted:
            reply.close()
            raise self._fault(f"it answers {reply.status} to {method} {urlsplit(url).path}")
        return reply

    def _log_in(self, challenge: str) -> None:
        """Take a token, or send the name and the secret themselves, as the registry asks for."""
        scheme, _, rest = challenge.partition(" ")
        secret = _credentials(self._reference.host)
        basic = {"Authorization": f"Basic {secret}"} if secret else {}
        if scheme.lower() == "basic" and basic:
            self._token = basic
            return
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = fields.pop("realm", "")
        if scheme.lower() != "bearer" or urlsplit(realm).scheme not in ("http", "https"):
            raise self._fault("it wants credentials, and there are none", "log in first: docker login")
        if urlsplit(self._base).scheme == "https" and urlsplit(realm).scheme != "https":
            raise self._fault("it wants credentials sent without encryption")
        known = {key: fields[key] for key in ("service", "scope") if key in fields}
        request = urllib.request.Request(f"{realm}?{urlencode(known)}", headers=basic)
        try:
            with self._opener.open(request, timeout=_SECONDS) as reply:
                told = json.loads(reply.read(_LARGEST))
        except (OSError, ValueError, HTTPException) as fault:
            if isinstance(fault, urllib.error.HTTPError):
                fault.close()
            raise self._fault(f"it gives no token ({fault})", "log in first: docker login") from fault
        token = told.get("token") or told.get("access_token") or ""
        self._token = {"Authorization": f"Bearer {token}"}

    def _refusal(self, fault: urllib.error.HTTPError) -> SetsailError:
        told = ""
        with suppress(OSError, ValueError, LookupError, TypeError):
            told = str(json.loads(fault.read(_LARGEST))["errors"][0]["message"])
        if fault.code in (401, 403):
            return self._fault(f"it refuses ({fault.code}{': ' + told if told else ''})", "log in first: docker login")
        return _Refused("ship.fetch", f"{self._reference}: the registry answers {fault.code}", field="image",
                        value=told or fault.reason)  # fmt: skip

    def _fault(self, what: str, todo: str | None = None) -> SetsailError:
        return SetsailError("ship.fetch", f"{self._reference.host}: {what}", field="image", value=str(self._reference),
                            todo=todo)  # fmt: skip


class _Refused(SetsailError):  # noqa: N818  # what the registry does not have
    pass


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where blobs lie, without the token, which is the registry's."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            made.remove_header("Authorization")
        return made


def _credentials(host: str) -> str:
    """`user:secret` in base64 for a registry, or "": from the files that logging in writes."""
    home = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    files = [Path(named)] if (named := os.environ.get("REGISTRY_AUTH_FILE")) else [home]
    keys = (host, f"https://{host}", *((_HUB_KEY, _HUB_API) if host == _HUB else ()))
    for file in files:
        try:
            body = json.loads(file.read_bytes())
        except (OSError, ValueError):
            continue
        for key in keys:
            if auth := body.get("auths", {}).get(key, {}).get("auth"):
                return str(auth)
            helper = body.get("credHelpers", {}).get(key) or body.get("credsStore")
            if helper and (secret := _helped(str(helper), key)):
                return secret
    return ""


def _helped(helper: str, key: str) -> str:
    """Ask a credential helper: docs.docker.com/reference/cli/docker/login, "credential helper protocol"."""
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        return ""
    with suppress(OSError, ValueError, KeyError, subprocess.SubprocessError):
        told = subprocess.run([program, "get"], input=key.encode(), capture_output=True, timeout=30, check=True)
        found = json.loads(told.stdout)
        return base64.b64encode(f"{found['Username']}:{found['Secret']}".encode()).decode()
    return ""
