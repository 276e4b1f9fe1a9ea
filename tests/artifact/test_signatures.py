"""Manifests of several signatures: each is checked as the only one of a model is, and its files are its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import drafts
import numpy as np
import pytest

from setsail.artifact import Draft, Facet, manifest
from setsail.artifact.canonical import decode
from setsail.artifact.read import read_buffer
from setsail.artifact.write import assemble, pieces
from setsail.errors import SetsailError
from setsail.parity import Check, ParityReport
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME
from setsail.variants import Variant

OUTPUTS = (TensorSpec("a", BY_NAME["float32"], ("N",)), TensorSpec("b", BY_NAME["float32"], ("N",)))


def facet(**changes: Any) -> Facet:
    text = TensorSpec("text", BY_NAME["string"], ("N",))
    ids = Signature((TensorSpec("ids", BY_NAME["int64"], ("N", "T")),), OUTPUTS, ("a",))
    step = Step("text.tokenize", ("text",), ("ids",), {"file": "tokens.json", "makes": ["ids"]})
    fields: dict[str, Any] = {
        "kind": "tensors", "signature": Signature((text,), OUTPUTS, ("a", "b")),
        "variants": ((Variant("onnx", "onnx", "float32", "model.onnx"), {"model.onnx": b"another program"}),),
        "parity": ParityReport("onnx", "float32", 2.0, (Check("synthetic", 0, 2, 0, 0.0, "a", 0),)),
        "samples": {"synthetic": (
            {"text": np.array(["x", "y"], object)}, {name: np.zeros(2, np.float32) for name in "ab"}
        )},
        "processing": Processing((step,), ids, {"tokens.json": b"{}"}),
    }  # fmt: skip
    return Facet(**(fields | changes))


def draft(**others: Facet) -> Draft:
    return drafts.small(others=others or {"embed": facet()})


def body() -> dict[str, Any]:
    return dict(decode(assemble(draft())["manifest.json"], "the manifest"))


def test_another_signature_is_an_artifact_of_its_own() -> None:
    with read_buffer(memoryview(b"".join(pieces(assemble(draft()))))) as opened:
        other = opened.others["embed"]
        assert (opened.kind, other.kind) == ("regressor", "tensors")
        assert [s.name for s in other.signature.inputs] == ["text"]
        assert other.signature.defaults == ("a", "b")
        assert bytes(other.files("onnx")["model.onnx"]) == b"another program"
        assert bytes(opened.files("onnx")["model.onnx"]) == b"program"
        assert set(opened.files("onnx")) == {"model.onnx", "w.bin"}
        assert other.digests("onnx") != opened.digests("onnx")
        assert other.processing.files.keys() == {"tokens.json"}
        assert opened.processing.files == {}
        assert other.parity.tolerance == 2.0
        assert other.samples("example") is None
        assert (other.name, other.version, other.digest) == (opened.name, opened.version, opened.digest)
        assert other.others == {}


def test_a_model_of_one_signature_has_the_manifest_it_always_had() -> None:
    plain = dict(decode(assemble(drafts.small())["manifest.json"], "the manifest"))
    assert plain["signatures"].keys() == {"serving_default"}
    assert plain["signatures"]["serving_default"].keys() == {"inputs", "outputs"}
    assert not [name for name in plain["members"] if name.startswith("signatures/")]


def test_its_files_lie_in_its_folder() -> None:
    names = [name for name in assemble(draft()) if name.startswith("signatures/")]
    assert names == [
        "signatures/embed/samples/synthetic.safetensors", "signatures/embed/steps/tokens.json",
        "signatures/embed/variants/onnx/model.onnx",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["Embed", "serving_default", "a/b", "..", "con", "x" * 129, "end."])
def test_names_that_no_folder_may_have(name: str) -> None:
    with pytest.raises(SetsailError) as caught:
        assemble(draft(embed=facet(), **{name: facet()}))
    assert caught.value.code in ("artifact.field", "artifact.member", "artifact.duplicate")


def test_there_are_not_too_many() -> None:
    with pytest.raises(SetsailError) as caught:
        assemble(draft(**{f"s{i}": facet() for i in range(manifest.MOST_SIGNATURES)}))
    assert (caught.value.code, caught.value.field) == ("artifact.field", "signatures")


Change = Callable[[dict[str, Any]], Any]
LIES: dict[str, tuple[Change, str]] = {
    "a missing key": (lambda b: b["signatures"]["embed"].pop("parity"), "signatures.embed.parity"),
    "an unknown key": (lambda b: b["signatures"]["embed"].update(notes=[]), "signatures.embed.notes"),
    "a default that is no output": (
        lambda b: b["signatures"]["embed"].update(default_output="c"), "signatures.embed.default_output",
    ),
    "a variant twice": (
        lambda b: b["signatures"]["embed"]["variants"].append(b["signatures"]["embed"]["variants"][0]),
        "signatures.embed.variants",
    ),
    "an entry of another signature": (
        lambda b: b["signatures"]["embed"]["variants"][0].update(entry="w.bin"), "signatures.embed.variants[0].entry",
    ),
    "no variants": (lambda b: b["signatures"]["embed"].update(variants=[]), "signatures.embed.variants"),
    "a parity that lies": (
        lambda b: b["signatures"]["embed"]["parity"].update(passed=False), "signatures.embed.parity.passed",
    ),
    "an input twice": (
        lambda b: b["signatures"]["embed"]["inputs"].append(b["signatures"]["embed"]["inputs"][0]),
        "signatures.embed.inputs",
    ),
    "no steps for what the program takes": (lambda b: b["signatures"]["embed"].update(steps=[]), "steps"),
    "an alias of nothing": (lambda b: b["signatures"].update(e={"same": "ghost"}), "signatures.e.same"),
    "an alias of an alias": (
        lambda b: b["signatures"].update(e={"same": "embed"}, f={"same": "e"}), "signatures.f.same",
    ),
    "an alias with a key more": (
        lambda b: b["signatures"].update(e={"same": "embed", "kind": "tensors"}), "signatures.e.kind",
    ),
    "files of no signature": (
        lambda b: b["members"].update({"signatures/ghost/variants/a/b": {"sha256": "0" * 64, "length": 0}}),
        "signatures",
    ),
    "the default one's facts twice": (
        lambda b: b["signatures"]["serving_default"].update(kind="tensors"), "signatures.serving_default.kind",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_each_is_checked_as_the_only_one_is(lie: str) -> None:
    change, field = LIES[lie]
    told = copy.deepcopy(body())
    manifest.check(told)
    change(told)
    with pytest.raises(SetsailError) as caught:
        manifest.check(told)
    assert (caught.value.code, caught.value.field) == ("artifact.field", field)


def test_a_format_that_only_a_newer_setsail_has_is_told_as_that() -> None:
    told = body()
    told["signatures"]["embed"]["variants"][0]["format"] = "tomorrow"
    with pytest.raises(SetsailError) as caught:
        manifest.check(told)
    assert caught.value.code == "artifact.requires"


def test_a_flipped_byte_of_another_signature_is_found() -> None:
    data = bytearray(b"".join(pieces(assemble(draft()))))
    at = data.index(b"another program")
    data[at] ^= 1
    with pytest.raises(SetsailError) as caught:
        read_buffer(memoryview(bytes(data)))
    assert caught.value.code == "artifact.digest"
