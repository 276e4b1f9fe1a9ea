"""From a directory, or a live pipeline, to a Conversion: load, describe, export, ask the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import onnx
import onnxscript
import PIL
import tokenizers
import torch
import transformers
from onnx import helper

from setsail.convert.conversion import Conversion, Intent, Probe, Program
from setsail.convert.examples import named
from setsail.convert.onnx.program import PROGRAM, rename, seal
from setsail.convert.torch.assembly import evaluating
from setsail.convert.torch.exporting import export, quiet
from setsail.convert.transformers import images, words
from setsail.convert.transformers.directory import Directory
from setsail.convert.transformers.heads import PAIR, Head, head, task_of
from setsail.convert.transformers.images import Pictures
from setsail.convert.transformers.loading import Parts, load
from setsail.convert.transformers.words import Words
from setsail.errors import SetsailError
from setsail.parity import ABSOLUTE, RELATIVE
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.steps import Processing
from setsail.tensors import BY_NAME, Array
from setsail.variants import Variant

__all__ = ["assemble", "convert"]

_ROWS: Final = 24  # synthetic texts, beside those that are always asked
_PICTURES: Final = 13
_FILLED: Final = 512  # tokens that a text's outputs have room for, where nothing says how many
_KEPT: Final = 64
_PADDED: Final = 600  # tokens of the longest text in a probe


def convert(directory: Directory, intent: Intent) -> Conversion:
    """Load a directory and convert it; see `directory.convert`."""
    task = task_of(directory.architecture)
    with quiet():
        return assemble(load(directory, task), intent)


# -- converting --------------------------------------------------------------------------------------------------------


def assemble(parts: Parts, intent: Intent) -> Conversion:
    """Export a model with what stands before and after it, and ask the source.

    Raises:
        SetsailError: `convert.unsupported`, `convert.input`, `convert.run`, `source.llm`.
    """
    model = parts.model
    with evaluating(model), torch.no_grad():
        inputs = _inputs(parts, intent)
        rows = _drawn(parts, inputs, intent.seed)
        few = _encode(parts, {name: array[:3] for name, array in rows[0].items()})
        if parts.takes == "text" and parts.task.name != "text classification" and "attention_mask" not in few:
            raise SetsailError("convert.unsupported", "the tokenizer does not tell tokens from padding",
                               field="model_input_names", expected="attention_mask among them")  # fmt: skip
        seen = _tried(lambda: model(**few, return_dict=True), 3)
        made = head(model, parts.task, _length(parts), intent.labels, parts.pool, seen)
        source = partial(_answer, parts, made)
        batch = None if _independent(source, rows[0], made) else 1
        if batch:
            source = partial(_one_by_one, source)
        signature = Signature(inputs, made.outputs, made.defaults)
        probes = [Probe("synthetic", part, source(part)) for part in rows]
        if intent.example is not None:
            example = _example(intent.example, inputs)
            probes.insert(0, Probe("example", example, source(example)))
        program = _program(made, few, batch)
    names = [spec.name for spec in inputs]
    steps = (*parts.before.steps(names), *made.steps)
    inner = Signature(_tensors(few), made.program, tuple(s.name for s in made.program))
    files = {words.FILE: parts.before.file()} if isinstance(parts.before, Words) else {}
    notes = (parts.before.note(), *made.notes, *parts.notes)
    if batch:
        notes += ("rows answer differently beside longer ones, so the program takes one at a time",)
    return Conversion(
        framework="transformers", versions=_versions(parts), estimator=type(model).__name__, kind=made.kind,
        signature=signature, programs=(program,), probes=tuple(probes),
        processing=Processing(steps, inner, files), notes=notes,
        hyperparameters={"task": parts.task.name, "model_type": str(model.config.model_type)},
    )  # fmt: skip


def _versions(parts: Parts) -> dict[str, str]:
    own = {"tokenizers": tokenizers.__version__} if parts.takes == "text" else {"pillow": PIL.__version__}
    return {"transformers": transformers.__version__, "torch": torch.__version__, "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__, **own}  # fmt: skip


def _inputs(parts: Parts, intent: Intent) -> tuple[TensorSpec, ...]:
    """`image`; or `text`, and `text_pair` where the person asks for it by --input or in the example."""
    string = BY_NAME["string"]
    if parts.takes == "image":
        allowed: tuple[str, ...] = ("image",)
    else:
        allowed = ("text", PAIR) if parts.task.name == "text classification" else ("text",)
    wrong = [spec for spec in intent.inputs if spec.name not in allowed or spec.dtype != string or len(spec.shape) != 1]
    if wrong:
        raise SetsailError("convert.input", "the model takes other inputs", field="--input", value=str(wrong[0]),
                           expected=" ".join(f'"{name}:string[*]"' for name in allowed))  # fmt: skip
    if parts.takes == "image":
        return (TensorSpec("image", string, (BATCH,), content="image"),)
    given = {spec.name for spec in intent.inputs}
    if intent.example is not None:
        given |= set(named(intent.example, allowed, 1)[0])
    return tuple(TensorSpec(name, string, (BATCH,)) for name in allowed if name == "text" or name in given)


def _example(example: Any, inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    values, _ = named(example, [spec.name for spec in inputs], len(inputs))
    made = {}
    for spec in inputs:
        rows = np.asarray(values[spec.name], dtype=object).ravel()[:_KEPT].tolist()
        kind = bytes if spec.content else str
        if not rows or not all(isinstance(row, kind) for row in rows):
            raise SetsailError("convert.input", f"the example of {spec.name!r} is no list of {kind.__name__}",
                               field=spec.name, value=rows[:2], expected="files' bytes" if spec.content else "texts",
            )  # fmt: skip
        made[spec.name] = _column(rows)
    return made


def _column(values: Sequence[Any]) -> Array:
    made: Array = np.empty(len(values), dtype=object)
    made[:] = list(values)
    return made


def _length(parts: Parts) -> int:
    return (parts.before.length or _FILLED) if isinstance(parts.before, Words) else 0


# -- rows --------------------------------------------------------------------------------------------------------------


def _drawn(parts: Parts, inputs: Sequence[TensorSpec], seed: int) -> list[dict[str, Array]]:
    """Rows of many lengths; and a text of more tokens than are read, alone, for all beside it would be as long."""
    if isinstance(parts.before, Pictures):
        config = parts.model.config
        size = getattr(config, "image_size", None)
        edge = size if isinstance(size, int) else 64
        return [{"image": images.drawn(_PICTURES, min(edge, 256), seed)}]
    texts = words.drawn(parts.before, _ROWS, seed)
    longest = words.long(parts.before, texts, _PADDED)
    if len(inputs) == 1:
        words.check(parts.before, [*texts, *longest], None)
        return [{"text": texts}, {"text": longest}]
    pairs = _column(np.roll(texts, 7).tolist())
    words.check(parts.before, [*texts, *longest], [*pairs, texts[0]])
    return [{"text": texts, PAIR: pairs}, {"text": longest, PAIR: texts[:1]}]


def _encode(parts: Parts, rows: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    columns = [array.tolist() for array in rows.values()]
    return parts.before.encode(*columns)


def _answer(parts: Parts, made: Head, rows: Mapping[str, Array]) -> dict[str, Array]:
    """What the source says: its own tokenizer or processor, its own model, transformers' own treatment of scores."""
    count = len(next(iter(rows.values())))
    with torch.no_grad():
        seen = _tried(lambda: made.module(**_encode(parts, rows)), count)
    done = made.finish({name: tensor.detach() for name, tensor in seen.items()})
    return {name: np.ascontiguousarray(array) for name, array in done.items()}


def _tried(run: Callable[[], Any], rows: int) -> Any:
    """What the model answers, or `convert.run`."""
    try:
        return run()
    except Exception as fault:  # a model may raise anything
        raise SetsailError("convert.run", f"the model failed on {rows} rows",
                           value=str(fault).strip().partition("\n")[0] or type(fault).__name__,
                           expected="a model that answers its own tokenizer or processor") from fault  # fmt: skip


def _one_by_one(source: Any, rows: Mapping[str, Array]) -> dict[str, Array]:
    count = len(next(iter(rows.values())))
    parts = [source({name: array[i : i + 1] for name, array in rows.items()}) for i in range(count)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _independent(source: Any, rows: Mapping[str, Array], made: Head) -> bool:
    """Whether rows answer alone as beside longer ones: padding must not count."""
    together, apart = source(rows), _one_by_one(source, rows)
    return all(
        np.allclose(together[spec.name], apart[spec.name], rtol=RELATIVE, atol=ABSOLUTE)
        for spec in made.outputs if spec.dtype.kind == "float"
    )  # fmt: skip


# -- the program -------------------------------------------------------------------------------------------------------


def _tensors(few: Mapping[str, torch.Tensor]) -> tuple[TensorSpec, ...]:
    """The program's inputs: tokens of any number, pictures of the one size the processor makes."""
    return tuple(
        TensorSpec(name, BY_NAME["int64"], (BATCH, "tokens")) if tensor.dtype == torch.int64
        else TensorSpec(name, BY_NAME["float32"], (BATCH, *(int(d) for d in tensor.shape[1:])))
        for name, tensor in few.items()
    )  # fmt: skip


def _program(made: Head, few: Mapping[str, torch.Tensor], batch: int | None) -> Program:
    inputs = _tensors(few)
    with quiet():
        proto = export(made.module.eval(), inputs, few, [spec.name for spec in made.program], True)
    for name, every in made.labels.items():
        _name_labels(proto, name, every)
    files = seal(proto, inputs, made.program, batch=batch)
    return Program(Variant("onnx", "onnx", "float32", PROGRAM, max_batch=batch), files)


def _name_labels(proto: Any, name: str, every: Sequence[str]) -> None:
    """Give texts where the graph gives their numbers."""
    numbers, table = f"{name}__number", f"{name}__texts"
    rename(proto, {name: numbers})
    proto.graph.initializer.append(helper.make_tensor(table, onnx.TensorProto.STRING, [len(every)],
                                                      [text.encode() for text in every]))  # fmt: skip
    proto.graph.node.append(helper.make_node("Gather", [table, numbers], [name]))
    output = next(o for o in proto.graph.output if o.name == numbers)
    output.name = name
    output.type.tensor_type.elem_type = onnx.TensorProto.STRING
