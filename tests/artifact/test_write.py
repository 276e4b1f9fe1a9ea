"""A draft to a file: whole or not at all, and always the same bytes."""

import os
from pathlib import Path

import numpy as np
import pytest
from drafts import small
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.artifact import write
from setsail.artifact.read import read_buffer
from setsail.artifact.write import assemble, pieces
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.steps import NONE, Processing, Step
from setsail.tensors import BY_NAME, NULL, dtype_of
from setsail.variants import Variant


def test_the_same_draft_gives_the_same_bytes(tmp_path: Path) -> None:
    write(small(), tmp_path / "a").close()
    write(small(), tmp_path / "b").close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_order_in_which_things_are_given_does_not_matter() -> None:
    (variant, files), *_rest = small().variants
    turned = small(variants=((variant, dict(reversed(files.items()))),), versions={"b": "1", "a": "2"})
    same = small(versions={"a": "2", "b": "1"})
    assert assemble(turned) == assemble(same)


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "a.setsail"
    path.write_bytes(b"mine")
    with pytest.raises(SetsailError) as caught:
        write(small(), path)
    assert caught.value.code == "artifact.exists"
    assert path.read_bytes() == b"mine"
    with write(small(), path, force=True) as artifact:
        assert artifact.name == "credit"
    assert os.listdir(tmp_path) == ["a.setsail"]


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        write(small(), tmp_path, force=True)
    assert caught.value.code == "artifact.exists"


def test_somebody_who_was_faster_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.setsail"
    monkeypatch.setattr(os, "fsync", lambda fd: path.write_bytes(b"theirs"))
    with pytest.raises(SetsailError) as caught:
        write(small(), path)
    assert caught.value.code == "artifact.exists"
    assert path.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["a.setsail"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(small(), tmp_path / "a.setsail")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        write(small(), tmp_path / "nowhere" / "a.setsail")
    assert caught.value.code == "artifact.missing"


def test_an_open_artifact_survives_being_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.setsail"
    first = write(small(), path)
    write(small(name="other"), path, force=True).close()
    assert bytes(first.files("onnx")["model.onnx"]) == b"program"
    assert first.name == "credit"
    first.close()


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("model.name", {"name": "../credit"}),
        ("artifact.field", {"version": 0}),
        ("artifact.field", {"variants": ()}),
        ("artifact.field", {"variants": ((Variant("onnx", "onnx", "float32", "absent"), {"model.onnx": b""}),)}),
        ("artifact.field", {"processing": Processing((Step("text.normalize", ("nobody",)),))}),
        ("artifact.field", {"samples": {"secret": ({}, {})}}),
        ("artifact.field", {"samples": {"synthetic": ({}, {})}}),
        ("artifact.member", {"variants": ((Variant("onnx", "onnx", "float32", "a"), {"../a": b""}),)}),
        ("artifact.duplicate", {"variants": ((Variant("onnx", "onnx", "float32", "a"), {"a": b"", "A": b""}),)}),
        ("artifact.requires", {"variants": ((Variant("onnx", "pickle", "float32", "a"), {"a": b""}),)}),
        ("artifact.json", {"notes": ("\ud800",)}),
    ],
)
def test_a_draft_that_is_no_artifact(code: str, changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        write(small(**changes), tmp_path / "a.setsail")
    assert caught.value.code == code
    assert os.listdir(tmp_path) == []


def test_a_sample_of_another_dtype() -> None:
    inputs, outputs = small().samples["synthetic"]
    with pytest.raises(SetsailError) as caught:
        assemble(small(samples={"synthetic": (dict(inputs) | {"age": np.zeros(2)}, outputs)}))
    assert caught.value.code == "artifact.field"


# -- any draft comes back as it was -----------------------------------------------------------------------------------

_WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]", fullmatch=True).filter(
    lambda name: (
        name.lower().split(".")[0] not in {"con", "prn", "aux", "nul"} and name[:3].lower() not in ("com", "lpt")
    )
)


@st.composite
def _arrays(draw: st.DrawFn, spec: TensorSpec, rows: int) -> np.ndarray:
    shape = [rows, *(d for d in spec.shape[1:] if isinstance(d, int))]
    count = int(np.prod(shape))
    if spec.dtype.kind == "string":
        texts = draw(st.lists(_WORDS | st.just(NULL), min_size=count, max_size=count))
        flat = np.empty(count, dtype=object)
        flat[:] = texts
        return flat.reshape(shape)
    if spec.dtype.kind == "bool":
        return np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=bool).reshape(shape)
    size = count * spec.dtype.size
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), spec.dtype.numpy).reshape(shape)


@st.composite
def _drafts(draw: st.DrawFn) -> object:
    def specs(names: list[str]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(n, BY_NAME[draw(st.sampled_from(sorted(BY_NAME)))], ("N", *draw(st.sampled_from([(), (3,)]))),
                       categories=tuple(draw(st.lists(_WORDS, max_size=2))), nullable=draw(st.booleans()))
            for n in names
        )  # fmt: skip

    inputs = specs(draw(st.lists(_WORDS, min_size=1, max_size=3, unique=True)))
    outputs = specs(draw(st.lists(_WORDS, min_size=1, max_size=3, unique=True)))
    signature = Signature(inputs, outputs, tuple(s.name for s in outputs[: draw(st.integers(1, len(outputs)))]))
    rows = draw(st.integers(1, 3))
    sample = tuple({s.name: draw(_arrays(s, rows)) for s in side} for side in (inputs, outputs))
    files = draw(st.dictionaries(_NAMES.map(str.lower), st.binary(max_size=100), min_size=1, max_size=3))
    variant = Variant(draw(_NAMES), "onnx", "float64", next(iter(files)), {"classes": draw(st.integers(0, 9))}, None)
    return small(
        name=draw(_NAMES), version=draw(st.integers(1, 1 << 40)), signature=signature, processing=NONE,
        variants=((variant, files),), samples={draw(st.sampled_from(["synthetic", "example"])): sample},
        notes=tuple(draw(st.lists(_WORDS, max_size=2))), estimator=draw(_WORDS),
        hyperparameters=draw(st.dictionaries(_WORDS, st.integers() | _WORDS | st.none(), max_size=3)),
        reference=None,
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(_drafts())
def test_round_trip(draft) -> None:
    whole = b"".join(pieces(assemble(draft)))
    back = read_buffer(memoryview(whole))
    for key in (
        "name",
        "version",
        "framework",
        "versions",
        "estimator",
        "kind",
        "signature",
        "processing",
        "notes",
        "parity",
    ):
        assert getattr(back, key) == getattr(draft, key), key
    assert back.hyperparameters == draft.hyperparameters
    assert back.variants == tuple(variant for variant, _ in draft.variants)
    for variant, files in draft.variants:
        assert back.files(variant.id) == files
    for what, sample in draft.samples.items():
        found = back.samples(what)
        assert found is not None
        for given_side, found_side in zip(sample, found, strict=True):
            assert list(given_side) == list(found_side)
            for name, array in given_side.items():
                assert dtype_of(found_side[name]) == dtype_of(array)
                np.testing.assert_array_equal(found_side[name], array)
