"""ONNX files.

The source is the file as it is, run by onnxruntime with every optimisation off; the program is the same graph,
stripped, without ZipMap, its weights in one file. Parity is between the two, so an optimisation that changes answers,
or a mistake of ours in taking things off, is found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime

from setsail.convert import examples
from setsail.convert.conversion import Conversion, Intent, Program
from setsail.convert.observed import Observation, Source, observe, one_by_one, settle
from setsail.convert.onnx.loading import load, opset
from setsail.convert.onnx.program import PROGRAM, seal, unsqueeze
from setsail.convert.onnx.shapes import Inputs, batched, read_inputs
from setsail.convert.onnx.zipmap import as_tensor, remove
from setsail.errors import SetsailError
from setsail.tensors import Array
from setsail.variants import Variant

__all__ = ["convert"]

_CACHE: Final = re.compile(r"past_key|past_\d|^past$|^present|cache_(key|value)|kv_?cache", re.IGNORECASE)

_OPERATOR: Final = re.compile(
    r"No Op registered for (\w+)|:(\w+)\(-?\d+\) is not a registered|implementation for (\w+)|Op \((\w+)\)"
)


def convert(path: Path | str, intent: Intent) -> Conversion:
    """Convert an ONNX file of opset 7 or later, any tensor inputs, external weights beside it.

    Raises:
        SetsailError: `source.damaged`, `source.llm`, `program.external`, `convert.unsupported`, `convert.input`,
            `convert.example`, `convert.run`.
    """
    path = Path(path)
    model = load(path)
    _refuse_llm(model)
    declared, single = read_inputs(model, intent.inputs)
    labels = remove(model)
    _refuse_containers(model)
    session = _session(path)
    names = [o.name for o in model.graph.output]
    run = _Runs(session, names, labels)
    declared = _one_batch(run, declared, intent)
    example, declared = examples.given(intent.example, declared)
    source = Source(run, declared, example, intent.seed)
    seen, batch = _observe(source, intent, single=single)
    signature = replace(
        seen.signature,
        outputs=tuple(replace(s, labels=tuple(map(str, labels.get(s.name, s.labels)))) for s in seen.signature.outputs),
    )
    unsqueeze(model, seen.squeezed)
    files = seal(model, signature.inputs, signature.outputs, batch=batch)
    doubles = any(s.dtype.name == "float64" for s in (*signature.inputs, *signature.outputs))
    return Conversion(
        framework="onnx",
        versions={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        estimator=f"ONNX graph of {len(model.graph.node)} nodes",
        kind="tensors",
        signature=signature,
        programs=(
            Program(
                Variant("onnx", "onnx", "float64" if doubles else "float32", PROGRAM, max_batch=batch),
                files,
            ),
        ),
        probes=seen.probes,
        hyperparameters={"opset": opset(model)},
        notes=tuple(f"ZipMap removed from {name!r}" for name in labels),
    )


class _Runs:
    """The source: a session's outputs as arrays, lists of maps as the tensors they were made of."""

    def __init__(self, session: Any, names: list[str], labels: Mapping[str, tuple[Any, ...]]) -> None:
        self._session, self._names, self._labels = session, names, labels

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = self._session.run(self._names, dict(inputs))
        return {
            name: as_tensor(value, self._labels[name]) if name in self._labels else np.asarray(value)
            for name, value in zip(self._names, found, strict=True)
        }


def _session(path: Path) -> Any:
    """The file itself, unoptimised, on one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as fault:
        text = str(fault)
        operator = _OPERATOR.search(text)
        name = next((g for g in operator.groups() if g), None) if operator else None
        raise SetsailError("convert.unsupported", f"onnxruntime cannot open {path.name!r}"
                           + (f": operator {name}" if name else ""), field=name, value=text.splitlines()[0],
                           expected=f"a model that onnxruntime {onnxruntime.__version__} runs on a CPU",
                           todo="export it with standard operators, or to an earlier opset") from fault  # fmt: skip


def _one_batch(run: _Runs, specs: Inputs, intent: Intent) -> Inputs:
    """First dimensions that exporters named differently are one batch if the model runs only when they are equal."""
    firsts = [s.shape[0] if s.shape else None for s in specs]
    if len(set(firsts)) == 1 or not all(isinstance(d, str) for d in firsts):
        return specs
    apart = Source(run, specs, {}, intent.seed)
    sizes = dict.fromkeys(apart.symbols(), 8)
    try:
        apart.call(apart.draw(3, sizes | {str(d): 3 + i for i, d in enumerate(firsts)}))
    except SetsailError:
        return batched(specs, shared=True)[0]
    return specs


def _observe(source: Source, intent: Intent, *, single: bool) -> tuple[Observation, int | None]:
    """Observe a free batch; a fixed batch of 1 row by row, unless its outputs have no batch: then it is unbatched."""
    if not single:
        return observe(source, intent.labels), None
    fixed = replace(
        source,
        inputs=tuple(replace(s, shape=(1, *s.shape[1:])) for s in source.inputs),
        example={name: array[:1] for name, array in source.example.items()},
    )
    _, answer = settle(fixed)
    if all(a.ndim and len(a) == 1 for a in answer.values()):
        return observe(replace(source, run=one_by_one(source.run)), intent.labels), 1
    return observe(fixed, intent.labels), None


def _refuse_containers(model: Any) -> None:
    for output in model.graph.output:
        kind = output.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            raise SetsailError("convert.unsupported", f"output {output.name!r} is a {kind}", field=output.name,
                               expected="a tensor", todo="end the graph in tensors")  # fmt: skip


def _refuse_llm(model: Any) -> None:
    """A decoder that takes its own past back in is a language model's step, not a model to serve here."""
    names = [v.name for v in (*model.graph.input, *model.graph.output) if _CACHE.search(v.name)]
    if names:
        raise SetsailError("source.llm", "the graph is one step of a language model", field=names[0], value=names[:4],
                           expected="a model that answers in one pass")  # fmt: skip
