"""ONNX files of every sort, written here node by node."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from setsail.convert.conversion import Intent
from setsail.convert.onnx_file import convert
from setsail.errors import SetsailError
from setsail.signature import TensorSpec

FLOAT = TensorProto.FLOAT
WEIGHTS = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
Saved = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Write a graph to a file: nodes, inputs as (name, type, shape), output names, weights."""

    def save(
        nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[str], weights: Any = None, opset: int = 18
    ) -> Path:
        tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()]
        values = [i if not isinstance(i, tuple) else helper.make_tensor_value_info(*i) for i in inputs]
        results = [onnx.ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs]
        for result in results:
            if not result.HasField("type"):
                result.type.tensor_type.elem_type = FLOAT
        graph = helper.make_graph(nodes, "g", values, results, tensors)
        ml = [helper.make_opsetid("ai.onnx.ml", 1)]
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *ml], ir_version=8)
        model.doc_string, model.producer_name = "written at /secret/place", "somebody"
        path = tmp_path / "model.onnx"
        onnx.save(model, str(path))
        return path

    return save


def linear(saved: Saved, shape: Any, opset: int = 18) -> Path:
    return saved([helper.make_node("MatMul", ["x", "W"], ["y"])], [("x", FLOAT, shape)], ["y"], {"W": WEIGHTS}, opset)


def out(name: str, kind: int) -> Any:
    return helper.make_tensor_value_info(name, kind, None)


@pytest.mark.parametrize("opset", range(7, 23))
def test_every_opset_from_7_converts(saved: Saved, agrees: Any, opset: int) -> None:
    conversion = convert(linear(saved, ["batch", 3], opset), Intent())
    assert str(conversion.signature) == "(x:float32[N,3]) -> (y:float32[N,2])"
    assert conversion.hyperparameters == {"opset": opset}
    agrees(conversion)


def test_an_older_opset_is_refused(saved: Saved) -> None:
    with pytest.raises(SetsailError) as caught:
        convert(linear(saved, ["batch", 3], 6), Intent())
    assert caught.value.code == "convert.unsupported"
    assert "opset 6" in caught.value.what


def test_the_program_keeps_no_trace_of_where_it_was_made_and_is_the_same_twice(saved: Saved) -> None:
    path = linear(saved, ["batch", 3])
    files = convert(path, Intent()).programs[0].files
    assert b"secret" not in files["model.onnx"]
    assert b"somebody" not in files["model.onnx"]
    assert files == convert(path, Intent()).programs[0].files


def test_a_fixed_batch_of_1_is_split_by_the_server(saved: Saved, agrees: Any) -> None:
    conversion = convert(linear(saved, [1, 3]), Intent(example=np.ones((5, 3))))
    assert str(conversion.signature.inputs[0]) == "x:float32[N,3]"
    assert conversion.programs[0].variant.max_batch == 1
    assert [p.what for p in conversion.probes] == ["example", "synthetic"]
    agrees(conversion)


def test_any_other_fixed_batch_is_kept_and_the_model_is_not_batched(saved: Saved, agrees: Any) -> None:
    conversion = convert(linear(saved, [4, 3]), Intent())
    assert str(conversion.signature) == "(x:float32[4,3]) -> (y:float32[4,2])"
    assert not conversion.signature.batched
    agrees(conversion)


def test_an_output_without_a_batch_makes_the_model_unbatched(saved: Saved, agrees: Any) -> None:
    total = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    conversion = convert(saved([total], [("x", FLOAT, [1, 3])], ["y"]), Intent())
    assert str(conversion.signature) == "(x:float32[1,3]) -> (y:float32[])"
    assert conversion.programs[0].variant.max_batch is None
    agrees(conversion)


def test_text(saved: Saved, agrees: Any) -> None:
    path = saved([helper.make_node("Identity", ["x"], ["y"])], [("x", TensorProto.STRING, [None, 2])],
                 [out("y", TensorProto.STRING)])  # fmt: skip
    conversion = convert(path, Intent())
    assert str(conversion.signature) == "(x:string[N,2]) -> (y:string[N,2])"
    assert all(isinstance(t, str) for t in conversion.probes[0].outputs["y"].ravel())


def test_bool_and_float16_with_a_shared_free_dimension(saved: Saved, agrees: Any) -> None:
    half = TensorProto.FLOAT16
    path = saved([helper.make_node("Where", ["c", "a", "b"], ["y"])],
                 [("c", TensorProto.BOOL, ["n", "t"]), ("a", half, ["n", "t"]), ("b", half, ["n", "t"])],
                 [out("y", half)])  # fmt: skip
    conversion = convert(path, Intent())
    assert str(conversion.signature) == "(c:bool[N,t], a:float16[N,t], b:float16[N,t]) -> (y:float16[N,t])"
    assert {p.inputs["c"].shape[1] for p in conversion.probes} == {8, 9}
    agrees(conversion)


def test_integers_are_drawn_as_0_and_1_without_an_example_and_in_its_range_with_one(saved: Saved, agrees: Any) -> None:
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    path = saved([helper.make_node("Gather", ["E", "ids"], ["y"])], [("ids", TensorProto.INT64, ["N", 3])], ["y"],
                 {"E": table})  # fmt: skip
    blind = convert(path, Intent())
    assert {int(v) for v in blind.probes[0].inputs["ids"].ravel()} == {0, 1}
    told = convert(path, Intent(example=np.array([[0, 1, 3]])))
    assert {int(v) for v in told.probes[1].inputs["ids"].ravel()} == {0, 1, 2, 3}
    agrees(told)


def test_first_dimensions_of_two_names_are_one_batch_if_the_model_needs_them_equal(saved: Saved, agrees: Any) -> None:
    add = saved([helper.make_node("Concat", ["a", "b"], ["y"], axis=1)],
                [("a", FLOAT, ["rows", 2]), ("b", FLOAT, ["unk__7", 3])], ["y"])  # fmt: skip
    conversion = convert(add, Intent())
    assert str(conversion.signature) == "(a:float32[N,2], b:float32[N,3]) -> (y:float32[N,5])"
    agrees(conversion)


def test_two_free_first_dimensions_are_no_batch(saved: Saved, agrees: Any) -> None:
    gram = [helper.make_node("Transpose", ["b"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["a", "t"], ["y"])]
    conversion = convert(saved(gram, [("a", FLOAT, ["q", 2]), ("b", FLOAT, ["k", 2])], ["y"]), Intent())
    assert str(conversion.signature) == "(a:float32[q,2], b:float32[k,2]) -> (y:float32[q,k])"
    assert not conversion.signature.batched
    agrees(conversion)


def test_rows_that_influence_each_other_are_refused_until_the_first_axis_is_fixed(saved: Saved, agrees: Any) -> None:
    path = saved([helper.make_node("CumSum", ["x", "axis"], ["y"])], [("x", FLOAT, ["N", 3])], ["y"],
                 {"axis": np.array(0)})  # fmt: skip
    with pytest.raises(SetsailError) as caught:
        convert(path, Intent())
    assert caught.value.code == "convert.input"
    assert '--input "x:float32[16,3]"' in caught.value.todo
    conversion = convert(path, Intent(inputs=(TensorSpec.parse("x:float32[16,3]"),)))
    assert str(conversion.signature) == "(x:float32[16,3]) -> (y:float32[16,3])"
    agrees(conversion)


def test_an_input_without_a_rank_needs_one(saved: Saved, agrees: Any) -> None:
    path = saved([helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, None)], ["y"])
    with pytest.raises(SetsailError) as caught:
        convert(path, Intent())
    assert caught.value.code == "convert.example"
    conversion = convert(path, Intent(inputs=(TensorSpec.parse("x:float32[*,2,2]"),)))
    assert str(conversion.signature) == "(x:float32[N,2,2]) -> (y:float32[N,2,2])"
    agrees(conversion)


@pytest.mark.parametrize("text", ["x:float32[*,4]", "x:float64[*,3]", "z:float32[*,3]", "x:float32[*]"])
def test_an_input_text_must_fit_the_graph(saved: Saved, text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        convert(linear(saved, ["N", 3]), Intent(inputs=(TensorSpec.parse(text),)))
    assert caught.value.code == "convert.input"


@pytest.mark.parametrize("example", [np.ones((2, 4)), np.array([["a", "b", "c"]]), {"z": np.ones((2, 3))},
                                     (np.ones((1, 3)), np.ones((1, 3)))])  # fmt: skip
def test_an_example_must_fit_the_graph(saved: Saved, example: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        convert(linear(saved, ["N", 3]), Intent(example=example))
    assert caught.value.code == "convert.input"


def test_a_mapping_of_columns_is_the_one_table(saved: Saved) -> None:
    conversion = convert(linear(saved, ["N", 3]), Intent(example={"a": [1, 2], "b": [3, 4], "c": [5.5, 6]}))
    assert conversion.probes[0].inputs["x"].tolist() == [[1, 3, 5.5], [2, 4, 6]]
    assert conversion.signature.inputs[0].columns == ("a", "b", "c")


def test_an_input_with_a_default_is_not_asked_for(saved: Saved, agrees: Any) -> None:
    path = saved([helper.make_node("MatMul", ["x", "W"], ["y"])], [("x", FLOAT, ["N", 3]), ("W", FLOAT, [3, 2])],
                 ["y"], {"W": WEIGHTS})  # fmt: skip
    conversion = convert(path, Intent())
    assert [s.name for s in conversion.signature.inputs] == ["x"]
    agrees(conversion)


def test_a_sequence_input_is_refused(saved: Saved) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", FLOAT, [None, 3])
    at = helper.make_node("SequenceAt", ["x", "i"], ["y"])
    with pytest.raises(SetsailError) as caught:
        convert(saved([at], [sequence], ["y"], {"i": np.array(0)}), Intent())
    assert caught.value.code == "convert.unsupported"
    assert "sequence" in caught.value.what


def test_a_sequence_output_is_refused(saved: Saved) -> None:
    path = saved([helper.make_node("SequenceConstruct", ["x"], ["y"])], [("x", FLOAT, ["N", 3])],
                 [helper.make_tensor_sequence_value_info("y", FLOAT, None)])  # fmt: skip
    with pytest.raises(SetsailError) as caught:
        convert(path, Intent())
    assert caught.value.code == "convert.unsupported"


def test_an_operator_the_runtime_has_not_is_named(saved: Saved) -> None:
    path = saved([helper.make_node("Frobnicate", ["x"], ["y"])], [("x", FLOAT, ["N", 3])], ["y"])
    with pytest.raises(SetsailError) as caught:
        convert(path, Intent())
    assert caught.value.code == "convert.unsupported"
    assert "Frobnicate" in str(caught.value)


def test_a_model_that_draws_lots_is_refused(saved: Saved) -> None:
    path = saved([helper.make_node("RandomUniformLike", ["x"], ["y"])], [("x", FLOAT, ["N", 3])], ["y"])
    with pytest.raises(SetsailError) as caught:
        convert(path, Intent())
    assert caught.value.code == "convert.unsupported"
    assert "two runs" in caught.value.what


def test_a_model_that_fails_on_drawn_rows_asks_for_an_example(saved: Saved) -> None:
    path = saved([helper.make_node("Gather", ["E", "ids"], ["y"])], [("ids", TensorProto.INT64, ["N"])], ["y"],
                 {"E": np.ones((1, 2), dtype=np.float32)})  # fmt: skip
    with pytest.raises(SetsailError) as caught:
        convert(path, Intent())
    assert caught.value.code == "convert.run"
    assert "--example" in caught.value.todo


def test_a_language_model_is_sent_elsewhere(saved: Saved) -> None:
    path = saved([helper.make_node("Add", ["x", "past_key_values.0.key"], ["y"])],
                 [("x", FLOAT, ["N", 3]), ("past_key_values.0.key", FLOAT, ["N", 3])], ["y"])  # fmt: skip
    with pytest.raises(SetsailError) as caught:
        convert(path, Intent())
    assert caught.value.code == "source.llm"


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08"])
def test_a_damaged_file_is_said_to_be_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(SetsailError) as caught:
        convert(tmp_path / "model.onnx", Intent())
    assert caught.value.code == "source.damaged"


# -- external weights --------------------------------------------------------------------------------------------------


@pytest.fixture
def external(saved: Saved) -> Path:
    """A model with 1.4 MB of weights in `weights.data` beside it."""
    wide = np.random.default_rng(1).normal(size=(600, 600)).astype(np.float32)
    path = saved([helper.make_node("MatMul", ["x", "W"], ["y"])], [("x", FLOAT, ["N", 600])], ["y"], {"W": wide})
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="weights.data")
    return path


def test_external_weights_are_gathered_into_one_file(external: Path, agrees: Any) -> None:
    conversion = convert(external, Intent())
    assert len(conversion.programs[0].files["weights.bin"]) == 600 * 600 * 4
    assert len(conversion.programs[0].files["model.onnx"]) < 300
    agrees(conversion)


def test_external_weights_are_never_read_through_a_link_or_from_elsewhere(external: Path) -> None:
    weights = external.with_name("weights.data")
    kept = external.with_name("kept")
    weights.rename(kept)
    for place in (weights.symlink_to, weights.hardlink_to):
        place(kept)
        with pytest.raises(SetsailError) as caught:
            convert(external, Intent())
        assert caught.value.code == "program.external"
        weights.unlink()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("location", "../weights.data"),
        ("location", os.path.abspath(os.devnull)),
        ("location", ""),
        ("offset", "-8"),
        ("length", "99999999"),
    ],
)
def test_external_weights_must_lie_inside_a_file_beside_the_model(external: Path, key: str, value: str) -> None:
    model = onnx.load(str(external), load_external_data=False)
    entries = {e.key: e.value for e in model.graph.initializer[0].external_data} | {key: value}
    del model.graph.initializer[0].external_data[:]
    for name, text in entries.items():
        model.graph.initializer[0].external_data.add(key=name, value=text)
    external.write_bytes(model.SerializeToString())
    with pytest.raises(SetsailError) as caught:
        convert(external, Intent())
    assert caught.value.code == "program.external"


# -- ZipMap ----------------------------------------------------------------------------------------------------------


def test_zipmap_becomes_a_tensor_with_labels(tmp_path: Path, agrees: Any) -> None:
    datasets, linear_model = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.linear_model")
    skl2onnx = pytest.importorskip("skl2onnx")
    X, y = datasets.load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = linear_model.LogisticRegression(max_iter=500).fit(X, names)
    path = tmp_path / "iris.onnx"
    path.write_bytes(skl2onnx.to_onnx(model, X[:1].astype(np.float32), options={"zipmap": True}).SerializeToString())
    conversion = convert(path, Intent(example=X))
    label, probabilities = conversion.signature.outputs
    assert (str(label), str(probabilities)) == ("output_label:string[N]", "output_probability:float32[N,3]")
    assert probabilities.labels == ("setosa", "versicolor", "virginica")
    assert conversion.notes == ("ZipMap removed from 'output_probability'",)
    np.testing.assert_allclose(conversion.probes[0].outputs["output_probability"], model.predict_proba(X), atol=1e-5)
    agrees(conversion)


def test_given_labels_go_to_the_output_they_fit(saved: Saved) -> None:
    assert convert(linear(saved, ["N", 3]), Intent(labels=("no", "yes"))).signature.outputs[0].labels == ("no", "yes")
    with pytest.raises(SetsailError) as caught:
        convert(linear(saved, ["N", 3]), Intent(labels=("a", "b", "c")))
    assert caught.value.code == "convert.input"
