"""The gate of `.tflite` files lets honest ones in, and is in the way of every artifact that holds one.

What it refuses is in attacks/test_lite_files.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drafts import small
from lite_files import ATTACKS
from lite_models import GRAPHS, N, V, convolution, operator, recurrent, tensor, twice, written

import setsail
from setsail import artifact
from setsail.artifact import admission, lite
from setsail.artifact.gate import GateLimits
from setsail.errors import SetsailError
from setsail.parity import Check, ParityReport
from setsail.signature import Signature, TensorSpec
from setsail.steps import NONE
from setsail.tensors import BY_NAME
from setsail.variants import Variant

VARIANT = Variant("litert", "litert-tflite", "float32", "model.tflite", {"inputs": ["x"], "outputs": ["y"]})


def inspected(tree: dict[int, Any], limits: GateLimits | None = None) -> lite.LiteFacts:
    return lite.inspect({"m": written(tree)}, "m", limits or GateLimits())


def test_what_it_says_of_honest_files() -> None:
    facts = inspected(convolution("uint8", depthwise=True))
    assert dict(facts.operators) == {"QUANTIZE": 2, "DEPTHWISE_CONV_2D": 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    assert (facts.variables, facts.tensor_bytes) == (False, 236)
    assert inspected(recurrent()).variables


def test_one_graph_may_be_called_from_two_places() -> None:
    tree = twice()
    tree[1].append({0: N("b", 118), 2: N("i", 1), 3: N("i", 118)})
    tensors = [tensor("c", [1], "float32"), tensor("a", [1, 2], "float32"), tensor("b", [1, 2], "float32")]

    def branch(then: int, other: int) -> dict[int, Any]:
        one = operator(1, [0, 1], [2], 92, {0: N("i", then), 1: N("i", other)})
        return {0: tensors, 1: V("i", 0, 1), 2: V("i", 2), 3: [one]}

    leaf = {0: tensors, 1: V("i", 0, 1), 2: V("i", 1)}
    tree[GRAPHS] = [branch(1, 2), branch(2, 2), leaf]
    del tree[7]
    assert inspected(tree).operators == {"IF": 2}


def test_limits_are_held() -> None:
    content = written(convolution())
    for limits in (GateLimits(program=len(content) - 1), GateLimits(tensors=262)):
        with pytest.raises(SetsailError) as caught:
            lite.inspect({"m": content}, "m", limits)
        assert caught.value.code == "program.size"
    assert inspected(convolution(), GateLimits(program=len(content), tensors=263)).tensor_bytes == 263


def test_files_on_disk(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(written(twice()))
    assert lite.inspect_path(tmp_path / "model.tflite").operators == {"ADD": 1}
    (tmp_path / "empty.tflite").touch()
    for name, code in (("empty.tflite", "program.parse"), ("none.tflite", "source.missing")):
        with pytest.raises(SetsailError) as caught:
            admission.admit_source("tflite", tmp_path / name)
        assert caught.value.code == code
    admission.admit_source("pickle", tmp_path / "none.pkl")  # no program as it is: nothing is read


def test_every_format_has_its_gate() -> None:
    for variant, content in ((VARIANT, b"nonsense"), (Variant("onnx", "onnx", "float32", "model.tflite"), b"nonsense")):
        with pytest.raises(SetsailError) as caught:
            admission.admit(variant, {"model.tflite": content})
        assert caught.value.code == "program.parse"
    admission.admit(Variant("xgboost", "xgboost-ubj", "float32", "m"), {"m": b"only its library can parse it"})


@pytest.mark.parametrize("attack", ["TensorFlow's operators", "scale of nothing", "weights of another file"])
def test_an_artifact_with_a_hostile_file_is_not_run(attack: str, tmp_path: Path) -> None:
    code, make = ATTACKS[attack]
    spec = TensorSpec("x", BY_NAME["int8"], ("N", 6, 6, 2)), TensorSpec("y", BY_NAME["int8"], ("N", 3))
    sample = {"x": np.zeros((1, 6, 6, 2), np.int8)}, {"y": np.zeros((1, 3), np.int8)}
    draft = small(
        signature=Signature(spec[:1], spec[1:], ("y",)), variants=((VARIANT, {"model.tflite": make()}),),
        processing=NONE, samples={"synthetic": sample},
        parity=ParityReport("litert", "float32", 1.0, (Check("synthetic", 0, 1, 0, 0.0, "y", 0),)),
    )  # fmt: skip
    artifact.write(draft, tmp_path / "hostile.setsail").close()
    with artifact.read(tmp_path / "hostile.setsail") as opened:
        assert opened.variants[0].format == "litert-tflite", "reading it runs nothing"
    with pytest.raises(SetsailError) as caught:
        setsail.load(tmp_path / "hostile.setsail")
    assert caught.value.code == code, str(caught.value)
