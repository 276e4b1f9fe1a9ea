"""Ray Serve, where one machine is not enough: an existing engine spreads replicas over nodes and minds them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from setsail import __version__
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.steps import SCHEMAS
from setsail.targets import Option, Piece, Proof
from setsail.targets.replay import replay
from setsail.variants import EXTRAS

__all__ = ["OPTIONS", "SUMMARY", "Folder", "extras", "plan"]

SUMMARY = "an application for Ray Serve: replicas on several nodes, and requests that outlive a node"

OPTIONS = (
    Option("replicas", "Replicas of the model in the whole cluster.", 2, int),
    Option("nodes", "Nodes of the cluster, each of which gets a door for requests.", 1, int),
    Option("cpus", "Cores that Ray sets aside for one replica.", 1.0, float),
)
_RAY: Final = "ray[serve]>=2.50"
_APP: Final = "app.py"


@dataclass(frozen=True, slots=True)
class Folder:
    """A `Plan`: the application, its configuration and the artifact."""

    opened: Artifact
    source: Path
    options: Mapping[str, Any]

    @property
    def artifact(self) -> str:
        return f"{self.opened.name}-{self.opened.version}.setsail"

    @property
    def texts(self) -> dict[str, str]:
        """Every file but the artifact, by name."""
        named = {"name": re.sub(r"[^A-Za-z0-9]+", "-", self.opened.name).strip("-"), "model": self.opened.name,
                 "artifact": self.artifact, **self.options}  # fmt: skip
        return {
            _APP: _read(f"texts/{_APP}"),
            "serve.yaml": _read("texts/serve.yaml").format(**named),
            "README.md": _read("texts/README.md").format(**named),
            "requirements.txt": f"setsail{extras(self.opened)}=={__version__}\n{_RAY}\n",
        }

    @property
    def pieces(self) -> Sequence[Piece]:
        texts = {name: len(text.encode()) for name, text in self.texts.items()}
        return [Piece(self.artifact, self.source.stat().st_size, "the artifact"),
                Piece(_APP, texts[_APP], "Models, and the door in front of them"),
                Piece("serve.yaml", texts["serve.yaml"], "how many of each, and where")]  # fmt: skip

    @property
    def warnings(self) -> Sequence[str]:
        return ("gRPC and the admin port are not answered behind Ray's proxy, only HTTP wires",)

    @property
    def next(self) -> Sequence[str]:
        return ("cd {folder} && pip install -r requirements.txt && serve run serve.yaml",)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"options": dict(self.options)}

    def write(self, folder: Path) -> None:
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        shutil.copyfile(self.source, folder / self.artifact)

    def prove(self, folder: Path) -> Proof:
        checks = replay(self.opened)
        told = "its stored samples were answered here" if checks else "it keeps no samples to answer"
        return Proof(f"{told}, through the path that a replica runs; no Ray cluster was started", checks)


def plan(opened: Artifact, options: Mapping[str, Any]) -> Folder:
    """Raises `setting.value` for a number below one, `ship.unsupported` for an artifact that is no file."""
    for name, least in (("replicas", 1), ("nodes", 1), ("cpus", 0.01)):
        if options[name] < least:
            raise SetsailError("setting.value", "too few", field=f"--{name}", value=options[name],
                               expected=f"{least} or more", todo="see docs/targets/ray.md")  # fmt: skip
    if opened.path is None:
        raise SetsailError("ship.unsupported", "an artifact in memory cannot be copied", expected="one that is a file")
    return Folder(opened, opened.path, options)


def extras(opened: Artifact) -> str:
    """What running the artifact needs beyond the core: its variants' runtimes, its steps' libraries."""
    every = opened.signatures.values()
    found = {EXTRAS[variant.format] for one in every for variant in one.variants if variant.format in EXTRAS}
    found |= {SCHEMAS[step.kind].extra for one in every for step in (*one.processing.before, *one.processing.after)}
    return f"[{','.join(sorted(found - {''}))}]" if found - {""} else ""


def _read(name: str) -> str:
    return (files("setsail.targets.ray") / name).read_text(encoding="utf-8")
