"""What passes the gate, and that it sees what the onnx package sees. What does not pass is in attacks/programs.py."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from setsail.artifact.gate import GateLimits, inspect, inspect_path, weigh
from setsail.errors import SetsailError

_X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
_Y = (_X.sum(axis=1) > 0).astype(int)


def _trained() -> dict[str, onnx.ModelProto]:
    models = {
        "forest": RandomForestClassifier(5, random_state=0),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
        "network": MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the network is stopped long before it converges
        return {name: to_onnx(model.fit(_X, _Y), _X[:1]) for name, model in models.items()}


TRAINED = _trained()


def _branches() -> onnx.ModelProto:
    """An If with a tensor and a function call in one branch."""

    def branch(*nodes: onnx.NodeProto, tensors: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
        return helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("z", 1, None)], list(tensors))

    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    then = branch(helper.make_node("Twice", ["w"], ["z"], domain="own"), tensors=(weights,))
    other = branch(helper.make_node("Constant", [], ["z"], value=weights))
    body = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    graph = helper.make_graph([body], "g", [helper.make_tensor_value_info("c", 9, [1])],
                              [helper.make_tensor_value_info("y", 1, [None])])  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    twice = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opsets[:1])
    return helper.make_model(graph, functions=[twice], opset_imports=opsets)


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t] if attribute.type == onnx.AttributeProto.TENSOR else []
            found += _tensors(attribute.g) if attribute.type == onnx.AttributeProto.GRAPH else []
    return found


@pytest.mark.parametrize("name", [*TRAINED, "branches"])
def test_it_sees_what_the_onnx_package_sees(name: str) -> None:
    model = TRAINED.get(name) or _branches()
    facts = inspect({"m": model.SerializeToString()}, "m")
    assert facts.opsets == {entry.domain: entry.version for entry in model.opset_import}
    assert facts.tensor_bytes == sum(numpy_helper.to_array(t).nbytes for t in _tensors(model.graph) if t.data_type != 8)
    if name != "branches":
        assert facts.operators == Counter(f"{n.domain}.{n.op_type}".lstrip(".") for n in model.graph.node)
        assert facts.nodes == len(model.graph.node)
    else:
        assert facts.operators == Counter(["If", "own.Twice", "Constant", "Add"])
        assert facts.nodes == 3


def test_external_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    raw = onnx.ModelProto()
    raw.CopyFrom(TRAINED["network"])
    for tensor in raw.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    onnx.save(raw, path, save_as_external_data=True, location="m.data", size_threshold=0)
    facts = inspect_path(path)
    assert facts.external == ("m.data",)
    assert facts == inspect({p.name: p.read_bytes() for p in tmp_path.iterdir()}, "m.onnx")
    assert facts.tensor_bytes == inspect({"m": TRAINED["network"].SerializeToString()}, "m").tensor_bytes


def test_numbers_of_every_type_and_storage_pass() -> None:
    tensors = [numpy_helper.from_array(np.ones((2, 3), dtype), str(dtype)) for dtype in
               ("bool", "int8", "uint16", "int64", "uint64", "float16", "float64", "complex64")]  # fmt: skip
    tensors += [helper.make_tensor(f"t{kind}", kind, [4], [0, 1, 2, 3]) for kind in (1, 2, 6, 7, 9, 10, 11, 12, 13)]
    tensors += [helper.make_tensor("text", TensorProto.STRING, [2], [b"", b"a"])]
    tensors += [helper.make_tensor("nibbles", TensorProto.INT4, [3], [1, 2, 3])]
    model = _branches()
    model.graph.initializer.extend(tensors)
    assert inspect({"m": model.SerializeToString()}, "m").tensor_bytes > 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_program_is_refused_or_read_as_onnx_reads_it(data: st.DataObject) -> None:
    """The gate may refuse what the onnx package takes, never see less in what both take."""
    raw = bytearray(_branches().SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        facts = inspect({"m": bytes(raw)}, "m")
    except SetsailError:
        return
    model = onnx.ModelProto()
    try:
        model.ParseFromString(bytes(raw))
    except DecodeError:  # damage in a part that the gate steps over: the runtime refuses it as well
        return
    assert facts.opsets == {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
    assert not any(t.external_data or t.data_location for t in _tensors(model.graph))


@given(st.binary(max_size=100))
def test_noise_is_refused_not_crashed_on(noise: bytes) -> None:
    with pytest.raises(SetsailError) as caught:
        inspect({"m": noise}, "m")
    assert caught.value.code.startswith("program.")


def test_limits() -> None:
    files = {"m": TRAINED["forest"].SerializeToString()}
    for limits in (GateLimits(program=10), GateLimits(nodes=0), GateLimits(messages=3), GateLimits(depth=1)):
        with pytest.raises(SetsailError) as caught:
            inspect(files, "m", limits)
        assert caught.value.code == "program.size"


def test_operators_and_files_from_elsewhere() -> None:
    model = _branches()
    model.graph.node[0].domain = "elsewhere"
    with pytest.raises(SetsailError) as caught:
        inspect({"m": model.SerializeToString()}, "m")
    assert caught.value.code == "program.operator"
    with pytest.raises(SetsailError) as caught:
        inspect({"m": _branches().SerializeToString(), "more": b""}, "m")
    assert caught.value.code == "program.external"


def test_native_formats_are_weighed() -> None:
    assert weigh({"model.ubj": b"12345"}, "model.ubj") == 5
    with pytest.raises(SetsailError) as caught:
        weigh({"model.ubj": b"12345"}, "model.ubj", GateLimits(program=4))
    assert caught.value.code == "program.size"
    with pytest.raises(SetsailError) as caught:
        weigh({}, "model.ubj")
    assert caught.value.code == "program.parse"


def test_a_missing_model_and_one_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, code in (("absent", "source.missing"), (".", "program.parse"), ("empty", "program.parse")):
        with pytest.raises(SetsailError) as caught:
            inspect_path(tmp_path / name)
        assert caught.value.code == code
