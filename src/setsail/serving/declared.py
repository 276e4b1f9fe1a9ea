"""What a repository says of its models beside the files: `repository.toml` in it.

    [models.credit]
    default = 1                        # the version of requests that name none; without it, the highest
    labels = { stable = 1, next = 2 }  # names of versions, which clients ask for
    latest = 2                         # only so many of the highest versions are served; or
    only = [1, 3]                      # these alone

`setsail pack STORE/ -o REPO/` writes it from what TensorFlow Serving, Triton and TorchServe were told. It is looked at
as often as the directory is, and holds again whenever it, or a version, changes.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field

from setsail.catalog import Policy
from setsail.errors import SetsailError
from setsail.serving.table import Table

__all__ = ["FILE", "Declared", "chosen", "merge", "read", "settled"]

FILE: Final = "repository.toml"
_LARGEST: Final = 1 << 20
_KEYS: Final = ("default", "labels", "latest", "only")
_HEAD: Final = (
    "# What this repository says of its models: docs/serving.md. `setsail serve` reads it at each look.\n"
    "# default: the version of requests that name none. labels: names of versions. latest, only: which are served.\n"
)


class Declared(Struct, frozen=True):
    """What is said of one model. Without a default the highest ready version is it; without a policy all are served."""

    default: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    policy: Policy = Policy()


def read(root: Path) -> Mapping[str, Declared]:
    """What a repository says; nothing where it has no such file.

    Raises:
        SetsailError: `repository.layout` for a file that cannot be read, or says what nobody means.
    """
    path = root / FILE
    try:
        if path.stat().st_size > _LARGEST:
            raise _refused("it is too large", path.stat().st_size, f"at most {_LARGEST} bytes")
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as fault:
        raise _refused("it cannot be read", fault.strerror) from fault
    except (ValueError, RecursionError) as fault:
        raise _refused("it is no TOML", str(fault)) from fault
    models = body.pop("models", {})
    if body or not isinstance(models, dict):
        raise _refused("it says what is not known", ", ".join(body) or models, "[models.NAME]")
    return {name: _declared(name, told) for name, told in models.items()}


def _declared(name: str, told: Any) -> Declared:
    if not isinstance(told, dict) or set(told) - set(_KEYS):
        raise _refused(f"models.{name} says what is not known", told, ", ".join(_KEYS))
    default, labels = told.get("default"), told.get("labels", {})
    latest, only = told.get("latest"), told.get("only")
    if not isinstance(labels, dict) or not isinstance(only, list | None) or (latest is not None and only is not None):
        raise _refused(f"models.{name} cannot be read", told, "labels as a table, and latest or only")
    for number in (default, latest, *labels.values(), *(only or ())):
        if number is not None and (type(number) is not int or number < 1):
            raise _refused(f"models.{name} names what is no version", number, "a positive integer")
    return Declared(default, labels, Policy(latest or 0, tuple(only or ())))


def chosen(versions: Sequence[int], policy: Policy) -> set[int]:
    """Which of the versions that are there a policy serves."""
    if policy.specific:
        return set(versions) & set(policy.specific)
    return set(sorted(versions)[-policy.latest :]) if policy.latest else set(versions)


def settled(table: Table, name: str, now: Declared, before: Declared | None) -> Table:
    """A table with what is said of a model, and without what was said before and no longer is.

    Raises:
        SetsailError: `model.unknown`, or `model.version` for one that is not there; nothing has changed then.
    """
    old = before or Declared()
    labels = table.models[name].labels if name in table.models else {}
    for label, version in old.labels.items():
        if label not in now.labels and labels.get(label) == version:
            table = table.labelled(name, label, None)
    for label, version in now.labels.items():
        table = table.labelled(name, label, version)
    if now.default is not None:
        return table.pinned(name, now.default)
    if old.default is not None and name in table.models and table.models[name].pinned == old.default:
        return table.pinned(name, None)
    return table


def merge(root: Path, more: Mapping[str, Declared]) -> None:
    """Write what is said of these models, beside what the file says of others. Raises what `read` raises."""
    body = {**read(root), **more}
    lines = [_HEAD]
    for name, told in sorted(body.items()):
        lines.append(f"[models.{_quoted(name)}]")
        if told.default is not None:
            lines.append(f"default = {told.default}")
        if told.labels:
            pairs = ", ".join(f"{_quoted(label)} = {version}" for label, version in told.labels.items())
            lines.append(f"labels = {{ {pairs} }}")
        if told.policy.latest:
            lines.append(f"latest = {told.policy.latest}")
        if told.policy.specific:
            lines.append(f"only = [{', '.join(map(str, told.policy.specific))}]")
        lines.append("")
    part = root / f".{FILE}.part"
    part.write_text("\n".join(lines), encoding="utf-8")
    os.replace(part, root / FILE)


def _quoted(text: str) -> str:
    """As a basic string of TOML: JSON's, but no halves of a pair, and no bare DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _refused(why: str, value: object = None, expected: str | None = None) -> SetsailError:
    return SetsailError("repository.layout", f"{FILE}: {why}", field=FILE, value=value, expected=expected,
                        todo=f"mend {FILE}, or take it away")  # fmt: skip
