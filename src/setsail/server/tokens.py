"""TorchServe's tokens: a file with three keys, two of which end, and a desk that asks for them.

`key_file.json` has a key for management and one for inference, each with the time until which it is good, and one that
renews either (`GET /token`). The file is the truth: every process reads it again when it has changed, so whoever
renews a key does so for all of them.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import time
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from setsail.catalog import Ask, RenewToken
from setsail.errors import SetsailError
from setsail.messages import Request
from setsail.protocols.flavours import DATA, GRPC
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import Match
from setsail.scheduling import Ticket
from setsail.server.dispatch import Desk, Replied
from setsail.server.settings import Settings

__all__ = ["TokenDesk", "Tokens", "desk", "tokens"]

_INFERENCE: Final = (DATA, GRPC)  # roles of ports; those of others are for management
_RENEWING: Final = "/token"
_BYTES: Final = 18  # three times the original's: a client sends a key of any length


class _Key(Struct, frozen=True, omit_defaults=True):
    """A key of the file, and (for two of the three) until when it is good, as ISO 8601."""

    key: str
    until: str | None = field(default=None, name="expiration time")

    def good(self, given: str, now: float) -> bool:
        """Whether it is the key that was given. Comparing takes as long for every wrong one."""
        same = hmac.compare_digest(self.key.encode(), given.encode("utf-8", "replace"))
        return same and (self.until is None or datetime.fromisoformat(self.until).timestamp() > now)


class _File(Struct, frozen=True):
    management: _Key
    inference: _Key
    api: _Key = field(name="API")


class Tokens:
    """The keys of one file.

    Args:
        minutes: that a key is good for.
        clock: seconds of the epoch.
    """

    def __init__(self, path: Path, minutes: float, clock: Callable[[], float] = time) -> None:
        self.path, self._minutes, self._clock = path, minutes, clock
        self._stamp: tuple[int, ...] = ()
        self._file: _File | None = None

    def create(self) -> None:
        """Write new keys. Raises `setting.value` where the file cannot be written."""
        try:
            self._write(_File(self._new(), self._new(), _Key(_random())))
        except OSError as fault:
            raise SetsailError(
                "setting.value", "the token file cannot be written", field="--token-file", value=str(self.path),
                expected="a file in a folder that can be written",
            ) from fault  # fmt: skip

    def renew(self, kind: str) -> None:
        """A new key of a kind, good from now on; the old one is good no longer. Raises `request.form`."""
        if kind not in ("management", "inference"):
            raise SetsailError("request.form", "there is no such token", field="type", value=kind,
                               expected="management or inference")  # fmt: skip
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # two that renew at once would each forget the other's key
            self._write(replace(self._read(), **{kind: self._new()}))
        finally:
            os.close(folder)

    def check(self, kind: str, authorization: str) -> None:
        """Raises `request.key` unless the header has the key of a kind: `management`, `inference` or `api`."""
        scheme, _, given = authorization.partition(" ")
        key: _Key = getattr(self._read(), kind)
        if not key.good(given.strip(), self._clock()) or scheme.lower() != "bearer":
            raise SetsailError(
                "request.key", "the token is missing, wrong or too old", field="authorization",
                todo=f"send `Authorization: Bearer KEY` with the {kind} key of the token file",
            )  # fmt: skip

    def _new(self) -> _Key:
        until = datetime.fromtimestamp(self._clock() + 60 * self._minutes, UTC)
        return _Key(_random(), until.isoformat(timespec="microseconds").replace("+00:00", "Z"))

    def _read(self) -> _File:
        """The file, read again where it has changed. Raises `server.fault` where it cannot be."""
        try:
            told = os.stat(self.path)
            stamp = (told.st_mtime_ns, told.st_ino, told.st_size)
            if self._file is None or stamp != self._stamp:
                self._file, self._stamp = msgspec.json.decode(self.path.read_bytes(), type=_File), stamp
        except (OSError, msgspec.MsgspecError) as fault:
            raise SetsailError("server.fault", "the token file cannot be read") from fault
        return self._file

    def _write(self, file: _File) -> None:
        """At once and for its owner alone: a reader sees the old file or the new one."""
        text = msgspec.json.format(msgspec.json.encode(file), indent=2)
        number, name = tempfile.mkstemp(dir=self.path.parent, prefix=".key_file")  # mode 0600
        try:
            with os.fdopen(number, "wb") as new:
                new.write(text)
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise


class TokenDesk(Desk):
    """A desk whose every request needs a token.

    Args:
        tokens: the keys.
        kind: which of them its requests need.
    """

    lasting = False

    def __init__(self, *args: Any, tokens: Tokens, kind: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self._tokens, self._kind = tokens, kind

    def handle(self, match: Match, request: HttpRequest, done: Replied, loop: Any) -> Ticket | None:
        kind = "api" if match.route.pattern == _RENEWING else self._kind
        try:
            self._tokens.check(kind, request.headers.get("authorization", ""))
        except SetsailError as fault:
            done(self.refuse(request.path, fault))
            return None
        return super().handle(match, request, done, loop)

    def check_key(self, scheme: str, given: str) -> None:
        """For gRPC."""
        super().check_key(scheme, given)
        self._tokens.check(self._kind, f"{scheme} {given}")

    def _ask(self, ask: Request | Ask) -> Any:
        if isinstance(ask, RenewToken):
            return self._tokens.renew(ask.kind)
        return super()._ask(ask)


def tokens(settings: Settings) -> Tokens:
    """Those of a server."""
    return Tokens(Path(settings.token_file).absolute(), settings.token_minutes)


def desk(settings: Settings, role: str) -> Callable[..., Desk]:
    """What makes the desk of a port with this role."""
    return partial(TokenDesk, tokens=tokens(settings), kind="inference" if role in _INFERENCE else "management")


def _random() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(_BYTES)).decode()
