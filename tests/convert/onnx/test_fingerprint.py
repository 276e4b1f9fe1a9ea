"""One graph under other names and in another order is the same program; anything else is another."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from setsail.convert.onnx.fingerprint import fingerprint


def files(lead: str = "", *, swapped: bool = False, weight: float = 2.0, op: str = "Add", axis: int = 1,
          external: bool = False) -> dict[str, bytes]:  # fmt: skip
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in "xy")
    nodes = [
        helper.make_node("Mul", ["x", lead + "w"], [lead + "a"], name=lead + "n"),
        helper.make_node("Softmax", ["x"], [lead + "b"], axis=axis),
    ]
    nodes = [*(nodes[::-1] if swapped else nodes), helper.make_node(op, [lead + "a", lead + "b"], ["y"])]
    tensor = numpy_helper.from_array(np.array([weight], np.float32), lead + "w")
    found = {}
    if external:
        found["weights"] = b"...." + tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights"), ("offset", "4"), ("length", "4")):
            tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph(nodes, "g", [x], [y], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return {"model.onnx": model.SerializeToString(), **found}


def test_names_and_order_do_not_matter() -> None:
    assert fingerprint(files()) == fingerprint(files("other_")) == fingerprint(files(swapped=True))
    assert fingerprint(files(external=True)) == fingerprint(files("other_", external=True))


@pytest.mark.parametrize("change", [{"weight": 3.0}, {"op": "Sub"}, {"axis": 0}])
def test_what_is_computed_does(change: dict[str, object]) -> None:
    assert fingerprint(files()) != fingerprint(files(**change))  # type: ignore[arg-type]


def test_a_subgraph_sees_what_is_around_it() -> None:
    def branching(weight: float) -> dict[str, bytes]:
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        inner = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "b", [], [y])
        given = helper.make_tensor_value_info("x", TensorProto.BOOL, [])
        tensor = numpy_helper.from_array(np.array([weight], np.float32), "w")
        nodes = [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)]
        model = helper.make_model(helper.make_graph(nodes, "g", [given], [y], [tensor]))
        return {"model.onnx": model.SerializeToString()}

    assert fingerprint(branching(1.0)) == fingerprint(branching(1.0)) != fingerprint(branching(2.0))


def test_external_weights_count_by_their_content() -> None:
    assert fingerprint(files(external=True)) != fingerprint(files(weight=3.0, external=True))
