"""`.pt2`: a program saved by `torch.export.save`.

Always behind `--trust pickle`, whatever its zip holds. `torch.export.load` unpickles example inputs where
`weights_only` fails, and it hands texts of the program's JSON to `sympy.sympify`, which evaluates them as Python; so an
archive without a single pickle can run code too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.torch import decomposed
from setsail.convert.torch.assembly import Model, assemble, device_of
from setsail.convert.torch.exporting import FixedDimensionError, export, quiet
from setsail.convert.torch.labels import with_labels_beside
from setsail.convert.torch.naming import Arguments, arguments, to_array
from setsail.errors import SetsailError
from setsail.signature import BATCH, Dim, TensorSpec
from setsail.tensors import BY_NAME

__all__ = ["convert", "convert_program"]


@dataclass(frozen=True, slots=True)
class _Input:
    """One tensor input of an exported program: its name, dtype and shape, None for a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def convert(path: Path, intent: Intent) -> Conversion:
    """Load and convert a `.pt2` file.

    Raises:
        SetsailError: `source.load`, and what `convert_program` raises.
    """
    with quiet():
        decomposed.register()
        try:
            program = torch.export.load(str(path))
        except Exception as fault:  # a damaged archive raises anything
            raise SetsailError(
                "source.load",
                f"torch cannot load the exported program {path.name!r}",
                value=str(fault).strip().partition("\n")[0] or type(fault).__name__,
            ) from fault
    return with_labels_beside(path, intent, partial(convert_program, program))


def convert_program(program: Any, intent: Intent) -> Conversion:
    """Convert a live ExportedProgram, whose own shapes are the signature.

    A batch fixed at export is set free again if the program's rows turn out independent; else it stays: 1 as
    `max_batch` 1, any other as an unbatched signature.

    Raises:
        SetsailError: `convert.input`, `convert.run`, `convert.unsupported`.
    """
    inputs = _inputs(program)
    module = program.module(check_guards=False)
    module._forward_pre_hooks.clear()  # they hold the sizes of the export, which we may find to be free
    specs = tuple(TensorSpec(i.name, BY_NAME[i.dtype], i.shape) for i in inputs)
    asked = intent if intent.example is not None or intent.inputs else replace(intent, inputs=specs)
    names = tuple(i.name for i in inputs)
    given = arguments(names, len(names), replace(asked, inputs=asked.inputs or specs), torch.get_default_dtype())
    known = Arguments(given.specs, given.example or _saved(program, given.specs))
    model = Model(module, device_of(module), keywords=False)
    whole = decomposed.Decomposed(module) if decomposed.is_decomposed(module) else module
    exporter = partial(export, whole, keywords=False)
    fixed = {s.shape[0] for s in specs if s.shape and isinstance(s.shape[0], int)}
    if intent.inputs or not fixed:
        return assemble(model, known, exporter, intent, "ExportedProgram")
    freed = Arguments(tuple(_first(s, BATCH) for s in known.specs), known.example)
    try:
        return assemble(model, freed, exporter, intent, "ExportedProgram")
    except (SetsailError, FixedDimensionError):
        return assemble(model, Arguments(specs, known.example), exporter, intent, "ExportedProgram")


def _first(spec: TensorSpec, dim: Dim) -> TensorSpec:
    return replace(spec, shape=(dim, *spec.shape[1:])) if spec.shape else spec


def _inputs(program: Any) -> list[_Input]:
    """The program's user inputs in call order, free dimensions as symbols."""
    nodes = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    found = []
    symbols: dict[str, str] = {}
    for name in program.graph_signature.user_inputs:
        value = nodes[name].meta.get("val") if name in nodes else None
        if not isinstance(value, torch.Tensor):
            raise SetsailError("convert.unsupported", f"input {name!r} of the exported program is no tensor",
                               value=type(value).__name__, expected="tensors",
                               todo="export a wrapper that takes tensors only")  # fmt: skip
        shape = tuple(
            int(d) if isinstance(d, int) else symbols.setdefault(str(d), f"s{len(symbols)}") for d in value.shape
        )
        found.append(_Input(str(name), str(value.dtype).removeprefix("torch."), shape))
    return found


def _saved(program: Any, specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    """The example inputs stored at export, where they are tensors."""
    if program.example_inputs is None:
        return {}
    values = [*program.example_inputs[0], *program.example_inputs[1].values()]
    if len(values) != len(specs) or not all(isinstance(v, torch.Tensor) for v in values):
        return {}
    return {s.name: to_array(v) for s, v in zip(specs, values, strict=True)}
