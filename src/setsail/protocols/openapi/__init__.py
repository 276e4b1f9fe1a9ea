"""OpenAPI 3.1 of the REST wires, made from the table of routes and the signatures of what is served."""

from __future__ import annotations

from setsail.protocols.openapi.document import document

__all__ = ["document"]
