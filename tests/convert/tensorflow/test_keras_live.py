"""Live Keras models of any backend: their own answers are what a program is held against.

The toy stands for Keras, and the child process is replaced by what it leaves; `tests/zoo/test_keras_zoo.py` has both as
they are.
"""

import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_keras
from onnx import TensorProto

import setsail
from setsail import isolation
from setsail.convert import registry
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack

TARGET = "setsail.convert.tensorflow.keras_saved:translate"


@pytest.fixture(autouse=True)
def live() -> Iterator[Any]:
    with toy_keras.installed() as module:
        yield module


@pytest.fixture(autouse=True)
def with_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has it: whether the machine does is no matter here."""
    real = importlib.util.find_spec
    there = ("tensorflow", "tf2onnx", "h5py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in there else real(name))


def options(folder: Path) -> PackOptions:
    return PackOptions(name="toy", output=folder / "toy.setsail")


def refused(model: Any, child: Any = None, **intent: Any) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        registry.convert(model, Intent(**intent), child or toy_keras.Child(toy_keras.program("Mul", 2.0)))
    return caught.value


def test_its_program_is_packed_with_the_answers_of_the_model_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = toy_keras.Child(toy_keras.program("Mul", 2.0))
    monkeypatch.setattr(isolation, "call", child)
    model = toy_keras.model(lambda x: x * np.float32(2.0))
    with pack(model, Intent(), options(tmp_path)) as made:
        assert str(made.signature) == "(x:float32[N,3]) -> (output:float32[N,3])"
        assert made.framework == "keras"
        assert made.notes == (
            "the answers are those of the live model on the jax backend; TensorFlow translated what it saved",
        )
    with setsail.load(tmp_path / "toy.setsail") as loaded:
        np.testing.assert_array_equal(loaded.predict(np.ones((2, 3), np.float32)), np.full((2, 3), 2, np.float32))
    assert model.modes == {False}, "it was asked as in training"


def test_a_program_that_answers_otherwise_than_the_live_model_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reload on TensorFlow answers is nobody's measure: here it would agree with the program."""
    monkeypatch.setattr(isolation, "call", toy_keras.Child(toy_keras.program("Mul", 2.01)))
    with pytest.raises(SetsailError) as caught:
        pack(toy_keras.model(lambda x: x * np.float32(2.0)), Intent(), options(tmp_path))
    assert caught.value.code == "parity.failed"
    assert not (tmp_path / "toy.setsail").exists()


def test_the_child_is_told_what_to_load_and_how_to_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    child = toy_keras.Child(toy_keras.program("Mul", 2.0))
    model = toy_keras.model(lambda x: x * np.float32(2.0))
    activation = {"module": "builtins", "class_name": "function", "config": "bent", "registered_name": "function"}
    model.config["config"] = {"layers": [
        {"module": "my_layers", "class_name": "Gate", "registered_name": "mine>Gate", "config": {"units": 3}},
        {"module": "keras.layers", "class_name": "Dense", "config": {"activation": activation}},
    ]}  # fmt: skip
    bent = types.FunctionType((lambda x: x).__code__, {"__name__": "my_functions"}, "bent")
    model.layers = [types.SimpleNamespace(activation=bent)]
    monkeypatch.setattr(sys, "path", ["", "beside"])
    registry.convert(model, Intent(), child)
    ((target, told),) = child.told
    assert target == TARGET
    assert told == {
        "file": "model.keras", "own": [["my_functions", "bent", "bent"], ["my_layers", "Gate", "mine>Gate"]],
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["N", 3]}], "arguments": ["x"], "shapes": {"x": [1, 3]},
        "batch": None, "search": [os.getcwd(), os.path.join(os.getcwd(), "beside")],
    }  # fmt: skip


def test_what_is_returned_by_name_keeps_its_names() -> None:
    child = toy_keras.Child(toy_keras.program("Mul", 2.0, output="price"), {"price": "float32"})
    made = registry.convert(toy_keras.model({"price": lambda x: x * np.float32(2.0)}), Intent(), child)
    assert [s.name for s in made.signature.outputs] == ["price"]


def test_a_narrower_number_of_the_backend_is_the_programs_number() -> None:
    """JAX answers int32 where TensorFlow's program answers int64: the same numbers."""
    child = toy_keras.Child(toy_keras.program("Add", 1, TensorProto.INT64), {"output": "int64"})
    made = registry.convert(toy_keras.model(lambda x: (x + 1).astype(np.int32), dtype="int64"), Intent(), child)
    assert made.signature.outputs[0].dtype.name == "int64"
    assert {probe.outputs["output"].dtype.name for probe in made.probes} == {"int64"}


def test_another_kind_of_number_is_refused() -> None:
    child = toy_keras.Child(toy_keras.program("Add", 1, TensorProto.INT64), {"output": "int64"})
    fault = refused(toy_keras.model(lambda x: x + np.float32(1)), child)
    assert (fault.code, fault.what) == ("convert.unsupported", "output 'output' is float32 here, int64 on TensorFlow")


def test_other_outputs_than_the_live_models_are_refused() -> None:
    fault = refused(toy_keras.model([lambda x: x, lambda x: x + np.float32(1)]))
    assert fault.code == "convert.unsupported"
    assert "answers otherwise once it was saved" in fault.what


def test_an_example_may_hold_tensors_of_the_backend() -> None:
    child = toy_keras.Child(toy_keras.program("Mul", 2.0))
    rows = np.full((4, 3), 7, np.float32)
    for example in (toy_keras.Tensor(rows), {"x": toy_keras.Tensor(rows)}, (toy_keras.Tensor(rows),)):
        made = registry.convert(toy_keras.model(lambda x: x * np.float32(2.0)), Intent(example=example), child)
        np.testing.assert_array_equal(made.probes[0].inputs["x"], rows)


def test_text_is_for_tensorflow_alone() -> None:
    fault = refused(toy_keras.model(lambda x: x, dtype="string"))
    assert (fault.code, fault.todo) == ("convert.unsupported", 'call model.save("model.keras") and pack that file')


def test_a_class_of_the_script_itself_is_told_to_move() -> None:
    model = toy_keras.model(lambda x: x)
    model.config = {"module": None, "class_name": "Net", "registered_name": "Net", "config": {}}
    fault = refused(model)
    assert (fault.code, fault.field) == ("convert.unsupported", "Net")
    assert "import it from there" in str(fault.todo)


def test_what_cannot_be_saved_says_what_keras_says() -> None:
    model = toy_keras.model(lambda x: x)
    model.fault = NotImplementedError("Object Net was created by passing\n  non-serializable arguments")
    fault = refused(model)
    assert fault.code == "convert.unsupported"
    assert fault.what == (
        "Keras cannot save the model: NotImplementedError: Object Net was created by passing non-serializable arguments"
    )
    assert "get_config()" in str(fault.todo)


def test_without_tensorflow_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    fault = refused(toy_keras.model(lambda x: x))
    assert (fault.code, fault.field, fault.kind.exit) == ("dependency.missing", "tensorflow", 3)
    assert 'pip install "setsail[tensorflow]"' in str(fault)


def test_it_takes_a_child_process() -> None:
    with pytest.raises(SetsailError) as caught:
        registry.convert(toy_keras.model(lambda x: x), Intent())
    assert (caught.value.code, caught.value.todo) == ("convert.unsupported", "setsail.pack(model) starts one")


def test_a_layer_alone_is_no_model() -> None:
    layer = type("Dense", (), {"__module__": "keras.src.layers.core.dense"})()
    fault = refused(layer)
    assert (fault.code, fault.what) == ("convert.unsupported", "a Dense is no Keras model")


@pytest.mark.parametrize("structure", ["x", {"a": "x", "b": ["y", ("z", "w")]}, ("x",), [{"a": "x"}]])
def test_a_structure_of_arguments_crosses_as_json(structure: Any) -> None:
    calls = sys.modules["setsail.convert.tensorflow.keras_calls"]
    assert calls.unpacked(calls.packed(structure)) == structure
