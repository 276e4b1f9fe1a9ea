"""Configurations of other servers, in our terms."""

from setsail.server.foreign.configuration import Foreign

__all__ = ["Foreign"]
