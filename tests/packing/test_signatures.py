"""A model of several signatures: what is packed of it, read, shown and verified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from several_signatures import ALIASES, ANSWERS, NAMES, conversion, one, packed, shared, spec

from setsail import artifact
from setsail.artifact.manifest import DEFAULT
from setsail.artifact.write import assemble, pieces
from setsail.convert import parcel
from setsail.errors import SetsailError
from setsail.packing import export, verify


def test_every_signature_is_packed_with_all_that_answers_it(tmp_path: Path) -> None:
    with packed(tmp_path / "two.setsail") as made:
        assert tuple(made.signatures) == tuple(sorted(NAMES, key=lambda n: (n != "serving_default", n)))
        for name, one in made.signatures.items():
            sample = one.samples()
            assert sample is not None
            (rows,), told = sample[0].values(), sample[1]
            for output, expected in ANSWERS[name](rows).items():
                np.testing.assert_allclose(told[output], expected, rtol=1e-6)
            assert [v.id for v in one.variants] == ["onnx"]
            assert one.parity.passed
            assert list(one.files("onnx")) == ["model.onnx"]
            assert one.digest == made.digest
        assert made.aliases == ALIASES
        assert made.others["single"].variants[0].max_batch == 1
        assert made.others["classify"].signature.output("scores").labels == ("cat", "dog")


def test_what_an_artifact_says_of_them(tmp_path: Path) -> None:
    with packed(tmp_path / "two.setsail") as made:
        told, card = repr(made), bytes(made.member("card.md") or b"").decode()
    for text in (told, card):
        assert "signature classify" in text
        assert "z:float32[N,2]" in text
        assert "single" in text
        assert "signature serve, the same as serving_default" in text


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    packed(tmp_path / "a.setsail").close()
    packed(tmp_path / "b.setsail").close()
    assert (tmp_path / "a.setsail").read_bytes() == (tmp_path / "b.setsail").read_bytes()


def test_one_that_disagrees_with_its_source_is_not_carried_and_that_is_told(tmp_path: Path) -> None:
    made = conversion()
    wrong = one("classify", "Mul", 0.6, spec("z", 2), spec("scores", 2))
    with packed(tmp_path / "two.setsail", replace(made, others={**made.others, "classify": wrong})) as kept:
        assert sorted(kept.others) == ["prediction", "single"]
        assert kept.aliases == {"serve": "serving_default"}
        note, alias = kept.notes
        assert note.startswith("signature 'classify' is not carried: the program differs from its source on ")
        assert alias == "signature 'sort' is not carried: it is another name of 'classify'"


@pytest.mark.parametrize("name", ["a/b", "", "é", "Serving_Default"])
def test_a_name_that_no_folder_may_have_is_not_carried(name: str, tmp_path: Path) -> None:
    made = conversion()
    other = {name: made.others["classify"]}
    for file, asked in (("a", {"others": other, "aliases": {}}), ("b", {"others": {}, "aliases": {name: DEFAULT}})):
        with packed(tmp_path / f"{file}.setsail", replace(made, **asked)) as kept:
            assert (kept.others, kept.aliases) == ({}, {})
            (note,) = kept.notes
            assert note.startswith(f"signature {name!r} is not carried: ")


def test_where_the_default_one_disagrees_nothing_is_written(tmp_path: Path) -> None:
    wrong = one("serving_default", "MatMul", [1.0, 10.0, 99.0], spec("x", 3), spec("prediction"))
    with pytest.raises(SetsailError) as caught:
        packed(tmp_path / "two.setsail", replace(wrong, others=conversion().others))
    assert caught.value.code == "parity.failed"
    assert list(tmp_path.iterdir()) == []


def test_every_signature_is_verified(tmp_path: Path) -> None:
    packed(tmp_path / "two.setsail").close()
    found = verify(tmp_path / "two.setsail")
    assert found.passed
    assert [r.variant for r in found.replays] == ["onnx", "classify/onnx", "prediction/onnx", "single/onnx"]
    assert json.loads(json.dumps(found.to_json()))["replays"][1]["variant"] == "classify/onnx"


def test_a_changed_sample_of_another_signature_is_found(tmp_path: Path) -> None:
    """Written by hand, with every digest right: only replaying it can tell."""
    made = conversion()
    probe = made.others["classify"].probes[0]
    other = replace(probe, outputs={"scores": probe.outputs["scores"] + 1})
    with packed(tmp_path / "two.setsail") as good:
        draft = artifact.Draft(
            name="two", version=1, framework="tensorflow", versions={}, estimator="", hyperparameters={},
            environment={}, notes=(), **_facet(good), others={
                "classify": artifact.Facet(**_facet(good.others["classify"]) | {
                    "samples": {"synthetic": (other.inputs, other.outputs)},
                }),
            },
        )  # fmt: skip
        (tmp_path / "bad.setsail").write_bytes(b"".join(pieces(assemble(draft))))
    found = verify(tmp_path / "bad.setsail")
    assert [r.passed for r in found.replays] == [True, False]
    assert not found.passed


def _facet(made: artifact.Artifact) -> dict[str, object]:
    sample = made.samples()
    return {
        "kind": made.kind, "signature": made.signature, "parity": made.parity, "samples": {"synthetic": sample},
        "variants": tuple((v, {n: bytes(d) for n, d in made.files(v.id).items()}) for v in made.variants),
    }  # fmt: skip


def test_a_conversion_crosses_processes_with_its_signatures(tmp_path: Path) -> None:
    made = conversion()
    parcel.save(made, tmp_path)
    back = parcel.load(tmp_path)
    assert list(back.others) == list(made.others)
    assert back.aliases == made.aliases
    for name, other in made.others.items():
        assert back.others[name].signature == other.signature
        assert back.others[name].programs == other.programs
        np.testing.assert_array_equal(
            next(iter(back.others[name].probes[0].inputs.values())), next(iter(other.probes[0].inputs.values()))
        )


@pytest.mark.parametrize("lie", ["twice", "nested", "missing"])
def test_signatures_that_no_converter_writes_are_refused(lie: str, tmp_path: Path) -> None:
    parcel.save(conversion(), tmp_path)
    index = tmp_path / ("other0.parcel.json" if lie == "nested" else "parcel.json")
    body = json.loads(index.read_text())
    body["others"] = {"twice": ["a", "a", "b"], "nested": ["a"], "missing": ["a"] * 9}[lie]
    index.write_text(json.dumps(body))
    with pytest.raises(SetsailError) as caught:
        parcel.load(tmp_path)
    assert caught.value.code == "child.failed"


@pytest.fixture
def opened() -> Iterator[artifact.Artifact]:
    with artifact.read(shared()) as made:
        yield made


@pytest.mark.parametrize("name", [*NAMES, "sort"])
def test_each_is_exported_by_its_name(name: str, opened: artifact.Artifact, tmp_path: Path) -> None:
    import onnxruntime

    meant = ALIASES.get(name, name)
    told = export(opened, "onnx", tmp_path / "out", name)
    assert told.signature == meant
    assert sorted((*told.left, meant)) == sorted(NAMES)
    assert told.report.passed
    assert told.report.checks
    session = onnxruntime.InferenceSession(str(told.files[0]))
    rows = np.array([[1.0, 2.0, 3.0][: session.get_inputs()[0].shape[1]]], np.float32)
    (expected,) = ANSWERS[meant](rows).values()
    np.testing.assert_allclose(session.run(None, {session.get_inputs()[0].name: rows})[0], expected)
    beside = json.loads(told.files[1].read_text(encoding="utf-8"))
    assert [spec["name"] for spec in beside["inputs"]] == [session.get_inputs()[0].name]


def test_archives_of_two_signatures_have_two_names(opened: artifact.Artifact, tmp_path: Path) -> None:
    for name, file in (("serving_default", "two.mar"), ("classify", "two-classify.mar")):
        told = export(opened, "mar", tmp_path, name)
        assert [path.name for path in told.files] == [file]
        assert told.report.passed


def test_a_signature_that_is_not_there_is_not_exported(opened: artifact.Artifact, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        export(opened, "onnx", tmp_path / "out", "regress")
    assert (caught.value.code, caught.value.field) == ("model.signature", "--signature")
    assert caught.value.expected == "serving_default, classify, prediction, single, serve, sort"
    assert not (tmp_path / "out").exists()
