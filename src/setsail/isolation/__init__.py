"""Child processes for code and files we do not trust.

`call` is the whole interface: a function's name and JSON go in, JSON or a SetsailError comes out. `docs/trust.md` says
what the child can and cannot do.
"""

from setsail.isolation.parent import call
from setsail.isolation.settings import JSON, Limits

__all__ = ["JSON", "Limits", "call"]
