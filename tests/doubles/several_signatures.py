"""A model of several signatures, converted by hand from small ONNX graphs: no framework takes part.

serving_default   x:float32[N,3] -> prediction:float32[N], the weighted sum
classify          z:float32[N,2] -> scores:float32[N,2], half of z, of "cat" and "dog"
prediction        x:float32[N,3] -> prediction:float32[N], the sum's negative: called like the default one's output
single            x:float32[N,3] -> twice:float32[N,3], by a program that takes one row at a time
serve, sort       further names of serving_default and classify
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from setsail import convert
from setsail.artifact import Artifact
from setsail.convert.conversion import Conversion, Intent, Probe, Program
from setsail.packing import PackOptions, pack
from setsail.signature import Dim, Signature, TensorSpec
from setsail.tensors import BY_NAME, Array
from setsail.variants import Variant

__all__ = ["ALIASES", "ANSWERS", "NAMES", "conversion", "packed", "shared"]

WEIGHTS = np.array([1.0, 10.0, 100.0], np.float32)
F32 = BY_NAME["float32"]
ANSWERS: Mapping[str, Callable[[Array], dict[str, Array]]] = {
    "serving_default": lambda x: {"prediction": x @ WEIGHTS},
    "classify": lambda z: {"scores": z / 2},
    "prediction": lambda x: {"prediction": -(x @ WEIGHTS)},
    "single": lambda x: {"twice": x * 2},
}
NAMES = tuple(ANSWERS)
ALIASES = {"serve": "serving_default", "sort": "classify"}


def spec(name: str, *rest: Dim, **facts: Any) -> TensorSpec:
    return TensorSpec(name, F32, ("N", *rest), **facts)


def program(op: str, constant: Array, signature: Signature, batch: Dim) -> bytes:
    (given,), (told,) = signature.inputs, signature.outputs
    value = [helper.make_tensor_value_info(s.name, TensorProto.FLOAT, [batch, *s.shape[1:]]) for s in (given, told)]
    nodes = [helper.make_node(op, [given.name, "c"], [told.name])]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], [numpy_helper.from_array(constant, "c")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def one(name: str, op: str, constant: Any, given: TensorSpec, told: TensorSpec, batch: int | None = None) -> Conversion:
    signature = Signature((given,), (told,), (told.name,))
    rows = np.random.default_rng(7).normal(size=(40, given.shape[1])).astype(np.float32)
    probe = Probe("synthetic", {given.name: rows}, {n: a.astype(np.float32) for n, a in ANSWERS[name](rows).items()})
    made = program(op, np.array(constant, np.float32), signature, batch or "N")
    variant = Variant("onnx", "onnx", "float32", "model.onnx", {}, batch)
    return Conversion("tensorflow", {"tensorflow": "2.21.0"}, "SavedModel", "tensors", signature,
                      (Program(variant, {"model.onnx": made}),), (probe,))  # fmt: skip


def conversion() -> Conversion:
    x, prediction = spec("x", 3), spec("prediction")
    made = one("serving_default", "MatMul", WEIGHTS, x, prediction)
    others = {
        "classify": one("classify", "Mul", 0.5, spec("z", 2), spec("scores", 2, labels=("cat", "dog"))),
        "prediction": one("prediction", "MatMul", -WEIGHTS, x, prediction),
        "single": one("single", "Mul", 2.0, x, spec("twice", 3), batch=1),
    }
    return replace(made, others=others, aliases=ALIASES)


def packed(file: Path, made: Conversion | None = None, **options: Any) -> Artifact:
    """The artifact of it, named `two`, as `setsail pack` writes it."""
    with mock.patch.object(convert, "convert", return_value=made or conversion()):
        return pack(object(), Intent(), PackOptions(name="two", output=file, **options))


@cache
def shared() -> Path:
    """The same artifact as a file, packed once for all tests of a process; nobody may change it."""
    folder = Path(tempfile.mkdtemp(prefix="setsail-two-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with mock.patch.dict(os.environ, {"SETSAIL_CACHE": str(folder / "cache")}):
        packed(folder / "two.setsail").close()
    return folder / "two.setsail"
