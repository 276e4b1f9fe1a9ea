"""A Conversion goes through files and comes back equal; whatever else lies in the folder is refused."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.convert import parcel
from setsail.convert.conversion import Conversion, Probe, Program
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME, NULL
from setsail.variants import Variant

F64, TEXT = BY_NAME["float64"], BY_NAME["string"]


def conversion() -> Conversion:
    signature = Signature(
        (TensorSpec("age", F64, ("N",), nullable=True), TensorSpec("city", TEXT, ("N",), categories=("B", "\n"))),
        (TensorSpec("label", TEXT, ("N",)), TensorSpec("probabilities", F64, ("N", 2), labels=("no", "ja ä"))),
        ("label",),
    )
    inputs = {"age": np.array([1.0, np.nan]), "city": np.array(["B", NULL], dtype=object)}
    outputs = {"label": np.array(["no", "ja ä"], dtype=object), "probabilities": np.array([[0.5, 0.5], [0, 1.0]])}
    variant = Variant("onnx-f64", "onnx", "float64", "model.onnx", {"classes": 2, "tree": [1.5, None]}, 1)
    return Conversion(
        "scikit-learn", {"scikit-learn": "1.9.0"}, "Pipeline(A, B)", "classifier", signature,
        (Program(variant, {"model.onnx": b"\0\1", "weights/w.bin": b""}),),
        (Probe("example", inputs, outputs), Probe("boundary", inputs, outputs, 0.25)),
        Processing((Step("text.normalize", ("city",), (), {"lowercase": True}),)),
        {"C": 1.0, "nested": {"a": [True, None, "x"]}},
        ("a note",),
    )  # fmt: skip


def assert_same(a: Conversion, b: Conversion) -> None:
    assert replace(a, probes=()) == replace(b, probes=())
    for one, other in zip(a.probes, b.probes, strict=True):
        assert (one.what, one.leaf_span) == (other.what, other.leaf_span)
        for mine, theirs in ((one.inputs, other.inputs), (one.outputs, other.outputs)):
            assert list(mine) == list(theirs)
            for name in mine:
                assert mine[name].dtype == theirs[name].dtype
                np.testing.assert_array_equal(mine[name], theirs[name])


def test_a_conversion_comes_back(tmp_path: Path) -> None:
    parcel.save(conversion(), tmp_path)
    assert_same(conversion(), parcel.load(tmp_path))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_any_hyperparameters_and_program_come_back(
    tmp_path_factory: pytest.TempPathFactory, hyperparameters: dict[str, Any], data: bytes
) -> None:
    made, folder = conversion(), tmp_path_factory.mktemp("parcel")
    program = replace(made.programs[0], files={"model.onnx": data})
    made = replace(made, hyperparameters=hyperparameters, programs=(program,))
    parcel.save(made, folder)
    assert_same(made, parcel.load(folder))


def refused(folder: Path) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        parcel.load(folder)
    assert caught.value.code == "child.failed"
    assert caught.value.facts["reason"] == "answer"
    return caught.value


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a field more": lambda b: b.update(extra=1),
    "a field less": lambda b: b.pop("kind"),
    "an unknown kind": lambda b: b.update(kind="oracle"),
    "a kind of the wrong type": lambda b: b.update(kind=["classifier"]),
    "a terminal escape": lambda b: b["notes"].append("\x1b[2J"),
    "NaN": lambda b: b["hyperparameters"].update(x=float("nan")),
    "deep JSON": lambda b: b.update(hyperparameters=deep(100)),
    "no programs": lambda b: b.update(programs=[]),
    "no probes": lambda b: b.update(probes=[]),
    "a path upwards": lambda b: b["programs"][0]["files"].update({"../evil": "program0.2"}),
    "an absolute path": lambda b: b["programs"][0]["files"].update({"/evil": "program0.2"}),
    "a file of another name": lambda b: b["programs"][0]["files"].update({"model.onnx": "parcel.json"}),
    "a file outside": lambda b: b["programs"][0]["files"].update({"model.onnx": "../secret"}),
    "an entry that is not there": lambda b: b["programs"][0].update(entry="other.onnx"),
    "an unknown format": lambda b: b["programs"][0].update(format="pickle"),
    "a format of the wrong type": lambda b: b["programs"][0].update(format={}),
    "a bad id": lambda b: b["programs"][0].update(id="../x"),
    "a boolean batch": lambda b: b["programs"][0].update(max_batch=True),
    "an unknown dtype": lambda b: b["signature"]["inputs"][0].update(dtype="float8"),
    "a negative size": lambda b: b["signature"]["inputs"][0].update(shape=[-1]),
    "another rank": lambda b: b["signature"]["inputs"][0].update(shape=["N", 2]),
    "another size": lambda b: b["signature"]["outputs"][1].update(shape=["N", 3]),
    "another name": lambda b: b["signature"]["inputs"][0].update(name="height"),
    "two of one name": lambda b: b["signature"]["inputs"][0].update(name="city"),
    "no outputs": lambda b: b["signature"].update(outputs=[]),
    "a default that is no output": lambda b: b.update(defaults=["age"]),
    "no defaults": lambda b: b.update(defaults=[]),
    "an unknown step": lambda b: b["steps"][0].update(kind="shell"),
    "a step for no input": lambda b: b["steps"][0].update(inputs=["x"]),
    "an unknown probe": lambda b: b["probes"][0].update(what="x"),
    "an infinite span": lambda b: b["probes"][0].update(leaf_span=float("inf")),
}


def deep(levels: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for _ in range(levels):
        body = {"a": body}
    return body


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_index_is_refused(tmp_path: Path, what: str) -> None:
    parcel.save(conversion(), tmp_path)
    (tmp_path.parent / "secret").write_text("secret")
    body = json.loads((tmp_path / "parcel.json").read_text())
    CHANGES[what](body)
    (tmp_path / "parcel.json").write_text(json.dumps(body))
    refused(tmp_path)


@pytest.mark.parametrize("data", ["", "[]", "null", "[" * 100_000, '{"a": }'])
def test_an_index_that_is_no_index_is_refused(tmp_path: Path, data: str) -> None:
    (tmp_path / "parcel.json").write_text(data)
    refused(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes of POSIX")
@pytest.mark.parametrize("kind", ["symlink", "hard link", "pipe", "folder", "missing"])
def test_only_plain_files_are_read(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0\1")
    folder = tmp_path / "folder"
    folder.mkdir()
    parcel.save(conversion(), folder)
    target = folder / "program0.0"
    target.unlink()
    make: dict[str, Callable[[], Any]] = {
        "symlink": lambda: target.symlink_to(secret),
        "hard link": lambda: target.hardlink_to(secret),
        "pipe": lambda: os.mkfifo(target),
        "folder": target.mkdir,
        "missing": lambda: None,
    }
    make[kind]()
    assert "program0.0" in str(refused(folder))


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel.save(conversion(), tmp_path)
    monkeypatch.setattr(parcel, "MAX_INDEX", 10)
    assert "larger" in str(refused(tmp_path))


def test_a_tensor_file_that_is_none_is_refused(tmp_path: Path) -> None:
    parcel.save(conversion(), tmp_path)
    (tmp_path / "probe0.in").write_bytes(b"\x80\x04N.")
    refused(tmp_path)
