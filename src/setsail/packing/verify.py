"""Verify: is the file whole, safe to load, and does it still answer as it did when it was packed?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from setsail import artifact
from setsail.artifact import Artifact, verdict
from setsail.convert.conversion import Probe
from setsail.packing.environment import Comparison, compared, parsed
from setsail.packing.index import Answers, ask
from setsail.packing.trial import Trial, run_trial
from setsail.parity import ParityReport
from setsail.signature import DEFAULT

__all__ = ["Verification", "verify"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked.

    Attributes:
        replays: one report for each variant whose stored samples were replayed.
        environment, index: where that was asked for: the record beside this machine, and what the index has of it.
    """

    path: Path
    digest: str
    members: int
    replays: tuple[ParityReport, ...]
    environment: Comparison | None = None
    index: Answers | None = None

    @property
    def passed(self) -> bool:
        return all(r.passed for r in self.replays)

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "path": str(self.path), "digest": self.digest, "members": self.members, "passed": self.passed,
            "replays": [r.to_json() for r in self.replays],
        }  # fmt: skip
        if self.environment is not None:
            body["environment"] = self.environment.to_json()
        return body if self.index is None else body | {"index": self.index.to_json()}

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.members} members, every digest right", f"  digest {self.digest}"]
        if not self.replays:
            lines.append("  no stored samples to replay")
        for replay in self.replays:
            lines += ["  " + line for line in str(replay).splitlines()]
        for told in (self.environment, self.index):
            lines += ["  " + line for line in str(told).splitlines()] if told is not None else []
        return "\n".join(lines)


def _replayed(name: str, opened: Artifact) -> Iterator[ParityReport]:
    """Of one signature, a report for each variant; those of any but the default one have its name before theirs."""
    rows = [Probe(w, *sample) for w in ("synthetic", "example") if (sample := opened.samples(w)) is not None]
    for variant in opened.variants:
        files = opened.files(variant.id)
        trial = Trial(variant, opened.signature, opened.processing, files, opened.slices(variant.id))
        replay = run_trial(trial, rows, opened.parity.tolerance)
        if not rows or replay.passed:
            verdict.remember(verdict.key(variant, files))
        if rows:
            yield replay if name == DEFAULT else replace(replay, variant=f"{name}/{variant.id}")


def verify(path: Path, *, environment: bool = False) -> Verification:
    """Read every byte, gate every program, replay the stored samples in a child process.

    Args:
        environment: also compare the recorded environment with this one, and ask the package index about it.

    Raises:
        SetsailError: an `artifact.*` or `program.*` code. Answers that changed are no error: see `passed`.
    """
    with artifact.read(path) as opened:
        replays = [replay for name, one in opened.signatures.items() for replay in _replayed(name, one)]
        found = Verification(path, opened.digest, len(opened.manifest["members"]) + 2, tuple(replays))
        if not environment:
            return found
        comparison = compared(parsed(opened.member("environment.json")))
        return with_fields(found, environment=comparison, index=ask(comparison.packages))
