"""What every converter returns: programs to try, the contract, and the source model's own outputs.

A converter ends here so that nothing above it knows a framework. All of it is data: it can cross from a sandboxed
child process to its parent as files (`parcel.py`), and comparing is done by whoever can run both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from setsail.signature import Signature, TensorSpec
from setsail.steps import NONE, Processing
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["Apart", "Conversion", "Intent", "Probe", "Program"]

# `module:function`, JSON values, a folder that both sides use -> what `function(values, folder)` returns in a child
# process. Whoever converts a live model is given it: this floor starts no processes.
Apart = Callable[[str, Mapping[str, Any], Path], Any]


@dataclass(frozen=True, slots=True)
class Intent:
    """What the person said beside the model.

    Attributes:
        example: rows for the model as it takes them: an array, a data frame, a mapping of arrays, a tuple of tensors.
        inputs: `--input` texts, already parsed; empty when not given.
        labels: class labels to use instead of the model's own.
        seed: of every draw a converter makes, so that one model gives one artifact.
        framework: `--framework`, overrides what sniffing says.
        factory, weights: `--factory pkg.mod:fn` and `--weights FILE`, for PyTorch state dicts; for Keras, what
            registers own classes.
        signature: `--signature`, which of a SavedModel's is the default.
    """

    example: Any = None
    inputs: tuple[TensorSpec, ...] = ()
    labels: tuple[str, ...] = ()
    seed: int = 0
    framework: str | None = None
    factory: str | None = None
    weights: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A variant with its bytes: relative file name -> content, `variant.entry` among them."""

    variant: Variant
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows with the source model's own outputs, both by name and in the signature's dtypes and shapes.

    Attributes:
        what: `example` (the person's rows), `synthetic` (drawn, nobody's), `boundary` (beside thresholds) or `tied`
            (rows on which the source itself chooses among equals).
        leaf_span: for boundary and tied rows, the largest change that one leaf, or one choice, can make to an output.
    """

    what: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    leaf_span: float = 0.0


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted model. `programs` are in order of preference; the first that passes parity is kept.

    Attributes:
        framework, versions: "scikit-learn" and the versions of all packages that took part.
        estimator: the class or architecture, for people ("Pipeline(StandardScaler, SVC)").
        kind: the row of the published output table (`convert/outputs.py`): "classifier", "regressor", …
        processing: what is to be done around the programs (`steps.py`). Probes have the signature's inputs and outputs,
            before and after all of it.
        hyperparameters: JSON values only.
        notes: what a reader of the artifact should know ("ZipMap removed").
        others: the model's other signatures by name, each converted as this one was; they have no others. This one is
            called `serving_default`, whatever its source calls it.
        aliases: further names of this one (`serving_default`) or of one of the others.
    """

    framework: str
    versions: Mapping[str, str]
    estimator: str
    kind: str
    signature: Signature
    programs: tuple[Program, ...]
    probes: tuple[Probe, ...]
    processing: Processing = NONE
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    others: Mapping[str, Conversion] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
