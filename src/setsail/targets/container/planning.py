"""What the container target would write: the image, layer by layer, and its build context."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from setsail import caches
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.targets import Piece, Proof, megabytes
from setsail.targets.container import context
from setsail.targets.container.base import ARCHITECTURE, Base, Facts, open_base
from setsail.targets.container.image import MODELS, Image, image, labels, push, variables
from setsail.targets.container.layers import Entry, Layer, pack, write
from setsail.targets.container.libraries import Library, libraries
from setsail.targets.container.registry import Reference
from setsail.targets.container.room import Room, hindrance
from setsail.targets.container.runtime import HOME, LIBRARIES, compiler, environment, layer, site
from setsail.targets.container.sbom import MEDIA_TYPE, bill
from setsail.targets.container.trial import replay
from setsail.targets.container.wheels import Wheel, own_wheel, packages, wheels

__all__ = ["ContainerPlan", "plan"]

ARCHIVE: Final = "image.tar"
BUDGET: Final = 250e6  # bytes on disk that an image of a tabular model should not be larger than
KEPT: Final = ("blobs", "layers", "wheels")  # what is kept between shipments,
KEPT_BYTES: Final = 2 << 30  # and how much of each: some fifty images that have nothing in common
_SLIM: Final = "docker.io/library/python:{}.{}-slim-bookworm"
_GLIBC: Final = (2, 36)  # Debian 12's


@dataclass
class ContainerPlan:
    """Everything is decided, and all but the model's layer is made and kept in the cache."""

    opened: Artifact
    parts: list[Wheel]
    base_name: str
    base: Base | None
    ours: list[Layer]
    image_name: str
    version: tuple[int, int]
    libraries: tuple[Library, ...] = ()
    to: Reference | None = None
    warnings: list[str] = field(default_factory=list)
    _made: Image | None = None

    @property
    def pieces(self) -> Sequence[Piece]:
        """The layers of the archive, then what is beside it."""
        found = [Piece("Dockerfile", None, f"and what it copies: {len(self.parts)} wheels, digests, the model"),
                 Piece("wheels/", sum(w.path.stat().st_size for w in self.parts), "a build fetches only its base"),
                 Piece("sbom.cdx.json", None, "the bill of materials")]  # fmt: skip
        if self.base is None:
            return found
        layers = [*self.base.layers, *self.ours]
        unpacked = megabytes(sum(la.unpacked for la in layers))
        found.insert(0, Piece(ARCHIVE, sum(la.size for la in layers), f"the image, {unpacked} unpacked"))
        for position, la in enumerate(layers, 1):
            found.insert(position, Piece("  layer", la.size, f"{la.what}, {megabytes(la.unpacked)} unpacked"))
        return found

    @property
    def next(self) -> Sequence[str]:
        run = f"docker run --rm --read-only --tmpfs /tmp -p 8080:8080 {self.image_name}"
        if self.base is None:
            return (f"docker build -t {self.image_name} {{folder}}", run)
        return (f"docker load -i {{folder}}/{ARCHIVE}", run)

    @property
    def facts(self) -> Mapping[str, Any]:
        if self.base is None:
            return {"image": None, "base": self.base_name}
        made = self._image()
        return {
            "image": {"name": self.image_name, "digest": made.digest, "bytes": made.size, "unpacked": made.unpacked,
                      "layers": [{"digest": la.digest, "bytes": la.size, "unpacked": la.unpacked, "what": la.what}
                                 for la in made.layers]},
            "base": self.base_name,
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        base = self.base
        told = labels(self.opened, base)
        document = bill(base.facts if base else None, self.parts, self.opened, self.libraries)
        files = context.files(
            self.opened, self.parts, base=self.base_name, image=self.image_name, labels=told, bill=document,
            archive=ARCHIVE if base else "", libraries=self.libraries, site=site(self.version),
            variables=variables(base, bool(self.libraries)),
        )  # fmt: skip
        for name, content in files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, place)
            else:
                place.write_bytes(content)
        if base is not None:
            self._image().write(folder / ARCHIVE)

    def prove(self, folder: Path) -> Proof:
        """Run the image here and replay the samples; then, and only where they agree, push it."""
        if self.base is None:
            return Proof("not run: there is no image, only what one is built from")
        made = self._image()
        why = hindrance(made)
        if why is not None:
            proof = Proof(f"not run: {why}")
        else:
            with Room(made) as room:
                checks = replay(self.opened, room)
            told = "served from its own root, read-only, and ended by SIGTERM"
            proof = Proof(told if checks else f"{told}; there are no stored samples to compare", checks)
        if self.to is not None and proof.passed:
            document = (folder / "sbom.cdx.json").read_bytes()
            sent = push(made, self.to, {MEDIA_TYPE: document})
            proof = Proof(f"{proof.how}; pushed to {self.to}, {megabytes(sent['sent'])} sent, "
                          f"{megabytes(sent['there'])} there already", proof.checks)  # fmt: skip
        return proof

    def _image(self) -> Image:
        if self._made is None:
            assert self.base is not None
            told = variables(self.base, bool(self.libraries))
            self._made = image(self.opened, self.base, self.ours, self.image_name, told)
        return self._made


def plan(opened: Artifact, options: Mapping[str, Any]) -> ContainerPlan:
    """Read the base, fetch the wheels, make the layers that do not change with the model.

    Raises:
        SetsailError: `ship.base` for a base that cannot be one, `ship.fetch` where a registry or index does not answer,
            `dependency.missing`, `setting.value`.
    """
    name = options["image"] or f"{_lower(opened.name)}:{opened.version}"
    to = Reference.parse(options["push"]) if options["push"] else None
    _ = Reference.parse(name)
    warnings: list[str] = []
    base = _base(options, to, warnings)
    facts = base.facts if base is not None else _assumed(options)
    core, more = packages(opened, facts)
    parts = [*wheels(core, facts), *wheels(more, facts, extra=True), own_wheel()]
    slim = (base.name if base is not None else options["base"]) or _SLIM.format(*facts.version)
    added = libraries(parts, facts)
    made = ContainerPlan(opened, parts, slim, base, [], name, facts.version, added, to, warnings)
    if base is not None:
        _make(made, base)
    for kind in KEPT:
        caches.shrink(caches.folder(kind), KEPT_BYTES)
    return made


def _make(made: ContainerPlan, base: Base) -> None:
    """All layers, and warnings where they start slowly or weigh much."""
    facts, warnings = base.facts, made.warnings
    if compiler(base) is None:
        warnings.append(
            "there is no Python {}.{} here to compile for the base's: it starts slower".format(*facts.version)
        )
    made.ours = _layers(base, made.parts, made.libraries)
    made.ours.append(_model_layer(made.opened, _folder_of(made)))
    if (size := sum(la.unpacked for la in (*base.layers, *made.ours[:-1]))) > BUDGET:
        warnings.append(f"without the model the image is {megabytes(size)} unpacked, over {megabytes(int(BUDGET))}: "
                        "a slimmer base helps")  # fmt: skip


def _base(options: Mapping[str, Any], to: Reference | None, warnings: list[str]) -> Base | None:
    """The base that was named, else Docker's slim Python where its registry answers; None where it does not."""
    wanted = options["architecture"] or ARCHITECTURE
    if options["base"]:
        return open_base(options["base"], wanted)
    slim = _SLIM.format(*sys.version_info[:2])
    try:
        return open_base(slim, wanted)
    except SetsailError as fault:
        if to is not None:
            raise
        warnings.append(f"no image is written, only what `docker build` makes one of: {slim} could not be had "
                        f"({fault.what}); --base takes one from a file")  # fmt: skip
        return None


def _assumed(options: Mapping[str, Any]) -> Facts:
    """What the wheels of a build context are for, where nobody has seen its base."""
    return Facts(options["architecture"] or ARCHITECTURE, "/usr/local/bin/python3", sys.version_info[:2], _GLIBC,
                 frozenset())  # fmt: skip


def _layers(base: Base, parts: Sequence[Wheel], added: Sequence[Library]) -> list[Layer]:
    """What changes least first: what every model has, what this one needs besides, setsail itself."""
    own = [part for part in parts if part.name == "setsail"]
    extra = [part for part in parts if part.extra]
    core = [part for part in parts if part not in own and not part.extra]
    frame = environment(base, (
        Entry(f"{HOME}/healthy.py", context.health_script()),
        Entry(f"{HOME}/sbom.cdx.json", bill(base.facts, parts, libraries=added)),
    ))  # fmt: skip
    made = [layer(base, core, f"packages of Python ({len(core)})")]
    if extra:
        names = ", ".join([*(part.name for part in extra), *(library.title for library in added)])
        beside = [Entry(f"{LIBRARIES}/{library.name}", library.data) for library in added]
        made.append(layer(base, extra, f"what this model needs: {names}", beside))
    made.append(layer(base, own, f"setsail {own[0].version}", frame))
    return made


def _folder_of(plan: ContainerPlan) -> Path:
    """Where the model's layer lies until the plan is no more."""
    folder = tempfile.mkdtemp(prefix="setsail-image-")
    weakref.finalize(plan, shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _model_layer(opened: Artifact, folder: Path) -> Layer:
    assert opened.path is not None
    entry = Entry(f"{MODELS}/{context.model_name(opened)}", opened.path)
    return write(lambda file: pack([entry], file), folder / "model", "the model, alone", worth=True)


def _lower(name: str) -> str:
    """A model's name as a repository of a registry may be called: lower case, no two separators in a row."""
    return re.sub(r"[-._]*([-._])[-._]*", r"\1", name.lower()).strip("-._") or "model"
