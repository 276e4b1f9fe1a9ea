"""ONNX programs through onnxruntime.

One intra-op thread that does not spin: a request of a tabular model takes tens of microseconds, and onnxruntime's own
default (all cores, spinning) burns three to four times the CPU and takes the core from the server's loop. External
weights go in as views of the mapped artifact. After the session is made nothing of the file is needed: onnxruntime has
copied it.

Memory (`docs/memory.md` has the figures). All sessions of a process share one arena, because an arena of its own costs
every small model some 40 KiB; it shrinks when a runner is told to `rest`. Memory patterns are off: onnxruntime keeps
one for every shape that was ever seen, and batches have any size. Large programs are opened by path, because
onnxruntime parses a file piece by piece, but a buffer as a whole and beside it; and once a session is made its Python
wrapper goes, which would keep those bytes. Programs with large weights are opened in a form that processes share
(`prepared.py`).

The program was let in by `artifact/gate.py`, so there are no custom operators and no paths in it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from setsail.errors import SetsailError
from setsail.runtime import heap, prepared
from setsail.runtime.runner import Options, Weights
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, Array, DType
from setsail.variants import Variant

__all__ = ["OnnxRunner", "load"]

_LOG = logging.getLogger("setsail.runtime")
_ERRORS_ONLY: Final = 3
_LARGE: Final = 16 << 20  # bytes of a program from which on it is opened by path
_TYPES: Final[Mapping[str, DType]] = {
    f"tensor({name})": BY_NAME[ours]
    for name, ours in (
        ("bool", "bool"), ("uint8", "uint8"), ("uint16", "uint16"), ("uint32", "uint32"), ("uint64", "uint64"),
        ("int8", "int8"), ("int16", "int16"), ("int32", "int32"), ("int64", "int64"), ("float16", "float16"),
        ("float", "float32"), ("double", "float64"), ("string", "string"),
    )
}  # fmt: skip


_NO_MEMORY: Final = ("bad_alloc", "Failed to allocate memory")  # how onnxruntime says so


def load(
    variant: Variant, files: Mapping[str, bytes | memoryview], signature: Signature, options: Options
) -> OnnxRunner:
    """Open a session and hold its inputs and outputs against the signature. Raises `model.failed` or `model.memory`."""
    session, weights = _shared(variant, files, options)
    if session is None:
        try:
            session = _private(variant, files, options.threads)
        except Exception as fault:  # each status of onnxruntime is a class of its own, with no common base
            if isinstance(fault, MemoryError) or any(words in str(fault) for words in _NO_MEMORY):
                raise SetsailError("model.memory", f"no memory is left for variant {variant.id!r}") from fault
            raise SetsailError(
                "model.failed", f"onnxruntime cannot load variant {variant.id!r}", value=first_line(fault),
                expected="a program this onnxruntime runs",
            ) from fault  # fmt: skip
    _agree(variant, signature, session)
    large = sum(map(len, files.values())) >= prepared.SMALLEST
    if large:
        heap.give_back()
    return OnnxRunner(variant, signature, session, weights, large)


class OnnxRunner:
    """A session with the signature's names, order, dtypes and shapes. `large`: closing it frees much."""

    def __init__(self, variant: Variant, signature: Signature, session: Any, weights: Weights, large: bool) -> None:
        self.signature = signature
        self.max_batch = variant.max_batch
        self.weights = weights
        self._large = large
        # The wrapper in Python checks again what `binding.bind` has checked, which takes longer than a small model.
        inner = getattr(session, "_sess", None)
        self._call: Callable[..., list[Array]] | None = session.run if inner is None else inner.run
        # A program need not use every input: one that converters dropped must not be fed.
        names = tuple(i.name for i in session.get_inputs())
        self._fed = None if set(names) == {s.name for s in signature.inputs} else names
        self._outputs = [s.name for s in signature.outputs]

    def run(self, inputs: Mapping[str, Array], how: Any = None) -> dict[str, Array]:
        call, fed = self._call, self._fed  # a local reference: `close` in another thread must not pull it away
        if call is None:
            raise SetsailError("model.not_ready", "the model was unloaded")
        try:
            answers = call(self._outputs, inputs if fed is None else {name: inputs[name] for name in fed}, how)
        except Exception as fault:  # as above
            raise run_fault(fault) from fault
        return dict(zip(self._outputs, answers, strict=True))

    def rest(self, inputs: Mapping[str, Array]) -> None:
        how = ort.RunOptions()
        if _one_arena():
            how.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.run(inputs, how)
        if self._large:
            heap.give_back()

    def close(self) -> None:
        if self._call is not None:
            self._call = None
            if self._large:
                heap.give_back()


def run_fault(fault: Exception) -> SetsailError:
    """The runtime's words name shapes and nodes: they are for the log (`detail`), the client gets the id."""
    ident = os.urandom(4).hex()
    return SetsailError(
        "model.run", f"the model failed on this request (id {ident})", id=ident, detail=first_line(fault)
    )


def first_line(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]


# -- sessions --------------------------------------------------------------------------------------------------------


def _shared(variant: Variant, files: Mapping[str, bytes | memoryview], options: Options) -> tuple[Any, Weights]:
    """A session over weights that processes share, or None and why there is none."""
    size = sum(map(len, files.values()))
    if not options.identity or size < prepared.SMALLEST:
        return None, Weights()

    def write(folder: Path) -> None:
        _write(variant, files, options.threads, folder)

    place = None
    try:
        place = prepared.entry(prepared.key(options.identity, options.threads, ort.__version__), size, write)
        # It was optimised when it was written; doing so again could only give the weights other names and shapes.
        unchanged = _options(options.threads)
        unchanged.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return _session(str(place / prepared.PROGRAM), unchanged), Weights(str(place / prepared.WEIGHTS))
    except prepared.Skipped as why:
        note = str(why)
    except Exception as fault:
        note = f"onnxruntime could not prepare them: {first_line(fault)}"
        if place is not None:
            prepared.discard(place)
    _LOG.info("weights of variant %s are not shared between processes: %s", variant.id, note)
    return None, Weights(note=note)


def _write(variant: Variant, files: Mapping[str, bytes | memoryview], threads: int, folder: Path) -> None:
    """Have onnxruntime write down what it makes of a program. Only that is wanted of this session."""
    options = _with_weights(_options(threads), variant, files)
    options.optimized_model_filepath = str(folder / prepared.PROGRAM)
    for entry, value in (
        ("session.optimized_model_external_initializers_file_name", prepared.WEIGHTS),
        ("session.optimized_model_external_initializers_min_size_in_bytes", "1024"),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(entry, value)
    source = folder / "source.onnx"
    source.write_bytes(files[variant.entry])
    _session(str(source), options)


def _private(variant: Variant, files: Mapping[str, bytes | memoryview], threads: int) -> Any:
    """A session with weights of its own."""
    program = files[variant.entry]
    options = _with_weights(_options(threads), variant, files)
    if len(program) >= _LARGE:
        try:
            with tempfile.TemporaryDirectory(prefix="setsail-program-", ignore_cleanup_errors=True) as folder:
                source = Path(folder) / "program.onnx"
                source.write_bytes(program)
                return _session(str(source), options)
        except OSError:
            pass  # no room for the file: then as a buffer, if there is room for that
    return _session(bytes(program), options)  # the binding takes nothing else


def _session(program: str | bytes, options: Any) -> Any:
    return ort.InferenceSession(program, options, providers=["CPUExecutionProvider"])


def _options(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if _one_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    else:
        options.enable_cpu_mem_arena = False
    return options


@cache
def _one_arena() -> bool:
    """Make the arena that sessions share; False where this onnxruntime does not let us, or somebody has made one."""
    try:
        where = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
        ort.create_and_register_allocator(where, None)
    except Exception as fault:
        _LOG.info("no arena for all sessions: %s", first_line(fault))
        return False
    return True


def _with_weights(options: Any, variant: Variant, files: Mapping[str, bytes | memoryview]) -> Any:
    weights = {name: content for name, content in files.items() if name != variant.entry}
    if weights:
        options.add_external_initializers_from_files_in_memory(
            list(weights), list(weights.values()), [len(w) for w in weights.values()]
        )
    return options


# -- the program against the signature -----------------------------------------------------------------------------


def _agree(variant: Variant, signature: Signature, session: Any) -> None:
    have = {i.name: i for i in session.get_inputs()}
    for name in have:
        if name not in {s.name for s in signature.inputs}:
            raise _disagrees(variant, f"the program takes an input {name!r}", None, "no such input")
    for spec in signature.inputs:
        if spec.name in have:
            _fits(variant, spec, have[spec.name])
    made = {o.name: o for o in session.get_outputs()}
    for spec in signature.outputs:
        if spec.name not in made:
            raise _disagrees(variant, f"the program has no output {spec.name!r}", list(made), str(spec))
        _fits(variant, spec, made[spec.name])


def _fits(variant: Variant, spec: TensorSpec, node: Any) -> None:
    shape = list(node.shape)  # sizes, symbols or None; [] also where the program does not say
    same = not shape or (
        len(shape) == len(spec.shape)
        and all(_may_be(*pair, axis, variant) for axis, pair in enumerate(zip(spec.shape, shape, strict=True)))
    )
    if _TYPES.get(node.type) != spec.dtype or not same:
        raise _disagrees(variant, f"{spec.name!r} is not as the signature says", f"{node.type}{shape}", str(spec))


def _may_be(ours: int | str, theirs: int | str | None, axis: int, variant: Variant) -> bool:
    """Whether one dimension fits: a free one of the program holds any size, a fixed one only a batch we split to."""
    if not isinstance(theirs, int):
        return True
    return ours == theirs or (axis == 0 and isinstance(ours, str) and variant.max_batch == theirs)


def _disagrees(variant: Variant, what: str, value: object, expected: str) -> SetsailError:
    return SetsailError("model.failed", f"variant {variant.id!r}: {what}", value=value, expected=expected)
