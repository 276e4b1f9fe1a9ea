"""Verify: is the file whole, safe to load, and does it still answer as it did when it was packed?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from setsail import artifact
from setsail.artifact import verdict
from setsail.convert.conversion import Probe
from setsail.packing.environment import Comparison, compared, parsed
from setsail.packing.index import Answers, ask
from setsail.packing.trial import Trial, run_trial
from setsail.parity import ParityReport

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


def verify(path: Path, *, environment: bool = False) -> Verification:
    """Read every byte, gate every program, replay the stored samples in a child process.

    Args:
        environment: also compare the recorded environment with this one, and ask the package index about it.

    Raises:
        SetsailError: an `artifact.*` or `program.*` code. Answers that changed are no error: see `passed`.
    """
    with artifact.read(path) as opened:
        rows = [Probe(w, *sample) for w in ("synthetic", "example") if (sample := opened.samples(w)) is not None]
        replays = []
        for variant in opened.variants:
            files = opened.files(variant.id)
            trial = Trial(variant, opened.signature, opened.processing, files, opened.slices(variant.id))
            replay = run_trial(trial, rows, opened.parity.tolerance)
            if rows:
                replays.append(replay)
            if not rows or replay.passed:
                verdict.remember(verdict.key(variant, files))
        found = Verification(path, opened.digest, len(opened.manifest["members"]) + 2, tuple(replays))
        if not environment:
            return found
        comparison = compared(parsed(opened.member("environment.json")))
        return replace(found, environment=comparison, index=ask(comparison.packages))
