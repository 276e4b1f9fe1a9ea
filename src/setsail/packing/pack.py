"""Pack: convert, gate, try, compare, write. Nothing is written unless a program agrees with its source."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from setsail import __version__, artifact, binding, caches, convert, isolation
from setsail.artifact import Artifact, admission, gate, verdict
from setsail.artifact.manifest import check_signature
from setsail.convert import Source, child, parcel
from setsail.convert.conversion import Apart, Conversion, Intent, Probe, Program
from setsail.convert.formats import FORMATS
from setsail.errors import SetsailError
from setsail.messages import Body
from setsail.packing import environment
from setsail.packing.reference import reference as sketched
from setsail.packing.trial import Trial, head, run_trial
from setsail.parity import ParityReport
from setsail.signature import DEFAULT, Signature

__all__ = ["PackOptions", "Progress", "pack", "pack_cached"]

Progress = Callable[[str], None]
PLAIN: Final = Intent()
_SCORES: Final = "--tolerance T multiplies the rule if that is good enough for you"
_WHOLE: Final = "labels and whole numbers have no tolerance: of a quantised model, pack what it was before"
KEPT_ROWS: Final = 64
_WAIT_SECONDS: Final = 600.0  # for another process that packs the same; then both do, and the file is the same
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def _silent(_: str) -> None: ...


@dataclass(frozen=True, slots=True)
class PackOptions:
    """How to pack; what the model is stands in Intent.

    Attributes:
        name, version, output: of the artifact; the name defaults to the file's or the class's.
        tolerance: multiplies the parity rule's terms.
        samples: `synthetic` (rows that are nobody's), `example` (at most 64 given rows as well) or `none`.
        reference: gives the training rows to sketch for drift, as a request body, once the signature is known.
        trust: kinds of format whose loading may run code that the person accepted.
        ask: called with the source when trust is needed and was not given; True accepts.
        sandbox: False runs trusted code without the network cut where it cannot be had.
        progress: called with a line for every stage.
    """

    name: str | None = None
    version: int = 1
    output: Path | None = None
    force: bool = False
    tolerance: float = 1.0
    samples: str = "synthetic"
    reference: Callable[[Signature], Body] | None = None
    trust: tuple[str, ...] = ()
    ask: Callable[[Source], bool] | None = None
    sandbox: bool = True
    progress: Progress = _silent


def pack(model: Any, intent: Intent, options: PackOptions) -> Artifact:
    """Pack a live model or a file into an artifact.

    Args:
        model: a fitted estimator, booster or module, or the path of a model file.

    Returns:
        The artifact, opened.

    Raises:
        SetsailError: `source.*`, `convert.*`, `program.*`, `parity.failed` (its `report` fact holds the numbers),
            `artifact.exists`, `model.name` or `dependency.missing`.
    """
    source = convert.recognise(Path(model), intent.framework) if isinstance(model, str | Path) else None
    own = source.name or source.path.stem if source else type(model).__name__.lower()
    name = _name(options.name or own, options.name is None)
    output = options.output or Path(f"{name}-{options.version}.setsail")
    if output.exists() and not options.force:
        raise SetsailError("artifact.exists", f"{output} exists already", field="-o", value=str(output))
    options.progress(f"converting {source.describe()}" if source else f"converting {type(model).__name__}")
    conversion = _convert(source, intent, options) if source else convert.convert(model, intent, _apart(options))
    draft = _draft(conversion, name, options)
    options.progress(f"writing {output}")
    made = artifact.write(draft, output, force=options.force)
    for opened in made.signatures.values():
        for variant in opened.variants:
            verdict.remember(verdict.key(variant, opened.digests(variant.id)))
    return made


def pack_cached(path: Path, options: PackOptions, intent: Intent = PLAIN) -> tuple[Path, bool]:
    """Pack a source that needs nothing but itself into the cache, or find it there.

    Args:
        intent: without an example, which has no name in a cache.

    Returns:
        The artifact's path, and whether it was there.
    """
    told = (__version__, options.name, options.version, options.tolerance, *(() if intent == PLAIN else (intent,)))
    key = hashlib.sha256(repr(told).encode())
    for file in _contents(path):
        key.update(file.name.encode())
        with file.open("rb") as opened:
            key.update(hashlib.file_digest(opened, "sha256").digest())
    target = caches.folder("packed") / f"{key.hexdigest()}.setsail"
    if target.exists():
        return target, True
    name = options.name or _name(path.stem, True)
    with caches.lock(target.with_suffix(".lock"), _WAIT_SECONDS):  # several processes may look at one repository
        if target.exists():
            return target, True
        pack(path, intent, replace(options, output=target, name=name, force=True)).close()
    return target, False


def _contents(path: Path) -> list[Path]:
    """All files that decide what a source is: an ONNX model's external weights as much as the model."""
    source = convert.recognise(path)
    if source.format == "onnx":
        facts = gate.inspect_path(source.path)
        return [source.path, *(source.path.parent / name for name in facts.external)]
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _name(text: str, derived: bool) -> str:
    if derived:
        text = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._") or "model"
    if not _NAME.fullmatch(text):
        raise SetsailError("model.name", "a model cannot have this name", field="name", value=text)
    return text


def _convert(source: Source, intent: Intent, options: PackOptions) -> Conversion:
    """Convert a file, always in a child process: its framework's reader may run code, or crash on a bad file."""
    if served := FORMATS[source.format].served:
        raise SetsailError("convert.unsupported", f"{source.path.name} is code, which is not packed",
                           value=source.describe(), todo=served)  # fmt: skip
    _ask_trust(source, options)
    admission.admit_source(source.innermost.format, source.innermost.path)
    folder = Path(tempfile.mkdtemp(prefix="setsail-convert-"))
    try:
        arguments = child.arguments(source, intent, folder)
        untrusted = source.trust is not None
        options.progress(f"reading it in a child process{' without network' if untrusted else ''}")
        isolation.call("setsail.convert.child:convert", arguments, folder, sandbox=options.sandbox,
                       require_network_cut=untrusted)  # fmt: skip
        return parcel.load(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _apart(options: PackOptions) -> Apart:
    """Calls a function in a child process, for a live model that takes one; it runs what this process ran anyway."""

    def call(target: str, arguments: Mapping[str, Any], folder: Path) -> Any:
        options.progress("translating it in a child process")
        return isolation.call(target, arguments, folder, sandbox=options.sandbox, require_network_cut=False)

    return call


def _ask_trust(source: Source, options: PackOptions) -> None:
    if source.trust is None or source.trust in options.trust:
        return
    if options.ask is not None and options.ask(source):
        return
    raise SetsailError(
        "source.trust", f"loading {source.path.name} ({source.describe()}) can run code", field="--trust",
        expected=f"--trust {source.trust}", todo=f"if you trust where the file comes from, add --trust {source.trust}",
    )  # fmt: skip


def _choose(conversion: Conversion, options: PackOptions) -> tuple[Program, ParityReport]:
    """The first program that agrees with the source; the others' reasons are kept in the report."""
    rows = conversion.probes
    refused: list[str] = []
    report: ParityReport | None = None
    for program in conversion.programs:
        options.progress(f"comparing {program.variant.id} with the source on {sum(_count(r) for r in rows)} rows")
        trial = Trial(program.variant, conversion.signature, conversion.processing, program.files)
        try:
            report = run_trial(trial, rows, options.tolerance)
        except SetsailError as fault:
            if fault.code == "dependency.missing" or not fault.code.startswith("program."):
                raise
            refused.append(f"{program.variant.id}: {fault}")
            continue
        if report.passed:
            return program, report.after(refused)
        widest = max(report.checks, key=lambda c: (not c.passed, c.worst))
        told = f"differs by up to {widest.worst:.3g}" if not widest.flips else f"differs: {widest.gap}"
        refused.append(f"{program.variant.id}: {told}")
    if report is None:
        raise SetsailError("program.trial", f"no program of the model runs: {'; '.join(refused) or 'it has none'}")
    worst = max(report.checks, key=lambda c: (not c.passed, c.worst))
    raise SetsailError(
        "parity.failed", f"the program differs from its source on {worst.failed} of {worst.rows} {worst.what} rows: "
        f"{worst.gap}", field=worst.where, expected="1e-4 + 1e-3 |value| or less",
        todo="nothing was written; " + (_WHOLE if worst.flips and worst.where == worst.flipped else _SCORES),
        report=report.after(refused).to_json(),
    )  # fmt: skip


def _count(rows: Probe) -> int:
    first = next(iter(rows.outputs.values()))
    return len(first) if first.ndim else 1  # a model without a batch may answer one number


def _facet(conversion: Conversion, options: PackOptions) -> dict[str, Any]:
    """What an artifact holds of one signature: fields of `artifact.Facet`. Raises what keeps it from being written."""
    program, report = _choose(conversion, options)
    kept = {"synthetic", "example"} if options.samples == "example" else {options.samples}
    limit = KEPT_ROWS if conversion.signature.batched else 1 << 30
    samples = {p.what: (head(p.inputs, limit), head(p.outputs, limit)) for p in conversion.probes if p.what in kept}
    return {
        "kind": conversion.kind, "signature": conversion.signature, "processing": conversion.processing,
        "variants": ((program.variant, program.files),), "parity": report, "samples": samples,
    }  # fmt: skip


def _others(conversion: Conversion, options: PackOptions) -> tuple[dict[str, artifact.Facet], list[str]]:
    """The other signatures that agree with their source, and a note for each that is not carried."""
    facets: dict[str, artifact.Facet] = {}
    notes = []
    for name, other in conversion.others.items():
        options.progress(f"signature {name}")
        try:
            check_signature(name, [DEFAULT, *facets])
            facets[name] = artifact.Facet(**_facet(other, options))
        except SetsailError as fault:
            if fault.code == "dependency.missing":
                raise
            notes.append(f"signature {name!r} is not carried: {' '.join(fault.what.split())}")
        else:
            notes += [f"{name}: {note}" for note in other.notes]
    return facets, notes


def _aliases(conversion: Conversion, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Further names of signatures that are there, and a note for each that is not carried."""
    aliases: dict[str, str] = {}
    notes = []
    for name, meant in conversion.aliases.items():
        try:
            check_signature(name, [*names, *aliases])
            if meant not in names:
                raise SetsailError("artifact.field", f"it is another name of {meant!r}")
        except SetsailError as fault:
            notes.append(f"signature {name!r} is not carried: {' '.join(fault.what.split())}")
        else:
            aliases[name] = meant
    return aliases, notes


def _draft(conversion: Conversion, name: str, options: PackOptions) -> artifact.Draft:
    facet = _facet(conversion, options)
    others, notes = _others(conversion, options)
    aliases, more = _aliases(conversion, [DEFAULT, *others])
    reference = None
    if options.reference is not None:
        ((variant, files),) = facet["variants"]
        rows = binding.bind(conversion.signature, options.reference(conversion.signature))
        options.progress("sketching the reference")
        reference = sketched(Trial(variant, conversion.signature, conversion.processing, files), rows)
    return artifact.Draft(
        name=name, version=options.version, framework=conversion.framework, versions=conversion.versions,
        estimator=conversion.estimator, hyperparameters=conversion.hyperparameters, others=others, aliases=aliases,
        environment=environment.record(conversion.versions), notes=(*conversion.notes, *notes, *more),
        reference=reference, **facet,
    )  # fmt: skip
