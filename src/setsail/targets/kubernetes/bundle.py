"""The folder: which objects there are, in which files, under which conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from setsail import __version__
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.targets import Piece, Proof
from setsail.targets.kubernetes import around, kserve, measured, objects
from setsail.targets.kubernetes.template import Condition, fill, template, yaml
from setsail.targets.kubernetes.values import chosen, kinds, nested, notes, schema
from setsail.targets.replay import replay

__all__ = ["FILES", "Bundle", "File", "plan"]


@dataclass(frozen=True, slots=True)
class File:
    """One object: its file's name, what makes it, and the condition under which it is part of what is applied."""

    name: str
    make: Callable[[], dict[str, Any]]
    condition: Condition


def _own(*keys: str) -> Condition:
    return Condition(all=keys, none=("kserve.enabled",))


FILES: Final = (
    File("deployment", objects.deployment, _own()),
    File("service", objects.service, _own()),
    File("autoscaler", around.autoscaler, _own("autoscaling.enabled")),
    File("disruption-budget", around.budget, _own("disruption.enabled")),
    File("network-policy", around.network, _own("network.enabled")),
    File("service-monitor", around.monitor, _own("monitor.enabled")),
    File("serving-runtime", kserve.serving_runtime, Condition(all=("kserve.enabled",))),
    File("inference-service", kserve.inference_service, Condition(all=("kserve.enabled",))),
)
_PLAIN, _KSERVE, _CHART = "plain", "kserve", "chart"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A `Plan`: every file's text, made from one table of values."""

    opened: Artifact
    values: Mapping[str, Any]
    sized: bool

    @property
    def texts(self) -> dict[str, str]:
        """Every file by its path in the folder."""
        found = {f"{_folder(file)}/{file.name}.yaml": yaml(fill(file.make(), self._as(file))) for file in FILES}
        for folder in (_PLAIN, _KSERVE):
            found[f"{folder}/kustomization.yaml"] = self._kustomization(folder)
        found |= {f"{_CHART}/{name}": text for name, text in _chart(self.opened, self.values).items()}
        found["prometheus-adapter.yaml"] = _NOTE_ADAPTER + yaml(around.adapter())
        found["README.md"] = _text("README.md").format(name=self.values["name"], image=self.values["image"])
        return found

    def _as(self, file: File) -> dict[str, Any]:
        """The values with KServe's objects asked for or not, whichever the folder is for."""
        return {**self.values, "kserve.enabled": _folder(file) == _KSERVE}

    def _kustomization(self, folder: str) -> str:
        there = [f"{f.name}.yaml" for f in FILES if _folder(f) == folder and f.condition.holds(self._as(f))]
        return yaml({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": there})

    @property
    def pieces(self) -> Sequence[Piece]:
        sizes = {name: len(text.encode()) for name, text in self.texts.items()}
        what = {_PLAIN: "manifests, for kubectl apply -k", _CHART: "the same objects as a Helm chart",
                _KSERVE: "a ServingRuntime and an InferenceService instead"}  # fmt: skip
        grouped = [Piece(f"{folder}/", sum(s for n, s in sizes.items() if n.startswith(f"{folder}/")), text)
                   for folder, text in what.items()]  # fmt: skip
        return [*grouped, Piece("prometheus-adapter.yaml", sizes["prometheus-adapter.yaml"],
                                "rules that tell the autoscaler our metrics")]  # fmt: skip

    @property
    def warnings(self) -> Sequence[str]:
        found = []
        if not self.sized:
            found.append("CPU and memory of a pod are defaults, not measured: see --bench")
        if re.search(r"(:latest|^[^:@]*)$", str(self.values["image"]).rpartition("/")[2]):
            found.append("the image has no fixed tag or digest: pods may run different images")
        return found

    @property
    def next(self) -> Sequence[str]:
        name = self.values["name"]
        return ("kubectl apply -k {folder}/plain", f"helm upgrade --install {name} {{folder}}/chart")

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"values": nested(self.values), "sized_by": "measured" if self.sized else "defaults"}

    def write(self, folder: Path) -> None:
        for name, text in self.texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    def prove(self, folder: Path) -> Proof:
        checks = replay(self.opened)
        told = "its stored samples were answered here" if checks else "it keeps no samples to answer"
        return Proof(f"{told}, through the path that a pod runs; there is no cluster here: nothing was applied", checks)


def plan(opened: Artifact, options: Mapping[str, Any]) -> Bundle:
    """Every value, from the artifact, then the measurements, then what was typed.

    Raises:
        SetsailError: `setting.value` without an image, or for a value that cannot be; `setting.unknown`.
    """
    if not options["image"]:
        raise SetsailError("setting.value", "no image was named", field="--image", expected="REGISTRY/NAME:TAG",
                           todo="make one with setsail ship FILE --to container, and name it here")  # fmt: skip
    given = {"name": dns_name(opened.name), "version": str(opened.version), "image": options["image"]}
    given |= measured.assumed(opened.path.stat().st_size if opened.path is not None else 0)
    if options["bench"] is not None:
        given |= measured.read(options["bench"], opened.name)
    return Bundle(opened, chosen(given, options["set"]), options["bench"] is not None)


def dns_name(name: str) -> str:
    """A model's name as the name of objects (RFC 1035 label): lower case, dashes, beginning with a letter."""
    made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    made = made if made[:1].isalpha() else f"model-{made}".rstrip("-")
    return made[:63].rstrip("-")


def _folder(file: File) -> str:
    return _KSERVE if "kserve.enabled" in file.condition.all else _PLAIN


def _chart(opened: Artifact, values: Mapping[str, Any]) -> dict[str, str]:
    about = {
        "apiVersion": "v2", "name": values["name"], "type": "application", "version": f"{opened.version}.0.0",
        "appVersion": str(opened.version), "description": f"{opened.name}, served by setsail {__version__}",
        "kubeVersion": ">=1.30.0-0", "annotations": {"setsail-artifact": opened.digest},
    }  # fmt: skip
    found = {f"templates/{f.name}.yaml": template(f.make(), kinds(), f.condition) for f in FILES}
    return found | {
        "Chart.yaml": yaml(about), "values.yaml": yaml(nested(values), notes()),
        "values.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        "templates/NOTES.txt": _text("NOTES.txt"),
    }  # fmt: skip


def _text(name: str) -> str:
    return (files("setsail.targets.kubernetes") / "texts" / name).read_text(encoding="utf-8")


_NOTE_ADAPTER: Final = """\
# Values for the chart of prometheus-adapter: with them the autoscaler sees setsail_queue_rows and
# setsail_requests_per_second of each pod. Merge them with what you have.
"""
