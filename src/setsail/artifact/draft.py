"""What packing hands over to be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from setsail.parity import ParityReport
from setsail.signature import Signature
from setsail.steps import NONE, Processing
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["SAMPLES", "Draft", "Sample"]

Sample = tuple[Mapping[str, Array], Mapping[str, Array]]
SAMPLES = ("synthetic", "example")


class Draft(Struct, frozen=True):
    """A checked model, not yet bytes. The same draft always gives the same artifact.

    Attributes:
        variants: each with its files, relative name -> content, `variant.entry` among them; best first.
        samples: "synthetic" or "example" -> (inputs, outputs), arrays by name as `signature` has them.
        environment: JSON; what it was packed with. No clocks, no paths.
        hyperparameters: JSON; NaN and infinities are written as texts.
        reference: JSON; sketch of the training data.
    """

    name: str
    version: int
    framework: str
    versions: Mapping[str, str]
    estimator: str
    kind: str
    hyperparameters: Mapping[str, Any]
    signature: Signature
    variants: tuple[tuple[Variant, Mapping[str, bytes]], ...]
    parity: ParityReport
    samples: Mapping[str, Sample]
    environment: Mapping[str, Any]
    notes: tuple[str, ...]
    processing: Processing = NONE
    reference: Mapping[str, Any] | None = None
