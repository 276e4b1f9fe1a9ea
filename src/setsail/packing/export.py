"""Export: the model of an artifact as files that other tools read, tried before they are given.

Whatever is written is first written aside, loaded in a child process by what will read it, and run on the artifact's
stored samples: an export that answers otherwise than the source is refused, and nothing is left of it. What a target
cannot have from an artifact is refused with its reason, and with what leads there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from setsail.artifact import Artifact
from setsail.convert.conversion import Probe
from setsail.errors import SetsailError
from setsail.packing.mar import archive, try_archive
from setsail.packing.rebuilding import Facet, rebuild
from setsail.packing.trial import Trial, run_trial
from setsail.parity import ParityReport
from setsail.signature import DEFAULT
from setsail.variants import Variant

__all__ = ["TARGETS", "Exported", "export"]

SIGNATURE: Final = "signature.json"
_WHOLE: Final = ("savedmodel",)  # what holds all signatures where the default one is asked for
_Writer = Callable[[Artifact, Path, str], ParityReport]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how it agreed with the stored samples; a report without checks where there are none.

    `signature`: which it is; `left`: those that are not in it.
    """

    files: tuple[Path, ...]
    report: ParityReport
    signature: str = DEFAULT
    left: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"files": [str(path) for path in self.files], "compared": bool(self.report.checks),
                "parity": self.report.to_json(), "signature": self.signature, "left": list(self.left)}  # fmt: skip

    def __str__(self) -> str:
        rows = sum(check.rows for check in self.report.checks if check.batch == 0)
        worst = max((check.worst for check in self.report.checks), default=0.0)
        told = f"run on {rows} stored rows, the largest difference is {worst:.3g}"
        if not self.report.checks:
            told = "loaded, and compared with nothing: the artifact has no stored samples"
        return "\n".join([*map(str, self.files), told])


def export(opened: Artifact, to: str, folder: Path, signature: str = DEFAULT) -> Exported:
    """Write a model's files into a folder.

    Args:
        to: a key of TARGETS.
        signature: which of the model's, by its name or a further one.

    Raises:
        SetsailError: `setting.value` for an unknown target, `model.signature` for one it does not have,
            `convert.unsupported` with the reason where the artifact cannot be had so, `parity.failed` where what was
            written answers otherwise, `artifact.exists` when a file is there already, `dependency.missing`.
    """
    if to not in TARGETS:
        raise SetsailError("setting.value", "there is no such export", field="--to", value=to,
                           expected=", ".join(TARGETS))  # fmt: skip
    meant, signature = opened.under(signature), opened.aliases.get(signature, signature)
    with tempfile.TemporaryDirectory(prefix="setsail-export-") as made:
        staged = Path(made)
        report = TARGETS[to](meant, staged, opened.name if signature == DEFAULT else f"{opened.name}-{signature}")
        if report.checks and not report.passed:
            worst = max(report.checks, key=lambda c: (not c.passed, c.worst))
            raise SetsailError(
                "parity.failed", f"the {to} export differs from its source on {worst.failed} of {worst.rows} "
                f"{worst.what} rows: {worst.gap}", field=worst.where,
                expected="agreement by the parity rule", todo="nothing was written; export another form",
                report=report.to_json(),
            )  # fmt: skip
        whole = to in _WHOLE and meant is opened
        left = () if whole else tuple(name for name in opened.signatures if name != signature)
        return Exported(_moved(staged, folder), report, signature, left)


def _moved(staged: Path, folder: Path) -> tuple[Path, ...]:
    """All files or none."""
    files = [path.relative_to(staged) for path in _files(staged)]
    for name in files:
        if (folder / name).exists():
            raise SetsailError("artifact.exists", f"{folder / name} exists already", field="-o",
                               todo="choose another folder")  # fmt: skip
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staged / name, folder / name)
    return tuple(folder / name for name in files)


def _files(staged: Path) -> list[Path]:
    """The model first, the signature last."""
    return sorted((p for p in staged.rglob("*") if p.is_file()), key=lambda p: (p.name == SIGNATURE, str(p)))


# -- targets ------------------------------------------------------------------------------------------------------


def _variant(opened: Artifact, to: str, wanted: Callable[[Variant], bool], todo: str) -> Variant:
    found = [v for v in opened.variants if wanted(v)]
    if not found:
        have = ", ".join(f"{v.id} ({v.format})" for v in opened.variants)
        raise SetsailError("convert.unsupported", f"{opened.name} has no program that {to} could be made of",
                           field="--to", value=to, expected=f"one of what it has: {have}", todo=todo)  # fmt: skip
    return found[0]


def _onnx(opened: Artifact, staged: Path, name: str) -> ParityReport:
    variant = _variant(opened, "onnx", _is_onnx, "export the booster's own file: --to native")
    return _plain(opened, variant, staged)


def _native(opened: Artifact, staged: Path, name: str) -> ParityReport:
    todo = "export --to onnx; an artifact keeps the framework's own file only where ONNX does not answer as it does"
    return _plain(opened, _variant(opened, "native", lambda v: not _is_onnx(v), todo), staged)


def _is_onnx(variant: Variant) -> bool:
    return variant.format == "onnx"


def _plain(opened: Artifact, variant: Variant, staged: Path) -> ParityReport:
    """A variant's files as they are, with the signature and the steps beside them."""
    files = {name: bytes(data) for name, data in opened.files(variant.id).items()}
    _write(staged, files | _beside(opened))
    slices = {name: (str(staged / name), 0, len(data)) for name, data in files.items()}
    trial = Trial(variant, opened.signature, opened.processing, files, slices)
    return run_trial(trial, samples(opened), opened.parity.tolerance)


def _mar(opened: Artifact, staged: Path, name: str) -> ParityReport:
    variant = _variant(opened, "mar", _is_onnx, "pack the model from a form that becomes ONNX, or serve the artifact")
    path = staged / f"{name}.mar"
    path.write_bytes(archive(opened, variant, name))
    return try_archive(opened, variant, path, samples(opened))


def _torch(to: str) -> _Writer:
    def make(opened: Artifact, staged: Path, name: str) -> ParityReport:
        report, _ = rebuild([_facet(opened, to, (DEFAULT,))], to, staged)
        _write(staged, _beside(opened))
        return report

    return make


def _savedmodel(opened: Artifact, staged: Path, name: str) -> ParityReport:
    """All signatures under all their names; one that cannot be rebuilt is refused with the others."""
    facets = [
        _facet(held, "savedmodel", (own, *(alias for alias, whose in opened.aliases.items() if whose == own)))
        for own, held in opened.signatures.items()
    ]
    report, renamed = rebuild(facets, "savedmodel", staged)
    named = {own: names for own, names in zip(opened.signatures, renamed, strict=True) if names}
    _write(staged, _beside(opened, {"renamed": named} if named else {}))
    for own, held in opened.others.items():
        _write(staged / "signatures" / own, _beside(held))
    return report


def _facet(opened: Artifact, to: str, names: tuple[str, ...]) -> Facet:
    variant = _variant(opened, to, _is_onnx, "export the framework's own file: --to native")
    return Facet(names, opened, variant, samples(opened))


def _beside(opened: Artifact, more: Mapping[str, Any] = MappingProxyType({})) -> dict[str, bytes]:
    signature = opened.signature.to_json() | opened.processing.to_json() | dict(more)
    found = {name: bytes(data) for name, data in opened.processing.files.items()}
    return found | {SIGNATURE: json.dumps(signature, indent=2, ensure_ascii=False).encode() + b"\n"}


def _write(staged: Path, contents: Mapping[str, bytes]) -> None:
    for name, data in contents.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(data)


def samples(opened: Artifact) -> list[Probe]:
    """The stored rows with the source's outputs."""
    return [Probe(w, *sample) for w in ("synthetic", "example") if (sample := opened.samples(w)) is not None]


# What `--to` takes -> who writes it into a folder, under the model's name, and says how it agrees.
TARGETS: Final[Mapping[str, _Writer]] = {
    "onnx": _onnx,
    "native": _native,
    "mar": _mar,
    "pt2": _torch("pt2"),
    "torchscript": _torch("torchscript"),
    "savedmodel": _savedmodel,
}
