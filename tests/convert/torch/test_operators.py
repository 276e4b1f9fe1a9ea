"""ONNX operators rebuilt in PyTorch, beside onnxruntime: one node at a time, then graphs whose sizes are free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from setsail.convert.torch.operators import OPERATORS  # noqa: E402
from setsail.convert.torch.rebuilt import Rebuilt, save  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402
from setsail.signature import Signature, TensorSpec  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")]
DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(3, 4)).astype(np.float32)
IMAGE = DRAWN.normal(size=(2, 4, 6, 6)).astype(np.float32)
INTS = DRAWN.integers(-5, 6, (3, 4))
ONE, AXIS, LAST = np.array([1]), np.array(1), np.array([-1])
HUGE = np.array([2**63 - 1])


def floats(*shape: int) -> np.ndarray:
    return DRAWN.normal(size=shape).astype(np.float32)


# operator -> (its input, constants, attributes), each a node that is run by both
CASES: dict[str, list[tuple[Any, list[Any], dict[str, Any]]]] = {
    **{name: [(X, [floats(4)], {}), (INTS, [np.array([1, 2, 3, 4])], {})] for name in ("Add", "Sub", "Mul", "Div")},
    **{name: [(X, [floats(3, 4)], {})] for name in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Min", "Max",
                                                    "Sum", "PRelu")},
    **{name: [(X, [], {})] for name in (
        "Neg", "Abs", "Exp", "Sin", "Cos", "Tanh", "Sigmoid", "Relu", "Erf", "Floor", "Ceil", "Round", "Sign",
        "Reciprocal", "IsNaN", "Softplus", "Softsign", "Mish", "HardSwish", "Identity", "Dropout", "LeakyRelu", "Elu",
        "Gelu", "HardSigmoid", "Shape", "Flatten", "Transpose", "Softmax", "LogSoftmax", "ArgMax", "ArgMin", "IsInf")},
    **{name: [(X, [], {}), (X, [ONE], {"keepdims": 0}), (IMAGE, [np.array([-1, -2])], {})] for name in (
        "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
        "ReduceLogSumExp")},
    "Sqrt": [(abs(X), [], {})], "Log": [(abs(X) + 1, [], {})], "Equal": [(INTS, [np.array(2)], {})],
    "Pow": [(X, [np.float32(2)], {}), (INTS, [np.array(3)], {})],
    "Mod": [(INTS, [np.array(3)], {}), (X, [np.float32(0.7)], {"fmod": 1})],
    "Not": [(X > 0, [], {})], "And": [(X > 0, [X < 1], {})], "Or": [(X > 0, [X < -1], {})],
    "Xor": [(X > 0, [X < 1], {})],
    "Clip": [(X, [np.float32(-0.5), np.float32(0.5)], {}), (X, [np.float32(0)], {})],
    "Where": [(X > 0, [X, floats(4)], {})],
    "Cast": [(X, [], {"to": TensorProto.INT64}), (INTS, [], {"to": TensorProto.DOUBLE})],
    "CastLike": [(X, [np.float64(1)], {})],
    "Reshape": [(X, [np.array([2, -1])], {}), (X, [np.array([0, 2, 2])], {})],
    "Squeeze": [(X[:, None], [ONE], {})], "Unsqueeze": [(X, [np.array([0, -1])], {})],
    "Concat": [(X, [floats(3, 2)], {"axis": 1})],
    "Split": [(X, [np.array([1, 3])], {"axis": 1}), (X, [], {"axis": 1, "num_outputs": 2})],
    "Slice": [(X, [ONE, HUGE, ONE], {}), (X, [np.array([-3]), LAST, ONE, np.array([2])], {})],
    "Gather": [(X, [np.array([2, -1])], {}), (X, [AXIS], {"axis": 1}), (X, [np.array([[0, 1]])], {"axis": -1})],
    "GatherElements": [(X, [np.array([[0, 1], [2, 3], [1, 0]])], {"axis": 1})],
    "Expand": [(X[:, None], [np.array([2, 1, 5, 1])], {}), (X, [np.array([1])], {})],
    "ConstantOfShape": [], "Range": [], "Tile": [(X, [np.array([2, 1])], {})],
    "Pad": [(X, [np.array([1, 0, 0, 2])], {}), (X, [np.array([2, 1]), np.float32(7), LAST], {}),
            (IMAGE, [np.array([0, 0, 1, 2, 0, 0, 2, 1])], {"mode": "reflect"})],
    "TopK": [(X, [np.array([2])], {}), (X, [np.array([2])], {"largest": 0, "axis": 0})],
    "CumSum": [(X, [AXIS], {})],
    "MatMul": [(X, [floats(4, 2)], {})], "Einsum": [(X, [floats(4, 2)], {"equation": "ij,jk->ik"})],
    "Gemm": [(X, [floats(2, 4), floats(2)], {"transB": 1, "alpha": 0.5, "beta": 2.0}), (X, [floats(4, 2)], {})],
    "Conv": [(IMAGE, [floats(3, 4, 3, 3), floats(3)], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
             (IMAGE, [floats(4, 1, 3, 3)], {"group": 4, "dilations": [2, 2]})],
    "MaxPool": [(IMAGE, [], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 0, 0]})],
    "AveragePool": [(IMAGE, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
                    (IMAGE, [], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1})],
    "BatchNormalization": [(IMAGE, [floats(4), floats(4), floats(4), abs(floats(4))], {"epsilon": 1e-3})],
    "LayerNormalization": [(X, [floats(4), floats(4)], {}), (IMAGE, [floats(6)], {"axis": -1})],
    "GroupNormalization": [(IMAGE, [floats(4), floats(4)], {"num_groups": 2})],
    "GlobalAveragePool": [(IMAGE, [], {})], "GlobalMaxPool": [(IMAGE, [], {})],
    "ai.onnx.ml.Scaler": [(X, [], {"offset": [0.5, 1.0, 2.0, 0.0], "scale": [2.0, 1.0, 0.5, 1.0]})],
}  # fmt: skip


def made(nodes: list[Any], constants: dict[str, Any], x: np.ndarray, outputs: list[str]) -> Any:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), ["N", *x.shape[1:]])],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def signature(x: np.ndarray, outputs: list[str]) -> Signature:
    dims = ",".join(str(size) for size in x.shape[1:])
    return Signature((TensorSpec.parse(f"x:{x.dtype.name}[N{',' + dims if dims else ''}]"),),
                     tuple(TensorSpec.parse(f"{name}:float32[N]") for name in outputs), tuple(outputs))  # fmt: skip


def both(model: Any, x: np.ndarray, outputs: list[str]) -> tuple[list[Any], list[Any]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(outputs, {"x": x})
    with torch.no_grad():
        found = Rebuilt(model, signature(x, outputs)).eval()(torch.from_numpy(x))
    return wanted, [one.numpy() for one in found]


def same(wanted: list[Any], found: list[Any]) -> None:
    for a, b in zip(wanted, found, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "case"), [pytest.param(n, c, id=f"{n}-{i}") for n, cs in CASES.items() for i, c in enumerate(cs)]
)
def test_an_operator_does_as_onnxruntime(name: str, case: tuple[Any, list[Any], dict[str, Any]]) -> None:
    x, constants, attributes = case
    domain, _, kind = name.rpartition(".")
    outputs = ["y", "z"] if kind in ("Split", "TopK") else ["y"]
    names = {f"c{i}": value for i, value in enumerate(constants)}
    node = helper.make_node(kind, ["x", *names], outputs, domain=domain, **attributes)
    same(*both(made([node], names, x, outputs), x, outputs))


def test_every_operator_is_tried() -> None:
    assert set(CASES) == set(OPERATORS)


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


@pytest.mark.parametrize("to", ["torchscript", pytest.param("pt2", marks=pytest.mark.slow)])
def test_free_sizes_stay_free_in_what_is_saved(tmp_path: Path, to: str) -> None:
    outputs = ["z"] if to == "torchscript" else ["z", "numbers"]
    model = made(SHAPED, SIZES, X, outputs)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    call = save(tmp_path / "m.onnx", signature(X, outputs), to, tmp_path / "saved", None)
    for rows in (1, 2, 7):
        x = floats(rows, 4)
        wanted, _ = both(model, x, outputs)
        same(wanted, list(call({"x": x}).values()))


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([helper.make_node("Selu", ["x"], ["y"])], "operator Selu"),
        ([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2], ceil_mode=1)], "ceil_mode"),
        ([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)], "text"),
        ([helper.make_node("Squeeze", ["x"], ["y"])], "Squeeze without axes"),
        ([helper.make_node("If", ["x"], ["y"], then_branch=helper.make_graph([], "a", [], []))], "If"),
    ],
)
def test_what_is_not_rebuilt_is_refused_by_name(nodes: list[Any], why: str) -> None:
    with pytest.raises(SetsailError) as caught:
        Rebuilt(made(nodes, {}, X, ["y"]), signature(X, ["y"]))(torch.from_numpy(X))
    assert caught.value.code == "convert.unsupported"
    assert why in caught.value.what


def test_text_and_old_graphs_are_refused(tmp_path: Path) -> None:
    model = made([helper.make_node("Identity", ["x"], ["y"])], {}, X, ["y"])
    model.opset_import[0].version = 12
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SetsailError, match="opset 12"):
        save(tmp_path / "m.onnx", signature(X, ["y"]), "pt2", tmp_path / "out", None)
    texts = Signature((TensorSpec.parse("x:string[N]"),), (TensorSpec.parse("y:float32[N]"),), ("y",))
    with pytest.raises(SetsailError, match="text"):
        save(tmp_path / "m.onnx", texts, "pt2", tmp_path / "out", None)
