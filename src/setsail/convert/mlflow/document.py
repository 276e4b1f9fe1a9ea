"""`MLmodel`: what an MLflow model directory says about itself, as checked values.

Unknown keys are left alone: every version of MLflow adds some. What is used has its type checked here, so that no other
module has to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from setsail.convert import yaml_file
from setsail.errors import SetsailError

__all__ = ["FILE", "PYFUNC", "Document", "damaged", "inside", "read"]

FILE: Final = "MLmodel"
PYFUNC: Final = "python_function"


@dataclass(frozen=True, slots=True)
class Document:
    """A directory's `MLmodel`.

    Attributes:
        flavours: name -> its options, as written.
        inputs, outputs, params: the lists of the signature's three schemas; empty where there is none.
        example: `saved_input_example_info`, or empty.
        mlflow: version that wrote it, "" where it does not say.
    """

    folder: Path
    flavours: Mapping[str, Mapping[str, Any]]
    inputs: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    params: tuple[Mapping[str, Any], ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    mlflow: str = ""

    @property
    def pyfunc(self) -> Mapping[str, Any] | None:
        """The options of `python_function`, or None."""
        return self.flavours.get(PYFUNC)

    def option(self, flavour: str, key: str, default: str = "") -> str:
        """A flavour's option that must be text. Raises `source.damaged`."""
        value = self.flavours[flavour].get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise damaged(f"{key} of flavour {flavour} is no text", value)
        return value


def read(folder: Path) -> Document:
    """Read a directory's `MLmodel`. Raises `source.damaged`, `dependency.missing`."""
    body = yaml_file.read(folder / FILE)
    flavours = body.get("flavors") if isinstance(body, dict) else None
    named = isinstance(flavours, dict) and all(isinstance(k, str) for k in flavours)
    if not named or not flavours or not all(isinstance(v, dict) for v in flavours.values()):
        raise damaged("it has no flavors", flavours)
    signature = body.get("signature") or {}
    if not isinstance(signature, dict):
        raise damaged("its signature is no mapping", signature)
    schemas = {side: _schema(side, signature.get(side)) for side in ("inputs", "outputs", "params")}
    info = body.get("saved_input_example_info") or {}
    if not isinstance(info, dict):
        raise damaged("saved_input_example_info is no mapping", info)
    version = body.get("mlflow_version")
    return Document(folder, flavours, **schemas, example=info, mlflow=version if isinstance(version, str) else "")


def _schema(side: str, text: Any) -> tuple[Mapping[str, Any], ...]:
    """One of the three schemas: a JSON list of objects inside a YAML text."""
    if text is None:
        return ()
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError) as fault:
        raise damaged(f"the signature's {side} are no JSON", text) from fault
    if not isinstance(found, list) or not all(isinstance(spec, dict) for spec in found):
        raise damaged(f"the signature's {side} are no list of specs", found)
    return tuple(found)


def inside(folder: Path, name: str) -> Path:
    """A path that `MLmodel` names, which must lie in its directory. Raises `source.damaged`."""
    path = folder / name
    outside = not name or Path(name).is_absolute() or "\0" in name or ".." in Path(name).parts
    if outside or not path.resolve().is_relative_to(folder.resolve()):
        raise damaged("it names a path outside its directory", name)
    if not path.exists():
        raise damaged("it names a file that is not there", name)
    return path


def damaged(why: str, value: object = None) -> SetsailError:
    return SetsailError("source.damaged", f"{FILE} cannot be used: {why}", field=FILE, value=value,
                        expected="an MLflow model directory as save_model writes it")  # fmt: skip
