"""What packing hands over to be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from setsail.parity import ParityReport
from setsail.signature import Signature
from setsail.steps import NONE, Processing
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["SAMPLES", "Draft", "Facet", "Sample"]

Sample = tuple[Mapping[str, Array], Mapping[str, Array]]
SAMPLES = ("synthetic", "example")


class Facet(Struct, frozen=True, kw_only=True):
    """One signature of a model, and all that answers it.

    Attributes:
        kind: the row of the published output table.
        variants: each with its files, relative name -> content, `variant.entry` among them; best first.
        samples: "synthetic" or "example" -> (inputs, outputs), arrays by name as `signature` has them.
    """

    kind: str
    signature: Signature
    variants: tuple[tuple[Variant, Mapping[str, bytes]], ...]
    parity: ParityReport
    samples: Mapping[str, Sample]
    processing: Processing = NONE


class Draft(Facet, frozen=True, kw_only=True):
    """A checked model, not yet bytes. The same draft always gives the same artifact.

    As a facet it is its signature `serving_default`.

    Attributes:
        others: the model's other signatures by name.
        aliases: further names, of `serving_default` or of one of the others.
        environment: JSON; what it was packed with. No clocks, no paths.
        hyperparameters: JSON; NaN and infinities are written as texts.
        reference: JSON; sketch of the training data.
    """

    name: str
    version: int
    framework: str
    versions: Mapping[str, str]
    estimator: str
    hyperparameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    notes: tuple[str, ...]
    others: Mapping[str, Facet] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] | None = None
