"""Packing a model of the zoo, serving it, and holding every answer against the source model's own.

With SETSAIL_ZOO set to a folder, how near they came is written there, a file a model: `python scripts/zoo.py` makes the
table of docs/frameworks/README.md of them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
from wire_clients import WAYS, Endpoint

from setsail.artifact import Artifact, read
from setsail.convert.conversion import Intent
from setsail.packing import PackOptions, pack
from setsail.parity import compare
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.serving.model import Model
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["Keeper", "Nearness", "Specimen", "keeping"]

TABLE = Path(__file__).parents[2] / "docs" / "frameworks" / "agreement.json"

Truth = Callable[[Any], Mapping[str, Array]]


@dataclass(frozen=True)
class Specimen:
    """A trained model with rows to ask it.

    Attributes:
        model: what is packed: a live model, or a file; or an artifact.
        rows: what is asked, in the form the source takes it; most were not seen in training.
        truth: the source model's own outputs for rows, by output name.
        example: what packing is given; None where the model must do without.
        trust: kinds of format that packing may load.
    """

    model: Any
    rows: Any
    truth: Truth
    example: Any = None
    trust: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


class Keeper:
    """One server for all models of a module, and the artifacts behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(Settings(port=0, admin_port=-1)).start()
        self.session = requests.Session()

    def pack(self, name: str, specimen: Specimen) -> Artifact:
        intent = Intent(example=specimen.example, **specimen.options)
        output = self.folder / f"{name}.setsail"
        if isinstance(specimen.model, Path) and specimen.model.suffix == ".setsail":  # packed in another environment
            shutil.copyfile(specimen.model, output)
            return read(output)
        return pack(specimen.model, intent, PackOptions(name=name, output=output, trust=specimen.trust))

    def close(self) -> None:
        self.session.close()
        self.server.close()

    def check(self, name: str, specimen: Specimen) -> None:
        """Pack, load, serve, ask through every way at batch 1 and N, and compare everything with the source."""
        with self.pack(name, specimen) as artifact:
            signature, near = artifact.signature, Nearness(artifact)
        with Model(self.folder / f"{name}.setsail") as model:
            self._in_process(model, specimen)
        self.server.open(self.folder / f"{name}.setsail")
        at = Endpoint(self.server.url, name, signature, self.session)
        rows, truth = arrays(signature, specimen.rows), specimen.truth(specimen.rows)
        for picked in ([0], [len(truth[signature.outputs[0].name]) - 1], None):
            self._ask(at, take(rows, picked), take(truth, picked), near)
        near.write(name)

    def _in_process(self, model: Model, specimen: Specimen) -> None:
        """`setsail.load(path).predict` takes the source's own rows and gives its default answer."""
        answer = model.predict(specimen.rows)
        truth, defaults = specimen.truth(specimen.rows), model.signature.defaults
        outputs = answer if isinstance(answer, Mapping) else {defaults[0]: answer}
        signature = Signature(model.signature.inputs, tuple(map(model.signature.output, outputs)), defaults)
        agree(signature, typed(signature, truth), outputs, "in process")

    def _ask(self, at: Endpoint, rows: Mapping[str, Array], truth: Mapping[str, Array], near: Nearness) -> None:
        truth = typed(at.signature, truth)
        for way, (ask, possible) in WAYS.items():
            if possible(at.signature, rows):
                served = ask(at, rows)
                agree(at.signature, truth, served, f"{way}, batch {len(next(iter(rows.values())))}")
                near.saw(truth, served)


class Nearness:
    """How near the served answers of one model came to its source's, over all that was asked."""

    def __init__(self, artifact: Artifact) -> None:
        (variant,) = artifact.variants
        self.facts = {"framework": artifact.framework, "estimator": artifact.estimator, "variant": variant.id}
        self.rows, self.flips, self.worst = 0, 0, 0.0

    def saw(self, truth: Mapping[str, Array], served: Mapping[str, Array]) -> None:
        self.rows = max(self.rows, len(next(iter(served.values()))))
        for name in served:
            a, b = np.asarray(truth[name]), np.asarray(served[name])
            if a.dtype.kind == "f":
                apart = np.abs(a - b.astype(a.dtype), where=np.isfinite(a), out=np.zeros(a.shape))
                self.worst = max(self.worst, float(apart.max(initial=0.0)))
            else:
                self.flips = max(self.flips, int((a != b).sum()))

    def write(self, name: str) -> None:
        """Keep it, or hold that the table has the model, in this variant. Models of two houses may have one name."""
        house = Path(os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]).stem.removeprefix("test_")
        name = f"{name}, {house.removesuffix('_zoo')}" if house != "zoo" else name
        if folder := os.environ.get("SETSAIL_ZOO"):
            row = {**self.facts, "rows": self.rows, "worst": float(f"{self.worst:.2g}"), "flips": self.flips}
            Path(folder, f"{name}.json").write_text(json.dumps(row))
        else:
            told = json.loads(TABLE.read_text()).get(name)
            assert told is not None, f"{name} is not in {TABLE.name}: run python scripts/zoo.py"
            assert {key: told[key] for key in self.facts} == self.facts, f"{TABLE.name} is stale: run scripts/zoo.py"


@contextmanager
def keeping(folder: Path) -> Iterator[Keeper]:
    keeper = Keeper(folder)
    try:
        yield keeper
    finally:
        keeper.close()


def agree(signature: Signature, truth: Mapping[str, Array], ours: Mapping[str, Array], where: str) -> None:
    """By the parity rule, without allowance; on failure the worst row is shown."""
    check = compare(signature, truth, ours, what="example")
    if not check.passed:
        name, row = check.worst_output or signature.outputs[0].name, check.worst_row
        pair = "\n".join(f"{n}: source {truth[n][row]!r}, served {ours[n][row]!r}" for n in truth if n in ours)
        raise AssertionError(f"{where}: {check.failed} of {check.rows} rows differ, worst {name}, row {row}\n{pair}")


def arrays(signature: Signature, rows: Any) -> dict[str, Array]:
    """The source's rows as the signature's inputs; missing values are NaN and None."""
    if isinstance(rows, tuple):
        columns = dict(zip((s.name for s in signature.inputs), map(np.asarray, rows), strict=True))
    elif hasattr(rows, "columns") and not (len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 2):
        columns = {str(c): rows[c].to_numpy() for c in rows.columns}
    elif len(signature.inputs) > 1:
        columns = {s.name: np.asarray(rows)[:, i] for i, s in enumerate(signature.inputs)}
    else:
        columns = {signature.inputs[0].name: np.asarray(rows)}
    return {spec.name: _cast(spec, columns[spec.name]) for spec in signature.inputs}


def _cast(spec: TensorSpec, array: Array) -> Array:
    if spec.dtype.kind != "string":
        return array.astype(spec.dtype.numpy)
    texts = [v if isinstance(v, bytes) else None if v is None or v != v else str(v) for v in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape)


def typed(signature: Signature, truth: Mapping[str, Array]) -> dict[str, Array]:
    """The source's answers in the signature's dtypes (its labels may be int8, its scores float32)."""
    return {s.name: np.asarray(truth[s.name]).astype(s.dtype.numpy) for s in signature.outputs}


def take(named: Mapping[str, Array], picked: list[int] | None) -> dict[str, Array]:
    return {name: np.asarray(array)[picked] if picked else np.asarray(array) for name, array in named.items()}
