"""What a server's settings come to: keys and limits of its desks, rules of its queues, its cache, TLS, its loop."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from setsail.errors import SetsailError
from setsail.scheduling import Rules
from setsail.server.origins import Origins
from setsail.server.settings import Settings

__all__ = ["cache", "desk", "keys", "loop_factory", "rules", "tls"]


def desk(settings: Settings) -> dict[str, Any]:
    """What concerns every desk, and the ASGI application."""
    origins = Origins(settings.cors_origins.split(","))
    return {"max_body": settings.max_body, "control": settings.model_control == "explicit", "origins": origins}


def keys(settings: Settings) -> tuple[str, ...]:
    """Of the key file. Raises `setting.value` where it holds none."""
    if not settings.api_key_file:
        return ()
    found = tuple(line.strip() for line in Path(settings.api_key_file).read_text().splitlines() if line.strip())
    if not found:
        raise SetsailError("setting.value", "the key file holds no key", field="--api-key-file",
                           value=settings.api_key_file, expected="one key a line")  # fmt: skip
    return found


def rules(settings: Settings) -> Rules:
    """How requests wait and run together."""
    return Rules(
        queue_rows=settings.queue_rows, queue_bytes=settings.queue_bytes, max_batch=settings.max_batch,
        max_delay=settings.max_delay, latency_target=settings.latency_target,
    )  # fmt: skip


def cache(settings: Settings) -> Callable[[str], int]:
    """Bytes of answers to keep, by the model's name."""
    chosen = frozenset(name.strip() for name in settings.cache_models.split(",") if name.strip())
    return lambda name: settings.cache_bytes if not chosen or name in chosen else 0


def tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 or newer, or none; HTTP/2 is offered by ALPN (RFC 7301). Raises `setting.value`."""
    if not settings.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as fault:
        raise SetsailError("setting.value", "the certificate, key or CA cannot be used", field="--tls-cert",
                           value=str(fault), expected="PEM files that belong together") from fault  # fmt: skip
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def loop_factory() -> Any:
    """uvloop where it is installed, else asyncio's own."""
    try:
        return import_module("uvloop").new_event_loop
    except ImportError:
        return None
