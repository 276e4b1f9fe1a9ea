"""Targets: an artifact turned into something that a platform runs.

A target is one module (or folder) here, named in TARGETS by text and imported when it is asked for; targets do not
import each other. Each has a function `plan`, which looks at the artifact, refuses by name what the platform cannot
run, and says what would be written before anything is::

    def plan(opened: Artifact, options: Mapping[str, Any]) -> Plan

and a Plan then writes itself into an empty folder, and proves what it wrote: it starts it where that can be done,
sends the artifact's samples and compares. `ship` is the frame around that: what fails leaves nothing behind, and what
is there already is replaced only if it was shipped by us and `force` says so.

Options are rows (`Option`): the flags of `setsail ship`, its help and the checks of values are made from them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from setsail import __version__
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.parity import Check

__all__ = [
    "MARK", "TARGETS", "Option", "Piece", "Plan", "Proof", "Shipment", "Target", "megabytes", "of", "options_of",
    "ship",
]  # fmt: skip

# What `--to` takes -> the module of it.
TARGETS: Final[Mapping[str, str]] = {
    "browser": "setsail.targets.browser",
    "container": "setsail.targets.container",
    "kubernetes": "setsail.targets.kubernetes",
    "ray": "setsail.targets.ray",
}

MARK: Final = "shipment.json"  # in every folder that was shipped; says from what, and what each file's bytes were


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a target: `--name`, with dashes.

    Attributes:
        kind: str, int, float, Path or bool (a flag).
        choices: the only values, where they are few.
        many: whether it may be given several times; its value is a tuple then.
    """

    name: str
    help: str
    default: Any = None
    kind: type = str
    choices: tuple[str, ...] = ()
    many: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that will be written: a file or a group of files, its bytes (None: not known yet), and what it is."""

    name: str
    size: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Proof:
    """How what was written was tried.

    Attributes:
        how: one line: what ran it, on which rows.
        checks: comparisons by the parity rule; empty where nothing could be compared, which `how` explains.
    """

    how: str
    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {"how": self.how, "compared": bool(self.checks), "passed": self.passed,
                "checks": [check.to_json() for check in self.checks]}  # fmt: skip


class Plan(Protocol):
    """What a target makes of an artifact, decided and not yet written.

    Attributes:
        pieces: what will be written.
        warnings: sentences a person should read before.
        next: command lines to type afterwards; `{folder}` stands for where it was written.
        facts: JSON values for `--json` and the mark, e.g. sizes against a budget.
    """

    @property
    def pieces(self) -> Sequence[Piece]: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    @property
    def next(self) -> Sequence[str]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def write(self, folder: Path) -> None:
        """Write everything into an empty folder. The same artifact and options give the same bytes."""

    def prove(self, folder: Path) -> Proof:
        """Run what lies in the folder, leaving it as it is. Raises what says that it does not run."""


class Target(Protocol):
    """The module of a target."""

    SUMMARY: str
    OPTIONS: tuple[Option, ...]

    def plan(self, opened: Artifact, options: Mapping[str, Any]) -> Plan:
        """Decide what would be written.

        Args:
            options: a value for each of OPTIONS.

        Raises:
            SetsailError: `ship.unsupported` where the platform cannot run this artifact, with what it lacks.
        """


@dataclass(frozen=True, slots=True)
class Shipment:
    """What was written, and how it was tried."""

    to: str
    folder: Path
    files: Mapping[str, int]
    warnings: tuple[str, ...]
    proof: Proof
    next: tuple[str, ...]
    facts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"to": self.to, "folder": str(self.folder), "files": dict(self.files), "bytes": sum(self.files.values()),
                "warnings": list(self.warnings), "proof": self.proof.to_json(), **self.facts}  # fmt: skip

    def __str__(self) -> str:
        total = sum(self.files.values())
        lines = [f"{self.folder}: {len(self.files)} files, {megabytes(total)}", self.proof.how]
        worst = max((check.worst for check in self.proof.checks), default=None)
        if worst is not None:
            rows = sum(check.rows for check in self.proof.checks)
            lines.append(f"{rows} stored rows agree; the largest difference is {worst:.3g}")
        return "\n".join(lines)


def of(name: str) -> Target:
    """The module of a target. Raises `setting.value` where there is none of this name."""
    if name not in TARGETS:
        raise SetsailError("setting.value", "there is no such target", field="--to", value=name,
                           expected=", ".join(TARGETS))  # fmt: skip
    module: Any = import_module(TARGETS[name])
    return module  # type: ignore[no-any-return]


def options_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A target's options with their defaults.

    Raises:
        SetsailError: `setting.unknown` for an option that the target does not have, `setting.value` for a value it
            cannot have.
    """
    rows = {option.name: option for option in of(name).OPTIONS}
    for key in given:
        if key not in rows:
            raise SetsailError("setting.unknown", f"the target {name} has no option --{key.replace('_', '-')}",
                               field=key, expected=", ".join(rows) or "none",
                               todo="see setsail ship --help")  # fmt: skip
    return {key: _value(row, given[key]) if given.get(key) is not None else row.default for key, row in rows.items()}


def _value(row: Option, value: Any) -> Any:
    if row.many:
        return tuple(_value(Option(row.name, row.help, None, row.kind, row.choices), one) for one in value)
    try:
        made = value if isinstance(value, row.kind) else row.kind(value)
    except (TypeError, ValueError):
        made = None
    if (
        made is None
        or (row.choices and made not in row.choices)
        or (isinstance(made, float) and not math.isfinite(made))
    ):
        raise SetsailError("setting.value", "an option of the target has a bad value", field=row.name, value=value,
                           expected=" or ".join(row.choices) or row.kind.__name__)  # fmt: skip
    return made


def ship(
    opened: Artifact,
    to: str,
    output: Path,
    given: Mapping[str, Any] | None = None,
    *,
    force: bool = False,
    told: Callable[[Plan], None] = lambda _: None,
    stage: Callable[[str], None] = lambda _: None,
) -> Shipment:
    """Plan, write aside, prove, and put in place; all or nothing.

    Args:
        given: options by name; what is left out has its default.
        force: replace a folder that was shipped before. Any other folder that is not empty is refused.
        told: is handed the plan before anything is written; it may raise to stop.
        stage: is told what is being done.

    Raises:
        SetsailError: what the target refuses, `artifact.exists`, `parity.failed` where what was written answers
            otherwise than the source.
    """
    _free(output, force)
    plan = of(to).plan(opened, options_of(to, given or {}))
    told(plan)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".setsail-ship-", dir=output.parent) as made:
        staged = Path(made) / "out"
        staged.mkdir()
        stage(f"writing {opened.name} for {to}")
        plan.write(staged)
        _mark(staged, opened, to, plan.facts)
        stage("trying what was written on the stored samples")
        proof = plan.prove(staged)
        _hold(to, proof)
        files = {name: path.stat().st_size for name, path in _files(staged)}
        _place(staged, output, Path(made) / "old")
    shown = tuple(line.replace("{folder}", str(output)) for line in plan.next)
    return Shipment(to, output, files, tuple(plan.warnings), proof, shown, plan.facts)


def megabytes(size: int) -> str:
    """Bytes as people read them: 3.7 MB, 12 KB."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{math.ceil(size / 1e3)} KB"


def _free(output: Path, force: bool) -> None:
    if not os.path.lexists(output):
        return
    ours = output.is_dir() and not output.is_symlink() and ((output / MARK).is_file() or not any(output.iterdir()))
    if not ours:
        raise SetsailError("artifact.exists", f"{output} is there, and was not shipped", field="-o", value=str(output),
                           todo="choose another folder: --force replaces only what was shipped before")  # fmt: skip
    if any(output.iterdir()) and not force:
        raise SetsailError("artifact.exists", f"{output} exists already", field="-o", value=str(output))


def _mark(staged: Path, opened: Artifact, to: str, facts: Mapping[str, Any]) -> None:
    """The mark says nothing of this machine or of the time, so that the same shipment is the same bytes."""
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _files(staged)}
    body = {"to": to, "setsail": __version__, "model": opened.name, "version": opened.version,
            "artifact": opened.digest, "facts": dict(facts), "files": digests}  # fmt: skip
    (staged / MARK).write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _files(folder: Path) -> list[tuple[str, Path]]:
    return sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*") if p.is_file())


def _hold(to: str, proof: Proof) -> None:
    for check in proof.checks:
        if not check.passed:
            raise SetsailError(
                "parity.failed", f"what was written for {to} differs from its source on {check.failed} of {check.rows} "
                f"{check.what} rows: {check.gap}", field=check.where,
                expected="agreement by the parity rule", todo="nothing was written",
            )  # fmt: skip


def _place(staged: Path, output: Path, old: Path) -> None:
    """The folder as a whole: what was there before goes only when the new one is ready."""
    if output.is_dir():
        output.rename(old)
    staged.rename(output)
    if old.is_dir():
        shutil.rmtree(old)
