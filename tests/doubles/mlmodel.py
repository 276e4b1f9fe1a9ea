"""MLflow model directories written by hand, as MLflow 3 writes them: `MLmodel` and what it names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["columns", "directory", "split", "tensor"]


def columns(**types: str) -> list[dict[str, Any]]:
    """A schema of columns: `columns(age="double", city="string")`."""
    return [{"type": kind, "name": name, "required": True} for name, kind in types.items()]


def tensor(dtype: str, *shape: int, name: str = "") -> dict[str, Any]:
    spec = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}
    return {"name": name} | spec if name else spec


def split(frame: Any) -> dict[str, Any]:
    """A data frame as `input_example.json` has it."""
    return {"columns": list(frame.columns), "data": json.loads(frame.to_json(orient="values"))}


def directory(
    folder: Path,
    flavours: Mapping[str, Mapping[str, Any]],
    *,
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    params: Sequence[Any] = (),
    example: Any = None,
    kind: str = "dataframe",
    requirements: str = "",
    **more: Any,
) -> Path:
    """Write everything but the model itself.

    Args:
        example: content of input_example.json; `kind` is its type.
        more: other keys of MLmodel.
    """  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    body: dict[str, Any] = {
        "flavors": {name: dict(options) for name, options in flavours.items()}, "mlflow_version": "3.17.2",
        "model_uuid": "0123456789abcdef0123456789abcdef", "run_id": "fedcba9876543210fedcba9876543210",
        "utc_time_created": "2026-11-21 11:18:04.890195", **more,
    }  # fmt: skip
    if inputs or outputs or params:
        body["signature"] = {
            side: json.dumps(specs) if specs else None
            for side, specs in (("inputs", list(inputs)), ("outputs", list(outputs)), ("params", list(params)))
        }
    if example is not None:
        (folder / "input_example.json").write_text(json.dumps(example))
        body["saved_input_example_info"] = {"artifact_path": "input_example.json", "type": kind}
    (folder / "requirements.txt").write_text(requirements)
    (folder / "MLmodel").write_text(yaml.safe_dump(body, sort_keys=True))
    return folder
