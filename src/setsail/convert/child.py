"""Converting an untrusted file: what the parent writes down, and what runs in the child process.

The parent calls `arguments`, then `isolation.call("setsail.convert.child:convert", …)`, then `parcel.load`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from setsail.convert import crossing, parcel, registry
from setsail.convert.conversion import Intent
from setsail.convert.formats import FORMATS, Source
from setsail.errors import SetsailError
from setsail.signature import TensorSpec

__all__ = ["arguments", "convert"]

_FACTORY: Final = "factory"


def arguments(source: Source, intent: Intent, folder: Path) -> dict[str, Any]:
    """Write a source and an intent down for the child; the example's arrays go to the folder.

    Raises:
        SetsailError: `convert.input` for an example that cannot cross; `convert.example` for weights without a
            factory, which alone knows the model they belong to.
    """
    if FORMATS[source.format].trust == _FACTORY and intent.factory is None:
        raise SetsailError(
            "convert.example", f"{source.path.name} holds weights without the model they belong to", field="--factory",
            expected="--factory pkg.mod:fn, a function without arguments that returns the module",
            todo="name the function that builds the model: --factory pkg.mod:fn",
        )  # fmt: skip
    return {
        "source": source.to_json() | {"path": str(source.path.resolve())},
        "intent": {
            "example": crossing.save(intent.example, folder),
            "inputs": [spec.to_json() for spec in intent.inputs],
            "labels": list(intent.labels),
            "seed": intent.seed,
            "framework": intent.framework,
            "factory": intent.factory,
            "weights": str(Path(intent.weights).resolve()) if intent.weights else None,
            "signature": intent.signature,
        },
        # where a person's own modules are: their current folder, and beside the model file
        "search": [str(Path.cwd()), str(source.path.resolve().parent)] if intent.factory else [],
    }


def convert(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Load, convert and pack into the folder. Runs in the child process; `folder` is its own.

    Returns:
        Nothing of use: the Conversion is in the folder, for `parcel.load`.
    """
    sys.path.extend(arguments["search"])
    body, told = arguments["source"], arguments["intent"]
    source = Source(Path(body["path"]), body["format"], body["framework"], body["trust"])
    intent = Intent(
        example=crossing.load(told["example"], folder),
        inputs=tuple(TensorSpec.from_json(spec) for spec in told["inputs"]),
        labels=tuple(told["labels"]),
        seed=told["seed"],
        framework=told["framework"],
        factory=told["factory"],
        weights=told["weights"],
        signature=told["signature"],
    )
    parcel.save(registry.from_file(source, intent), folder)
    return {"saved": True}
