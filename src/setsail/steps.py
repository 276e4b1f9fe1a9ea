"""Pre- and post-processing as data.

A step is what an ONNX program cannot do the same way on every machine, e.g. lower-casing (onnxruntime's own operator
asks the machine's locale). It travels in the manifest and every destination implements it: in Python it is
`runtime/steps.py`. A step changes one input before the program sees it; it never changes name, dtype or shape, so the
signature stays the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from setsail.errors import SetsailError

__all__ = ["SCHEMAS", "Step"]

_FORMS = (None, "ascii", "unicode")

# kind -> option -> whether its value is allowed. An unknown kind or option is refused when an artifact is read.
SCHEMAS: Final[Mapping[str, Mapping[str, Callable[[Any], bool]]]] = {
    "text.normalize": {"lowercase": lambda v: isinstance(v, bool), "strip_accents": lambda v: v in _FORMS},
}


class Step(Struct, frozen=True):
    """One step: its kind (a key of SCHEMAS), the input it changes, and its options."""

    kind: str
    input: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        schema = SCHEMAS.get(self.kind)
        if schema is None:
            raise SetsailError("artifact.requires", "the model needs a step we do not have", field="steps",
                               value=self.kind, expected=", ".join(SCHEMAS))  # fmt: skip
        for name, value in self.options.items():
            if name not in schema or not schema[name](value):
                raise SetsailError("artifact.field", f"step {self.kind!r} has a bad option {name!r}", field="steps",
                                   value=value, expected=", ".join(schema))  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "input": self.input, "options": dict(self.options)}
