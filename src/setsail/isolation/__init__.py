"""Child processes for code and files we do not trust.

`call` is the interface: a function's name and JSON go in, JSON or a SetsailError comes out; `try_out` is the one call
that two floors make. `docs/trust.md` says what the child can and cannot do.
"""

from setsail.isolation import sandbox
from setsail.isolation.parent import call, environment
from setsail.isolation.settings import JSON, Limits, fault_from_json, fault_to_json, printable
from setsail.isolation.trial import try_out

__all__ = [
    "JSON", "Limits", "call", "environment", "fault_from_json", "fault_to_json", "printable", "sandbox", "try_out",
]  # fmt: skip
