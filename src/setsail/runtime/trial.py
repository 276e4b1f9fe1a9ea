"""The trial run: a variant loaded and run where a crash of its runtime costs nothing.

`isolation.call("setsail.runtime.trial:run", arguments, folder)` runs this in a child process. Packing does so to learn
what a candidate program answers, serving before it loads a program that was never tried on this machine. Everything
crosses as JSON and tensor files; the variant's bytes are slices of files (of an artifact, mostly), mapped and not
copied::

    {"variant": {"id", "format", "precision", "entry", "settings", "max_batch"},
     "files": {name: [path, offset, length]}, "signature": {…}, "defaults": […],
     "steps": [{"kind", "inputs", "outputs", "options"}], "program": null or {…}, "step_files": {name: file},
     "batches": [{"inputs": file, "outputs": file, "rows": at once, 0 for all}]}
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from setsail import tensorfile
from setsail.runtime import Runner, load
from setsail.signature import Signature
from setsail.steps import NONE, Processing
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["arguments", "run"]


def arguments(
    variant: Variant,
    slices: Mapping[str, tuple[str, int, int]],
    signature: Signature,
    processing: Processing = NONE,
    batches: tuple[Mapping[str, Any], ...] = (),
    *,
    folder: Path,
) -> dict[str, Any]:
    """What `run` takes, as JSON values. The child has another current folder, so the slices' paths become absolute.

    Args:
        folder: the child's; files that steps need are written there.
    """
    step_files = {name: f"step{i}" for i, name in enumerate(processing.files)}
    for name, place in step_files.items():
        (folder / place).write_bytes(processing.files[name])
    return {
        "variant": {
            "id": variant.id, "format": variant.format, "precision": variant.precision, "entry": variant.entry,
            "settings": dict(variant.settings), "max_batch": variant.max_batch,
        },
        "files": {n: [str(Path(path).absolute()), start, length] for n, (path, start, length) in slices.items()},
        "signature": signature.to_json(),
        "defaults": list(signature.defaults),
        **processing.to_json(),
        "step_files": step_files,
        "batches": [dict(batch) for batch in batches],
    }  # fmt: skip


def run(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Load the variant, run every batch, write the outputs beside the inputs, in `folder`.

    Returns:
        `{"ok": True, "runs": how often the model ran}`.

    Raises:
        SetsailError: what `runtime.load` and `Runner.run` raise; `artifact.member` for an unreadable tensor file.
    """
    signature = Signature.from_json(arguments["signature"], tuple(arguments["defaults"]))
    step_files = {name: (folder / place).read_bytes() for name, place in arguments["step_files"].items()}
    processing = Processing.from_json(arguments, step_files)
    with ExitStack() as opened:
        files = {name: _view(opened, *where) for name, where in arguments["files"].items()}
        runner = load(Variant(**arguments["variant"]), files, signature, processing)
        opened.callback(runner.close)
        runs = 0
        for batch in arguments["batches"]:
            inputs = tensorfile.decode((folder / batch["inputs"]).read_bytes())
            outputs, count = _in_batches(runner, inputs, int(batch.get("rows", 0)))
            (folder / batch["outputs"]).write_bytes(tensorfile.encode(outputs))
            runs += count
    return {"ok": True, "runs": runs}


def _in_batches(runner: Runner, inputs: Mapping[str, Array], at_once: int) -> tuple[dict[str, Array], int]:
    """Run the rows `at_once` (0: all, as far as the program's own limit goes) and join the answers."""
    if not runner.signature.batched:
        return runner.run(inputs), 1
    total = len(next(iter(inputs.values())))
    size = min(at_once or total, runner.max_batch or total) or 1
    parts = [runner.run({n: a[i : i + size] for n, a in inputs.items()}) for i in range(0, total, size)]
    if len(parts) == 1:
        return parts[0], 1
    return {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}, len(parts)


def _view(opened: ExitStack, path: str, offset: int, length: int) -> memoryview:
    """A slice of a file, mapped read-only. mmap wants a page boundary, so the map begins a little earlier."""
    if length == 0:
        return memoryview(b"")
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), offset - start + length, access=mmap.ACCESS_READ, offset=start)
    opened.callback(mapped.close)
    whole = memoryview(mapped)
    opened.callback(whole.release)
    view = whole[offset - start :]
    opened.callback(view.release)
    return view
