"""Cross-origin rules: whose pages may call the data port from a visitor's browser (Fetch standard, CORS protocol)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["NO_ORIGINS", "Origins"]

Pairs = tuple[tuple[str, str], ...]
_EXPOSED: Final = "inference-header-content-length, x-setsail-error, x-setsail-error-id, retry-after"
_SECONDS: Final = "600"


class Origins:
    """Origins whose pages may call; `*` is all of them. By default none: browsers then keep other sites out."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = frozenset(origin.strip().rstrip("/").lower() for origin in allowed if origin.strip())

    def headers(self, request: Mapping[str, str]) -> Pairs:
        """What any reply to this request says about origins."""
        if not self._allowed:
            return ()
        origin = request.get("origin", "")
        if "*" in self._allowed:
            return (("access-control-allow-origin", "*"), ("access-control-expose-headers", _EXPOSED))
        if origin.rstrip("/").lower() not in self._allowed:
            return (("vary", "origin"),)
        return (
            ("access-control-allow-origin", origin), ("access-control-expose-headers", _EXPOSED), ("vary", "origin"),
        )  # fmt: skip

    def preflight(self, request: Mapping[str, str], methods: Sequence[str]) -> Pairs:
        """What the answer to a preflight adds."""
        shared = self.headers(request)
        if not any(name == "access-control-allow-origin" for name, _ in shared):
            return ()
        if "access-control-request-method" not in request:
            return ()
        wanted = request.get("access-control-request-headers", "")
        return (
            ("access-control-allow-methods", ", ".join(methods)),
            ("access-control-allow-headers", wanted or "content-type"),
            ("access-control-max-age", _SECONDS),
        )


NO_ORIGINS: Final = Origins()
