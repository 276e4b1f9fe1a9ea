"""SavedModels: the named signatures of a directory, or of what `tf.saved_model.load` gave.

A SavedModel is a graph; its operators were held against a list before anybody loads it (`graph_operators.py`). The
artifact's default signature is the one that `--signature` names, else `serving_default`, else the only one. The others
keep their names; one that cannot be converted is told of in a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from setsail.convert.conversion import Conversion, Intent
from setsail.convert.tensorflow.assembly import Found, assemble, declared
from setsail.convert.tensorflow.graph_operators import HARMLESS
from setsail.convert.tensorflow.signatures import carried
from setsail.convert.tensorflow.tracing import Traceable
from setsail.convert.tensorflow.translation import quiet
from setsail.errors import SetsailError

__all__ = ["convert", "convert_directory", "convert_trusted"]


def convert_directory(path: Path, intent: Intent) -> Conversion:
    """Load and convert a SavedModel directory whose operators are harmless.

    Raises:
        SetsailError: `source.trust` where the signature itself saves or restores variables, `source.load`, and what
            `convert` raises.
    """
    loaded = _load(path)
    for name, function in (getattr(loaded, "signatures", None) or {}).items():
        graph = function.graph.as_graph_def()
        used = {n.op for n in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
        if reaching := sorted(used - HARMLESS):
            raise SetsailError("source.trust", f"signature {name!r} of {path.name} uses {reaching[0]}",
                               field="--trust", value=reaching, expected="operators without effects")  # fmt: skip
    return convert(loaded, intent)


def _load(path: Path) -> Any:
    folder = path if path.is_dir() else path.parent
    try:
        with quiet():
            return tf.saved_model.load(str(folder))
    except Exception as fault:  # a damaged one raises anything
        lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
        raise SetsailError("source.load", f"TensorFlow cannot load {folder.name}: {type(fault).__name__}",
                           value=lines[0] if lines else None, expected="a directory that TensorFlow 2 saved",
                           ) from fault  # fmt: skip


def convert_trusted(path: Path, intent: Intent) -> Conversion:
    """The same for a graph that reaches beyond itself, after the person said so."""
    return convert(_load(path), intent)


def convert(loaded: Any, intent: Intent) -> Conversion:
    """Convert every signature of a loaded SavedModel.

    Raises:
        SetsailError: `convert.input` for a signature that is not there, and what converting the default one raises:
            `convert.unsupported`, `convert.run`. What another one raises becomes a note.
    """
    signatures: Mapping[str, Any] = getattr(loaded, "signatures", None) or {}
    if not signatures:
        raise SetsailError("convert.unsupported", "the SavedModel has no signature", expected="a named signature",
                           todo="save it with tf.saved_model.save(model, folder, signatures=…)")  # fmt: skip
    takes = {name: function.structured_input_signature[1] for name, function in signatures.items()}
    return carried(takes, partial(_one, loaded), intent)


def _one(loaded: Any, name: str, intent: Intent) -> Conversion:
    """One signature. Raises `convert.unsupported`, `convert.input`, `convert.example` or `convert.run`."""
    function = loaded.signatures[name]
    takes = _tensors(function.structured_input_signature[1])
    gives = function.structured_outputs
    specs = declared([(n, t.dtype.name, None if t.shape.rank is None else tuple(t.shape)) for n, t in takes.items()],
                     intent, framework="TensorFlow")  # fmt: skip
    if not specs or not gives:
        raise SetsailError("convert.unsupported", f"signature {name!r} takes or gives no tensor", field=name,
                           expected="at least one input and one output")  # fmt: skip
    # what was loaded is kept by the function we hand on: its variables would die with it
    call = Traceable(partial(_answered, loaded, function), specs)
    return assemble(Found(call.run, specs, call.trace, f"SavedModel signature {name}", "tensorflow"), intent)


def _tensors(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A signature's inputs, in the order of their names: TensorFlow's own changes from one loading to the next.

    Ragged and sparse ones are refused.
    """
    for name, spec in arguments.items():
        if not isinstance(spec, tf.TensorSpec):
            raise SetsailError("convert.unsupported", f"input {name!r} is a {type(spec).__name__}", field=name,
                               expected="a dense tensor", todo="save a signature that takes dense tensors")  # fmt: skip
    return dict(sorted(arguments.items()))


def _answered(_loaded: Any, function: Any, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict(sorted(function(**tensors).items()))
