"""An ONNX program as one of PyTorch or TensorFlow, made and tried in a child process.

`convert/torch/rebuilt.py` and `convert/tensorflow/rebuilt.py` do the work. What is saved is loaded again before it
answers the stored rows, so that the file is proven and not what it was made of.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from setsail import isolation, tensorfile
from setsail.artifact import Artifact
from setsail.convert.conversion import Probe
from setsail.errors import SetsailError
from setsail.parity import Check, ParityReport, compare
from setsail.runtime.stepped import Stepped
from setsail.signature import Signature
from setsail.steps import Processing
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["FORMS", "Facet", "rebuild", "run"]


class Form(NamedTuple):
    """What is written (a file, or a folder), by which module, and whose extra of setsail that needs."""

    target: str
    module: str
    extra: str
    whose: str


FORMS: Final[Mapping[str, Form]] = {
    "pt2": Form("model.pt2", "setsail.convert.torch.rebuilt", "torch", "PyTorch"),
    "torchscript": Form("model.pt", "setsail.convert.torch.rebuilt", "torch", "PyTorch"),
    "savedmodel": Form("model", "setsail.convert.tensorflow.rebuilt", "tensorflow", "TensorFlow"),
}


class Facet(NamedTuple):
    """One signature of a model: its names, what holds it, the program to rebuild, and its stored rows."""

    names: tuple[str, ...]
    held: Artifact
    variant: Variant
    rows: Sequence[Probe]


def rebuild(facets: Sequence[Facet], to: str, staged: Path) -> tuple[ParityReport, list[dict[str, str]]]:
    """Write programs in a form of PyTorch, which takes one, or of TensorFlow.

    A form that is a folder is written into `staged` itself.

    Returns:
        How they agree, and for each which of its inputs have another name there.

    Raises:
        SetsailError: `convert.unsupported` for an operator that cannot be rebuilt, or where no samples are stored to
            prove it by; `dependency.missing`.
    """
    for facet in facets:
        if not facet.rows:
            raise SetsailError("convert.unsupported", f"{facet.held.name} has no stored samples to prove the export by",
                               field="--to", value=to, expected="an artifact packed with --samples synthetic",
                               todo="export --to onnx, or pack it again")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="setsail-rebuild-") as made:
        folder, form = Path(made), FORMS[to]
        arguments = {"to": to, "target": form.target,
                     "facets": [_handed(facet, folder / str(i)) for i, facet in enumerate(facets)]}  # fmt: skip
        try:
            told = isolation.call("setsail.packing.rebuilding:run", arguments, folder, require_network_cut=False)
        except SetsailError as fault:
            if fault.code != "child.failed":
                raise
            raise SetsailError(
                "convert.unsupported", f"{form.whose} cannot trace the program", field="--to", value=fault.what,
                todo="export --to onnx",
            ) from fault  # fmt: skip
        checks = [check for i, facet in enumerate(facets) for check in _compared(facet, folder / str(i))]
        _take(folder / form.target, staged)
    first = facets[0]
    report = ParityReport(to, first.variant.precision, first.held.parity.tolerance, tuple(checks))
    return report, [{str(name): str(other) for name, other in names.items()} for names in told["names"]]


def _handed(facet: Facet, folder: Path) -> dict[str, Any]:
    """Put a program, its steps' files and its rows into a folder; what else the child must know."""
    opened, variant = facet.held, facet.variant
    for name, data in opened.files(variant.id).items():
        (folder / "onnx" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "onnx" / name).write_bytes(data)
    for name, content in opened.processing.files.items():
        (folder / f"step-{name}").write_bytes(content)
    for index, probe in enumerate(facet.rows):
        (folder / f"in{index}").write_bytes(tensorfile.encode(probe.inputs))
    return {
        "entry": f"onnx/{variant.entry}", "names": list(facet.names), "signature": opened.signature.to_json(),
        "defaults": list(opened.signature.defaults), "max_batch": variant.max_batch,
        **opened.processing.to_json(), "step_files": list(opened.processing.files), "rows": len(facet.rows),
    }  # fmt: skip


def _compared(facet: Facet, folder: Path) -> list[Check]:
    opened = facet.held
    return [
        compare(opened.signature, probe.outputs, tensorfile.decode((folder / f"out{index}").read_bytes()),
                what=probe.what, tolerance=opened.parity.tolerance)
        for index, probe in enumerate(facet.rows)
    ]  # fmt: skip


def _take(made: Path, staged: Path) -> None:
    """What the child wrote: a file beside the others, or the files of a folder. No link of its is followed."""
    if not made.is_dir() or made.is_symlink():
        shutil.copyfile(made, staged / made.name, follow_symlinks=False)
        return
    for path in sorted(made.rglob("*")):
        if path.is_file() and not path.is_symlink():
            (staged / path.relative_to(made)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, staged / path.relative_to(made))


# -- in the child process -----------------------------------------------------------------------------------------


class _Saved:
    """A saved program as a runner, row by row where its batch is fixed."""

    def __init__(self, call: Any, signature: Signature, max_batch: int | None) -> None:
        self.signature, self.max_batch = signature, max_batch
        self.weights: Any = None
        self._call = call

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if self.max_batch is None or not self.signature.batched:
            return dict(self._call(inputs))
        total = len(next(iter(inputs.values())))
        parts = [self._call({n: a[i : i + 1] for n, a in inputs.items()}) for i in range(total)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def rest(self, inputs: Mapping[str, Array]) -> None: ...

    def close(self) -> None: ...


def run(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Rebuild, save, load what was saved, and answer the stored rows by it."""
    form, facets = FORMS[arguments["to"]], arguments["facets"]
    signatures = [Signature.from_json(facet["signature"], tuple(facet["defaults"])) for facet in facets]
    steps = [_steps(facet, folder / str(i)) for i, facet in enumerate(facets)]
    inner = [processing.inner(signature) for processing, signature in zip(steps, signatures, strict=True)]
    try:
        rebuilt = import_module(form.module)
    except ModuleNotFoundError as fault:
        line = f'pip install "setsail[{form.extra}]"'
        raise SetsailError("dependency.missing", f"{fault.name} is not installed", field=fault.name,
                           todo=f"run: {line}", command=line) from fault  # fmt: skip
    calls, names = _SAVERS[form.whose](rebuilt, arguments, inner, folder)
    for i, (facet, call) in enumerate(zip(facets, calls, strict=True)):
        runner: Any = _Saved(call, inner[i], facet["max_batch"])
        if steps[i]:
            runner = Stepped(runner, signatures[i], steps[i])
        for index in range(facet["rows"]):
            inputs = tensorfile.decode((folder / str(i) / f"in{index}").read_bytes())
            (folder / str(i) / f"out{index}").write_bytes(tensorfile.encode(runner.run(inputs)))
    return {"names": names}


def _steps(facet: Mapping[str, Any], folder: Path) -> Processing:
    return Processing.from_json(facet, {name: (folder / f"step-{name}").read_bytes() for name in facet["step_files"]})


def _torch(rebuilt: Any, arguments: Mapping[str, Any], inner: Sequence[Signature], folder: Path) -> Any:
    """The first program alone; PyTorch calls inputs by their places."""
    facet, target = arguments["facets"][0], folder / arguments["target"]
    call = rebuilt.save(folder / "0" / facet["entry"], inner[0], arguments["to"], target, facet["max_batch"])
    return [call], [{}]


def _tensorflow(rebuilt: Any, arguments: Mapping[str, Any], inner: Sequence[Signature], folder: Path) -> Any:
    programs = [
        rebuilt.Program(folder / str(i) / facet["entry"], signature, facet["max_batch"], tuple(facet["names"]))
        for i, (facet, signature) in enumerate(zip(arguments["facets"], inner, strict=True))
    ]
    names = [{name: other for name, other in rebuilt.argument_names(signature).items() if name != other}
             for signature in inner]  # fmt: skip
    return rebuilt.save(programs, folder / arguments["target"]), names


_SAVERS: Final[Mapping[str, Callable[..., Any]]] = {"PyTorch": _torch, "TensorFlow": _tensorflow}
