"""Class labels of nets that only give scores."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from setsail.convert.conversion import Conversion, Intent, Probe
from setsail.convert.torch.labels import labelled, with_labels_beside
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec

pytestmark = pytest.mark.torch
SCORES = np.array([[0.1, 0.9], [2.0, -1.0]], dtype=np.float32)


def net(intent: Intent, name: str = "output") -> Conversion:
    """What converting a net gives, without the net."""
    if intent.labels and len(intent.labels) != 2:
        raise SetsailError("convert.input", "3 labels fit no output", field="--labels")
    x, out = TensorSpec.parse("x:float32[*,2]"), TensorSpec.parse(f"{name}:float32[N,2]")
    signature = Signature((x,), (replace(out, labels=intent.labels),), (name,))
    probe = Probe("synthetic", {"x": SCORES}, {name: SCORES})
    bare = Conversion("pytorch", {}, "Net", "tensors", signature, (), (probe,))
    return labelled(bare, intent.labels) if intent.labels else bare


def test_the_label_of_the_greatest_score_is_the_answer() -> None:
    made = net(Intent(labels=("cat", "dog")))
    made.processing.check(made.signature)
    assert made.signature.defaults == ("label",)
    assert made.probes[0].outputs["label"].tolist() == ["dog", "cat"]
    assert made.processing.inner(made.signature).outputs[0].name == "output"


def test_labels_beside_a_file_are_used_and_told(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n dog \n\n", encoding="utf-8")
    made = with_labels_beside(tmp_path / "net.pt", Intent(), net)
    assert made.signature.output("label").labels == ("cat", "dog")
    assert "labels.txt" in made.notes[-1]
    given = with_labels_beside(tmp_path / "net.pt", Intent(labels=("a", "b")), net)
    assert given.signature.output("label").labels == ("a", "b")


def test_labels_beside_a_file_that_fit_nothing_are_left_and_told(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    made = with_labels_beside(tmp_path / "net.pt", Intent(), net)
    assert [s.name for s in made.signature.outputs] == ["output"]
    assert "not used" in made.notes[-1]


def test_a_module_with_a_label_of_its_own() -> None:
    with pytest.raises(SetsailError) as caught:
        partial(net, name="label")(Intent(labels=("cat", "dog")))
    assert caught.value.code == "convert.input"
