"""YAML of other tools (MLflow's `MLmodel`, TorchServe's `model-config.yaml`) as plain values, within limits.

Only what JSON could say comes out, plus dates: `safe` constructors, no tag that names a class. The file is walked as
events first, so that size, depth and number of values are known before anything is built. Aliases are refused: a few
lines of them can stand for billions of values, and none of these tools writes any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["parse", "read"]

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 200_000


def read(path: Path) -> Any:
    """The one document of a file. Raises `source.damaged`, or `dependency.missing` without PyYAML."""
    with path.open("rb") as file:
        return parse(file.read(MAX_BYTES + 1), path.name)


def parse(data: bytes, name: str) -> Any:
    """The same of bytes; `name` is the file's, for the error."""
    if len(data) > MAX_BYTES:
        raise _damaged(name, f"it is larger than {MAX_BYTES >> 20} MiB")
    yaml = _yaml()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _measure(yaml, yaml.parse(data, Loader=loader), name)
        return yaml.load(data, Loader=loader)
    except SetsailError:
        raise
    except yaml.YAMLError as fault:
        raise _damaged(name, " ".join(str(fault).split())) from fault
    except (ValueError, OverflowError, RecursionError) as fault:  # a date that is none, a number without end
        raise _damaged(name, f"{type(fault).__name__}: {fault}") from fault


def _measure(yaml: Any, events: Any, name: str) -> None:
    depth = count = documents = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise _damaged(name, f"it has an alias, *{event.anchor}")
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise _damaged(name, "it holds several documents")
        count += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            raise _damaged(
                name, f"it is nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else "it has too many values"
            )


def _damaged(name: str, why: str) -> SetsailError:
    return SetsailError("source.damaged", f"{name} cannot be read: {why}", field=name, expected="plain YAML")


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError as fault:
        line = 'pip install "setsail[mlflow]"'
        raise SetsailError("dependency.missing", "pyyaml is not installed", field="yaml", todo=f"run: {line}",
                           command=line) from fault  # fmt: skip
    return yaml
