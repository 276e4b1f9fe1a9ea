"""Verify: whole, safe, and still of the same opinion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from setsail import artifact
from setsail.artifact import Artifact, Draft, verdict
from setsail.errors import SetsailError
from setsail.packing import verify

Pack = Callable[..., Artifact]
Answers = dict[str, np.ndarray]


def again(opened: Artifact, path: Path, change: Callable[[Answers], Answers], files: Any = None) -> Path:
    """The same artifact with other stored answers (or another program), whole and sealed as an artifact is."""
    sample = opened.samples("synthetic")
    assert sample is not None
    variant = opened.variants[0]
    draft = Draft(
        name=opened.name, version=opened.version, framework=opened.framework, versions=opened.versions,
        estimator=opened.estimator, kind=opened.kind, hyperparameters=opened.hyperparameters,
        signature=opened.signature, processing=opened.processing, parity=opened.parity, notes=opened.notes,
        environment={},
        variants=((variant, {n: bytes(v) for n, v in (files or opened.files(variant.id)).items()}),),
        samples={"synthetic": (sample[0], change(sample[1]))}, reference=None,
    )  # fmt: skip
    artifact.write(draft, path).close()
    return path


def same(answers: Answers) -> Answers:
    return answers


def moved(answers: Answers) -> Answers:
    changed = {name: array.copy() for name, array in answers.items()}
    changed["prediction"][3] += 1.0
    return changed


def test_a_packed_model_passes(packed: Pack, ridge: Ridge, diabetes: Any) -> None:
    made = packed(ridge, diabetes[0], samples="example")
    assert made.path is not None
    told = verify(made.path)
    assert told.passed
    assert {(c.what, c.batch) for c in told.replays[0].checks} == {
        (what, batch) for what in ("synthetic", "example") for batch in (1, 7, 0)
    }
    assert (told.digest, told.members) == (made.digest, len(made.manifest["members"]) + 2)
    assert told.to_json()["passed"] is True
    assert "every digest right" in str(told)


def test_other_answers_than_stored_are_no_pass(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    made = packed(ridge, diabetes[0])
    assert verify(again(made, tmp_path / "same.setsail", same)).passed
    told = verify(again(made, tmp_path / "moved.setsail", moved))
    assert not told.passed
    assert told.replays[0].checks[0].worst_row == 3
    assert "FAILED" in str(told)


def test_another_program_is_no_pass_and_no_verdict(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    X, Y = diabetes
    made = packed(ridge, X)
    other = packed(Ridge(alpha=10.0).fit(X, Y), X, file="other.setsail")
    path = again(made, tmp_path / "swapped.setsail", same, other.files("onnx"))
    for known in (tmp_path / "cache/verdicts").iterdir():
        known.unlink()
    assert not verify(path).passed
    with artifact.read(path) as opened:
        assert not verdict.known(verdict.key(opened.variants[0], opened.digests("onnx")))


def test_without_samples_there_is_nothing_to_replay(packed: Pack, ridge: Ridge, diabetes: Any) -> None:
    made = packed(ridge, diabetes[0], samples="none")
    assert made.path is not None
    told = verify(made.path)
    assert (told.passed, told.replays) == (True, ())
    assert "no stored samples" in str(told)


def test_a_flipped_bit_is_an_error(packed: Pack, ridge: Ridge, diabetes: Any) -> None:
    made = packed(ridge, diabetes[0])
    assert made.path is not None
    (_, start, length), *_ = made.slices("onnx").values()
    made.close()
    data = bytearray(made.path.read_bytes())
    data[start + length // 2] ^= 1
    made.path.write_bytes(data)
    with pytest.raises(SetsailError) as caught:
        verify(made.path)
    assert caught.value.code == "artifact.digest"


def test_a_program_that_the_gate_refuses_is_an_error(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    made = packed(ridge, diabetes[0])
    path = again(made, tmp_path / "bad.setsail", same, {"model.onnx": b"no program"})
    with pytest.raises(SetsailError) as caught:
        verify(path)
    assert caught.value.code == "program.parse"
