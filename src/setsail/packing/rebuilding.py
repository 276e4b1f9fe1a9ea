"""An ONNX program as one of PyTorch, made and tried in a child process (`convert/torch/rebuilt.py` does the work).

What is saved is loaded again before it answers the stored rows, so that the file is proven and not what it was made of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from setsail import isolation, tensorfile
from setsail.artifact import Artifact
from setsail.convert.conversion import Probe
from setsail.errors import SetsailError
from setsail.parity import ParityReport, compare
from setsail.runtime.stepped import Stepped
from setsail.signature import Signature
from setsail.steps import Processing
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["NAMES", "rebuild", "run"]

NAMES: Final[Mapping[str, str]] = {"pt2": "model.pt2", "torchscript": "model.pt"}
_REBUILT: Final = "setsail.convert.torch.rebuilt"


def rebuild(opened: Artifact, variant: Variant, to: str, staged: Path, rows: Sequence[Probe]) -> ParityReport:
    """Write the program of a variant in one of PyTorch's forms.

    Raises:
        SetsailError: `convert.unsupported` for an operator that cannot be rebuilt, or where no samples are stored to
            prove it by; `dependency.missing`.
    """
    if not rows:
        raise SetsailError("convert.unsupported", f"{opened.name} has no stored samples to prove the export by",
                           field="--to", value=to, expected="an artifact packed with --samples synthetic",
                           todo="export --to onnx, or pack it again")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="setsail-rebuild-") as made:
        folder = Path(made)
        for name, data in opened.files(variant.id).items():
            (folder / "onnx" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "onnx" / name).write_bytes(data)
        for name, content in opened.processing.files.items():
            (folder / f"step-{name}").write_bytes(content)
        for index, probe in enumerate(rows):
            (folder / f"in{index}").write_bytes(tensorfile.encode(probe.inputs))
        arguments = {
            "entry": f"onnx/{variant.entry}", "to": to, "file": NAMES[to], "signature": opened.signature.to_json(),
            "defaults": list(opened.signature.defaults), "max_batch": variant.max_batch,
            **opened.processing.to_json(), "step_files": list(opened.processing.files), "rows": len(rows),
        }  # fmt: skip
        try:
            isolation.call("setsail.packing.rebuilding:run", arguments, folder, require_network_cut=False)
        except SetsailError as fault:
            if fault.code != "child.failed":
                raise
            raise SetsailError(
                "convert.unsupported", "PyTorch cannot trace the program", field="--to", value=fault.what,
                todo="export --to onnx",
            ) from fault  # fmt: skip
        checks = [
            compare(opened.signature, probe.outputs, tensorfile.decode((folder / f"out{index}").read_bytes()),
                    what=probe.what, tolerance=opened.parity.tolerance)
            for index, probe in enumerate(rows)
        ]  # fmt: skip
        (staged / NAMES[to]).write_bytes((folder / NAMES[to]).read_bytes())
    return ParityReport(to, variant.precision, opened.parity.tolerance, tuple(checks))


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
    signature = Signature.from_json(arguments["signature"], tuple(arguments["defaults"]))
    files = {name: (folder / f"step-{name}").read_bytes() for name in arguments["step_files"]}
    processing = Processing.from_json(arguments, files)
    try:
        rebuilt = import_module(_REBUILT)
    except ModuleNotFoundError as fault:
        line = 'pip install "setsail[torch]"'
        raise SetsailError("dependency.missing", f"{fault.name} is not installed", field=fault.name,
                           todo=f"run: {line}", command=line) from fault  # fmt: skip
    inner = processing.inner(signature)
    target = folder / arguments["file"]
    call = rebuilt.save(folder / arguments["entry"], inner, arguments["to"], target, arguments["max_batch"])
    runner: Any = _Saved(call, inner, arguments["max_batch"])
    if processing:
        runner = Stepped(runner, signature, processing)
    for index in range(arguments["rows"]):
        inputs = tensorfile.decode((folder / f"in{index}").read_bytes())
        (folder / f"out{index}").write_bytes(tensorfile.encode(runner.run(inputs)))
    return {"ok": True}
