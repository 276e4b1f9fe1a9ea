"""Holds each ONNX operator as TensorFlow does it against onnxruntime, in an environment that has TensorFlow.

    python operator_house.py FOLDER

The last line it prints is JSON: case -> what is wrong with it, "" for nothing; and the operators that have no case.
Each graph is saved as a SavedModel with a free batch, loaded again, and answers the rows and other numbers of rows. It
is a script of its own: nothing of the tests can be imported where TensorFlow is.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from setsail.convert.tensorflow.operators import OPERATORS
from setsail.convert.tensorflow.rebuilt import Program, save
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.tensors import dtype_of

DRAWN = np.random.default_rng(0)
Case = tuple[Any, list[Any], dict[str, Any]]


def floats(*shape: int) -> Any:
    return DRAWN.normal(size=shape).astype(np.float32)


X, IMAGE, SERIES, VOLUME = floats(3, 4), floats(2, 4, 6, 7), floats(2, 4, 9), floats(2, 2, 5, 4, 6)
INTS = DRAWN.integers(-5, 6, (3, 4))
TIED = np.array([[1, 3, 3, 2], [2, 2, 2, 2], [0, 5, 1, 5]], np.float32)
HOLED = np.array([[1, np.nan, 3, -np.inf], [np.inf, 2, np.nan, 2]], np.float32)
TEXTS = np.array([["a", "ü"], ["", "b"], ["a", "zz"]], object)
ONE, AXIS, LAST, HUGE = np.array([1]), np.array(1), np.array([-1]), np.array([2**63 - 1])
NONE = None  # an input that is left out


def gates(count: int, directions: int = 1) -> list[Any]:
    """Weights of a recurrent cell with 3 units over 4 columns; the last one is both biases."""
    return [floats(directions, 3 * count, 4), floats(directions, 3 * count, 3), floats(directions, 6 * count)]


def trees(classes: bool = False, double: bool = False, **more: Any) -> dict[str, Any]:
    """Two trees over four columns: one of two levels that sends NaN both ways, and one that is a leaf."""
    side = "class" if classes else "target"
    numbers = {"nodes_values": [0.25, -0.5, 0, 0, 0, 0], f"{side}_weights": [1.5, -2.25, 0.1, 0.7, 4.0]}
    if double:
        numbers = {f"{key}_as_tensor": numpy_helper.from_array(np.array(v) + 1e-9) for key, v in numbers.items()}
    ids = {f"{side}_treeids": [0, 0, 0, 1, 1], f"{side}_nodeids": [2, 3, 4, 0, 0], f"{side}_ids": [0, 1, 0, 0, 1]}
    return numbers | ids | {
        "nodes_treeids": [0, 0, 0, 0, 0, 1], "nodes_nodeids": [0, 1, 2, 3, 4, 0],
        "nodes_featureids": [0, 2, 0, 0, 0, 0], "nodes_modes": ["BRANCH_LEQ", "BRANCH_LT", *["LEAF"] * 4],
        "nodes_truenodeids": [1, 3, 0, 0, 0, 0], "nodes_falsenodeids": [2, 4, 0, 0, 0, 0],
        "nodes_missing_value_tracks_true": [1, 0, 0, 0, 0, 0], "post_transform": "NONE",
        **({"classlabels_strings": ["no", "yes"]} if classes else {"n_targets": 2}), **more,
    }  # fmt: skip


UNARY = (
    "Neg", "Abs", "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Tanh", "Sigmoid", "Relu", "Erf",
    "Floor", "Ceil", "Round", "Sign", "Reciprocal", "IsNaN", "Softplus", "Softsign", "Mish", "HardSwish", "Identity",
    "Dropout", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "HardSigmoid", "Shape", "Size", "Flatten",
    "Transpose", "Softmax", "LogSoftmax", "IsInf", "NonZero", "LpNormalization",
)  # fmt: skip
REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
              "ReduceSumSquare", "ReduceLogSumExp")  # fmt: skip
CASES: dict[str, list[Case]] = {
    **{name: [(X, [], {})] for name in UNARY},
    **{name: [(X, [floats(4)], {}), (INTS, [np.array([1, 2, 3, 4])], {})] for name in ("Add", "Sub", "Mul", "Div")},
    **{name: [(X, [floats(3, 4)], {}), (TIED, [np.float32(2)], {})]
       for name in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Min", "Max", "Sum", "PRelu", "Mean")},
    **{name: [(X, [], {}), (X, [ONE], {"keepdims": 0}), (IMAGE, [np.array([-1, -2])], {}),
              (X, [], {"noop_with_empty_axes": 1})] for name in REDUCTIONS},
    **{name: [(TIED, [], {}), (TIED, [], {"axis": 1, "keepdims": 0}), (TIED, [], {"axis": -1, "select_last_index": 1})]
       for name in ("ArgMax", "ArgMin")},
    "Acos": [(np.tanh(X), [], {})], "Asin": [(np.tanh(X), [], {})], "Atanh": [(np.tanh(X) / 2, [], {})],
    "Acosh": [(abs(X) + 1, [], {})], "Sqrt": [(abs(X), [], {})], "Log": [(abs(X) + 1, [], {})],
    "ReduceLogSum": [(abs(X), [ONE], {})],
    "Round": [(X * 10, [], {}), (np.array([0.5, 1.5, -2.5], np.float32), [], {})],
    "IsNaN": [(HOLED, [], {})], "IsInf": [(HOLED, [], {}), (HOLED, [], {"detect_negative": 0}),
                                          (HOLED, [], {"detect_positive": 0})],
    "Relu": [(X, [], {}), (HOLED, [], {})], "Sign": [(INTS, [], {}), (X, [], {})],
    "Erf": [(X, [], {})],
    "Gelu": [(X, [], {}), (X, [], {"approximate": "tanh"})],
    "Selu": [(X, [], {}), (X, [], {"alpha": 1.0, "gamma": 2.0})], "Celu": [(X, [], {"alpha": 0.5})],
    "Equal": [(INTS, [np.array(2)], {}), (TEXTS, [np.array(["a"], object)], {})],
    "Pow": [(X, [np.float32(2)], {}), (INTS, [np.array(3)], {}), (X, [np.array(2)], {})],
    "Mod": [(INTS, [np.array(3)], {}), (X, [np.float32(0.7)], {"fmod": 1})],
    "Not": [(X > 0, [], {})], "And": [(X > 0, [X < 1], {})], "Or": [(X > 0, [X < -1], {})],
    "Xor": [(X > 0, [X < 1], {})],
    "Clip": [(X, [np.float32(-0.5), np.float32(0.5)], {}), (X, [np.float32(0)], {}), (X, [NONE, np.float32(0)], {})],
    "Where": [(X > 0, [X, floats(4)], {}), (X > 0, [np.array("yes", object), np.array("no", object)], {})],
    "Cast": [(X * 3, [], {"to": TensorProto.INT64}), (INTS, [], {"to": TensorProto.DOUBLE}),
             (X, [], {"to": TensorProto.BOOL}), (INTS, [], {"to": TensorProto.STRING}),
             (np.array(["1", "-2.5"], object), [], {"to": TensorProto.FLOAT})],
    "CastLike": [(X, [np.float64(1)], {})],
    "Shape": [(X, [], {}), (IMAGE, [], {"start": 1, "end": -1})],
    "Flatten": [(IMAGE, [], {}), (IMAGE, [], {"axis": 2}), (X, [], {"axis": 0}), (IMAGE, [], {"axis": -1})],
    "Transpose": [(X, [], {}), (IMAGE, [], {"perm": [0, 2, 3, 1]})],
    "Softmax": [(X, [], {}), (IMAGE, [], {"axis": 1})], "LogSoftmax": [(X, [], {}), (IMAGE, [], {"axis": 1})],
    "LpNormalization": [(X, [], {}), (X, [], {"p": 1, "axis": 0})],
    "Reshape": [(X, [np.array([2, -1])], {}), (X, [np.array([0, 2, 2])], {})],
    "Squeeze": [(X[:, None], [ONE], {})], "Unsqueeze": [(X, [np.array([0, -1])], {})],
    "Concat": [(X, [floats(3, 2)], {"axis": 1}), (TEXTS, [TEXTS], {"axis": -1})],
    "Split": [(X, [np.array([1, 3])], {"axis": 1}), (X, [], {"axis": 1, "num_outputs": 2}),
              (floats(3, 5), [], {"axis": -1, "num_outputs": 2})],
    "Slice": [(X, [ONE, HUGE, ONE], {}), (X, [np.array([-3]), LAST, ONE, np.array([2])], {}),
              (X, [LAST, -HUGE, ONE, LAST], {}), (X, [np.array([9]), np.array([-9]), ONE, np.array([-2])], {})],
    "Gather": [(X, [np.array([2, -1])], {}), (X, [AXIS], {"axis": 1}), (X, [np.array([[0, 1]])], {"axis": -1}),
               (TEXTS, [np.array([1])], {"axis": 1})],
    "GatherElements": [(X, [np.array([[0, -1], [2, 3], [1, 0]])], {"axis": 1}), (X, [np.array([[0, -1]])], {})],
    "GatherND": [(X, [np.array([[0, -1], [2, 3]])], {}), (IMAGE, [np.array([[[1], [-1]]] * 2)], {"batch_dims": 1})],
    "ScatterND": [(X, [np.array([[0], [2]]), floats(2, 4)], {}), (X, [np.array([[-1, 1]]), floats(1)],
                                                                  {"reduction": "add"})],
    "ScatterElements": [(X, [np.array([[0, -1]]), floats(1, 2)], {"axis": 1})],
    "Compress": [(X, [np.array([True, False, True])], {"axis": 1}), (X, [np.array([False, True, True])], {})],
    "OneHot": [(INTS % 4 - 2, [np.array(4), np.array([0.5, 2.0], np.float32)], {}),
               (INTS % 4, [np.array([4]), np.array([0, 1])], {"axis": 1})],
    "Expand": [(X[:, None], [np.array([2, 1, 5, 1])], {}), (X, [np.array([1])], {})],
    "ConstantOfShape": [], "Range": [],  # beside the others, in SHAPED
    "Tile": [(X, [np.array([2, 1])], {})],
    "Trilu": [(X, [], {}), (X, [np.array(-1)], {"upper": 0}), (X, [np.array(1)], {})],
    "Pad": [(X, [np.array([1, 0, 0, 2])], {}), (X, [np.array([2, 1]), np.float32(7), LAST], {}),
            (IMAGE, [np.array([0, 0, 1, 2, 0, 0, 2, 1])], {"mode": "reflect"}),
            (IMAGE, [np.array([0, 0, 1, 2, 0, 0, 2, 1])], {"mode": "edge"})],
    "TopK": [(TIED, [np.array([2])], {}), (TIED, [np.array([2])], {"largest": 0, "axis": 0}),
             (INTS, [np.array([3])], {}), (INTS, [np.array([3])], {"largest": 0})],
    "CumSum": [(X, [AXIS], {}), (X, [AXIS], {"exclusive": 1, "reverse": 1})],
    "DepthToSpace": [(IMAGE, [], {"blocksize": 2}), (IMAGE, [], {"blocksize": 2, "mode": "CRD"})],
    "SpaceToDepth": [(IMAGE[..., :6], [], {"blocksize": 2})],
    "MatMul": [(X, [floats(4, 2)], {}), (IMAGE, [floats(1, 7, 3)], {}), (X, [floats(4)], {}),
               (X.astype(np.float64), [floats(4, 2).astype(np.float64)], {})],
    "Einsum": [(X, [floats(4, 2)], {"equation": "ij,jk->ik"})],
    "Gemm": [(X, [floats(2, 4), floats(2)], {"transB": 1, "alpha": 0.5, "beta": 2.0}), (X, [floats(4, 2)], {})],
    "Conv": [(IMAGE, [floats(3, 4, 3, 3), floats(3)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
             (IMAGE, [floats(8, 1, 3, 3), floats(8)], {"group": 4, "dilations": [2, 2]}),
             (IMAGE, [floats(4, 1, 3, 3)], {"group": 4, "strides": [2, 1]}),
             (IMAGE, [floats(6, 2, 3, 3)], {"group": 2, "dilations": [1, 2], "pads": [1, 1, 1, 1]}),
             (IMAGE, [floats(3, 4, 2, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
             (SERIES, [floats(3, 4, 3), floats(3)], {"pads": [1, 2], "strides": [2]}),
             (SERIES, [floats(4, 1, 3)], {"group": 4, "strides": [2], "pads": [1, 0]}),
             (IMAGE, [floats(64, 4, 3, 3), floats(64)], {}),  # large enough to be a variable
             (VOLUME, [floats(3, 2, 2, 2, 2)], {"pads": [1, 0, 0, 1, 1, 0]})],
    "ConvTranspose": [(IMAGE, [floats(4, 3, 3, 3), floats(3)], {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
                      (IMAGE, [floats(4, 2, 2, 3)], {"strides": [3, 1], "group": 2}),
                      (IMAGE, [floats(4, 2, 3, 3)], {"strides": [2, 2], "output_padding": [1, 1],
                                                     "pads": [1, 1, 1, 1]}),
                      (SERIES, [floats(4, 3, 3)], {"strides": [2]}), (VOLUME, [floats(2, 1, 2, 2, 2)], {})],
    "MaxPool": [(IMAGE, [], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 0, 0]}),
                (IMAGE, [], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 0, 1, 0]}),
                (SERIES, [], {"kernel_shape": [3], "strides": [2], "auto_pad": "SAME_UPPER"}),
                (VOLUME, [], {"kernel_shape": [2, 2, 2]})],
    "AveragePool": [(IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
                    (IMAGE, [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}),
                    (IMAGE, [], {"kernel_shape": [2, 2], "pads": [0, 1, 1, 1], "strides": [2, 2]}),
                    (IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
                    (IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
                    (SERIES, [], {"kernel_shape": [2], "strides": [2]})],
    "GlobalAveragePool": [(IMAGE, [], {})], "GlobalMaxPool": [(IMAGE, [], {})],
    "BatchNormalization": [(IMAGE, [floats(4), floats(4), floats(4), abs(floats(4))], {"epsilon": 1e-3})],
    "InstanceNormalization": [(IMAGE, [floats(4), floats(4)], {})],
    "LayerNormalization": [(X, [floats(4), floats(4)], {}), (IMAGE, [floats(6, 7)], {"axis": -2})],
    "GroupNormalization": [(IMAGE, [floats(4), floats(4)], {"num_groups": 2})],
    "RMSNormalization": [(X, [floats(4)], {})],
    "LSTM": [(floats(5, 2, 4), gates(4), {"hidden_size": 3}),
             (floats(5, 2, 4), gates(4, 2), {"hidden_size": 3, "direction": "bidirectional"}),
             (floats(5, 2, 4), [*gates(4), NONE, floats(1, 2, 3), floats(1, 2, 3)],
              {"hidden_size": 3, "direction": "reverse"})],
    "GRU": [(floats(5, 2, 4), gates(3), {"hidden_size": 3}),
            (floats(5, 2, 4), gates(3, 2), {"hidden_size": 3, "linear_before_reset": 1, "direction": "bidirectional"})],
    "RNN": [(floats(5, 2, 4), gates(1)[:2], {"hidden_size": 3})],
    "Resize": [(IMAGE, [NONE, np.array([1, 1, 2, 3], np.float32)], {"coordinate_transformation_mode": rule,
                                                                   "mode": mode, "nearest_mode": near})
               for rule, mode, near in (("half_pixel", "nearest", "round_prefer_floor"),
                                        ("asymmetric", "nearest", "floor"), ("half_pixel", "linear", "floor"),
                                        ("align_corners", "linear", "floor"),
                                        ("pytorch_half_pixel", "linear", "floor"),
                                        ("align_corners", "nearest", "round_prefer_ceil"))],
    "QuantizeLinear": [(X, [np.float32(0.05), np.uint8(100)], {}),
                       (X, [abs(floats(4)) / 20, np.zeros(4, np.int8)], {"axis": 1})],
    "DequantizeLinear": [(np.uint8([[1, 200]]), [np.float32(0.05), np.uint8(100)], {}),
                         (np.int8([[1, -100]]), [np.float32([0.05, 2])], {"axis": 1})],
    "DynamicQuantizeLinear": [(X, [], {})],
    "MatMulInteger": [(np.uint8([[1, 200]]), [np.int8([[1, -2], [3, 4]]), np.uint8(7), np.int8([1, 2])], {})],
    "ai.onnx.ml.Scaler": [(X, [], {"offset": [0.5, 1.0, 2.0, 0.0], "scale": [2.0, 1.0, 0.5, 1.0]})],
    "ai.onnx.ml.LinearRegressor": [(X, [], {"coefficients": floats(8).tolist(), "intercepts": [1.0, 2.0],
                                            "targets": 2})],
    "ai.onnx.ml.Normalizer": [(X, [], {"norm": "L2"}), (X, [], {"norm": "L1"})],
    "ai.onnx.ml.LabelEncoder": [
        (TEXTS, [], {"keys_strings": ["a", "b", "ü"], "values_int64s": [3, 1, 2], "default_int64": 9}),
        (INTS, [], {"keys_int64s": [1, 2, -5], "values_strings": ["x", "y", "z"], "default_string": "?"}),
        (np.array([[1, np.nan, 2.5]], np.float32), [], {"keys_floats": [1.0, 2.5], "values_int64s": [5, 6]}),
    ],
    "ai.onnx.ml.TreeEnsembleRegressor": [
        (X, [], trees()), (X.astype(np.float64), [], trees(double=True)), (HOLED, [], trees()),
        (X, [], trees(base_values=[0.5, -1.0])), (X, [], trees(aggregate_function="AVERAGE")),
    ],
    "ai.onnx.ml.TreeEnsembleClassifier": [(X, [], trees(True)), (HOLED, [], trees(True, post_transform="SOFTMAX"))],
}  # fmt: skip
# Uses that are refused, and a word of what is said.
REFUSED: dict[str, tuple[Any, list[Any], dict[str, Any], str]] = {
    "Hardmax": (X, [], {}, "operator Hardmax"),
    "MaxPool": (IMAGE, [], {"kernel_shape": [2, 2], "dilations": [2, 2]}, "dilations"),
    "Cast": (X, [], {"to": TensorProto.STRING}, "text"),
    "Squeeze": (X, [], {}, "Squeeze without axes"),
    "Resize": (IMAGE, [None, np.array([1, 1, 2, 2], np.float32)], {"mode": "cubic"}, "cubic"),
    "Conv": (IMAGE, [floats(3, 4, 3, 3)], {"auto_pad": "SAME_LOWER"}, "SAME_LOWER"),
}
SEVERAL = {
    "Split": 2,
    "TopK": 2,
    "LSTM": 3,
    "GRU": 2,
    "RNN": 2,
    "DynamicQuantizeLinear": 3,
    "TreeEnsembleClassifier": 2,
}
SHAPED = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Gather", ["shape", "zero"], ["rows"]),
    helper.make_node("Unsqueeze", ["rows", "first"], ["rows1"]),
    helper.make_node("Concat", ["rows1", "rest"], ["wanted"], axis=0),
    helper.make_node("Reshape", ["x", "wanted"], ["y"]),
    helper.make_node("Slice", ["shape", "first", "one"], ["head"]),
    helper.make_node("Mul", ["head", "one"], ["same"]),
    helper.make_node("Squeeze", ["same", "first"], ["count"]),
    helper.make_node("Range", ["zero", "count", "step"], ["numbers"]),
    helper.make_node("ConstantOfShape", ["wanted"], ["zeros"]),
    helper.make_node("Expand", ["zeros", "wanted"], ["wide"]),
    helper.make_node("Add", ["y", "wide"], ["z"]),
]
SIZES = {"zero": np.array(0), "first": np.array([0]), "rest": np.array([2, 2]), "one": np.array([1]),
         "step": np.array(1)}  # fmt: skip

RESIZED = [
    helper.make_node("Shape", ["x"], ["shape"]),
    helper.make_node("Slice", ["shape", "first", "two"], ["kept"]),
    helper.make_node("Concat", ["kept", "picture"], ["wanted"], axis=0),
    helper.make_node("Resize", ["x", "", "", "wanted"], ["y"], mode="linear"),
]


def graph(nodes: list[Any], constants: dict[str, Any], x: Any, outputs: list[str], opset: int) -> Any:
    kind = TensorProto.STRING if x.dtype.kind == "O" else helper.np_dtype_to_tensor_dtype(x.dtype)
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, ["N", *x.shape[1:]])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


class Try(NamedTuple):
    """A graph, what it takes, and other numbers of rows of it; its outputs' names."""

    model: Any
    rows: tuple[Any, ...]
    outputs: list[str]


def prepared(folder: Path, name: str, tries: Try) -> tuple[Program, list[Any]]:
    """The program, and onnxruntime's answers."""
    session = onnxruntime.InferenceSession(tries.model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = [session.run(tries.outputs, {"x": rows}) for rows in tries.rows]
    path, x = folder / f"{name}.onnx", tries.rows[0]
    path.write_bytes(tries.model.SerializeToString())
    specs = tuple(TensorSpec(n, dtype_of(w), tuple(f"d{i}_{n}" for i in range(np.ndim(w))))
                  for n, w in zip(tries.outputs, map(np.asarray, wanted[0]), strict=True))  # fmt: skip
    signature = Signature((TensorSpec("x", dtype_of(x), ("N", *x.shape[1:])),), specs, tuple(tries.outputs))
    return Program(path, signature, None, (name,)), wanted


def compared(tries: Try, wanted: list[Any], call: Any) -> None:
    """Raises AssertionError where TensorFlow and onnxruntime differ."""
    for rows, answers in zip(tries.rows, wanted, strict=True):
        for right, found in zip(map(np.asarray, answers), call({"x": rows}).values(), strict=True):
            assert (found.shape, found.dtype) == (right.shape, right.dtype)
            if right.dtype.kind == "f":
                np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)
            else:
                np.testing.assert_array_equal(found, right)


def faults(folder: Path, tries: dict[str, Try]) -> dict[str, str]:
    """What is wrong with each. All are signatures of one SavedModel; where that fails, each is of its own."""
    folder.mkdir(exist_ok=True)
    told: dict[str, str] = {}
    programs: dict[str, tuple[Program, list[Any]]] = {}
    for name, one in tries.items():
        try:
            programs[name] = prepared(folder, name, one)
        except Exception as fault:
            told[name] = f"onnxruntime: {fault}"
    try:
        calls = dict(zip(programs, save([p for p, _ in programs.values()], folder / f"all-{len(tries)}"), strict=True))
    except Exception as fault:
        if len(tries) == 1:
            return {name: f"{type(fault).__name__}: {fault}" for name in tries}
        return {name: said for name, one in tries.items() for said in faults(folder / name, {name: one}).values()}
    for name, call in calls.items():
        try:
            compared(tries[name], programs[name][1], call)
            told[name] = ""
        except Exception as fault:
            told[name] = f"{type(fault).__name__}: {fault}"[:600]
    return told


def node(name: str, case: Case) -> tuple[Any, dict[str, Any], Any, list[str]]:
    x, constants, attributes = case
    domain, _, kind = name.rpartition(".")
    outputs = ["y", "z", "w"][: SEVERAL.get(kind, 1)]
    names = {f"c{i}": value for i, value in enumerate(constants) if value is not None}
    given = [f"c{i}" if value is not None else "" for i, value in enumerate(constants)]
    return helper.make_node(kind, ["x", *given], outputs, domain=domain, **attributes), names, x, outputs


def attempt(name: str, case: Case, opset: int = 21) -> Try:
    made, names, x, outputs = node(name, case)
    return Try(graph([made], names, x, outputs, opset), (x,), outputs)


def refusal(folder: Path, name: str) -> str:
    x, constants, attributes, word = REFUSED[name]
    made, names, x, outputs = node(name, (x, constants, attributes))
    signature = Signature((TensorSpec("x", dtype_of(x), ("N", *("d" + str(i) for i in x.shape[1:]))),),
                          (TensorSpec("y", dtype_of(x), ("N",)),), ("y",))  # fmt: skip
    folder.mkdir()
    (folder / "m.onnx").write_bytes(graph([made], names, x, outputs, 21).SerializeToString())
    try:
        save([Program(folder / "m.onnx", signature, None, ("serving_default",))], folder / "saved")
    except SetsailError as fault:
        return "" if fault.code == "convert.unsupported" and word in fault.what else f"{fault.code}: {fault.what}"
    return "it is not refused"


def everything(folder: Path, chosen: list[str]) -> dict[str, Any]:
    tries = {
        f"{name.rpartition('.')[2]}-{i}": attempt(name, case, 23 if name == "RMSNormalization" else 21)
        for name, cases in CASES.items() for i, case in enumerate(cases) if not chosen or name in chosen
    }  # fmt: skip
    groups = (IMAGE, [floats(2), floats(2)], {"num_groups": 2})
    tries["GroupNormalization-18"] = attempt("GroupNormalization", groups, 18)
    shaped = graph(SHAPED, SIZES, X, ["z", "numbers"], 21)
    tries["shaped"] = Try(shaped, (X, floats(1, 4), floats(7, 4)), ["z", "numbers"])
    resized = graph(
        RESIZED, {"two": np.array([2]), "first": np.array([0]), "picture": np.array([4, 10])}, IMAGE, ["y"], 21
    )
    tries["resized"] = Try(resized, (IMAGE, floats(1, 4, 6, 7)), ["y"])
    refused = {f"refused-{name}": refusal(folder / f"refused-{name}", name) for name in REFUSED}
    return {"told": faults(folder, tries) | refused, "untried": sorted(set(OPERATORS) ^ set(CASES))}


if __name__ == "__main__":
    print(json.dumps(everything(Path(sys.argv[1]), sys.argv[2:])))
