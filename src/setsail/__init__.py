"""setsail: a trained model in, a checked artifact and a typed endpoint out.

    setsail.pack(model, example=X)                 -> Artifact
    setsail.load("credit-1.setsail").predict(X)
    setsail.serve(model, example=X, block=False)   -> Server
    setsail.asgi("credit-1.setsail")               -> ASGI application

Importing this imports neither a framework nor onnxruntime: names are looked up when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from setsail.api import asgi, load, pack, serve
    from setsail.artifact import Artifact
    from setsail.errors import SetsailError
    from setsail.server.run import Server
    from setsail.serving.model import Model

__version__ = "0.1.0"

__all__ = ["Artifact", "Model", "Server", "SetsailError", "__version__", "asgi", "load", "pack", "serve"]

_HOMES: Final = {
    "Artifact": "setsail.artifact",
    "Model": "setsail.serving.model",
    "Server": "setsail.server.run",
    "SetsailError": "setsail.errors",
    "asgi": "setsail.api",
    "load": "setsail.api",
    "pack": "setsail.api",
    "serve": "setsail.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'setsail' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
