"""The door for untrusted files. The gallery of hostile ones is in attacks/."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drafts import small
from forge import rewritten, with_member
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail import tensorfile
from setsail.artifact import Artifact, Limits, read, write
from setsail.artifact.read import read_buffer
from setsail.artifact.write import assemble, pieces
from setsail.errors import SetsailError
from setsail.tensors import NULL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(small(), tmp_path / "a.setsail").close()
    return tmp_path / "a.setsail"


def test_facts(path: Path) -> None:
    with read(path) as artifact:
        assert (artifact.name, artifact.version, artifact.framework) == ("credit", 3, "scikit-learn")
        assert artifact.signature == small().signature
        assert artifact.processing == small().processing
        assert artifact.parity == small().parity
        assert artifact.hyperparameters == {"alpha": 1.0, "missing": "nan"}
        assert artifact.size == path.stat().st_size
        assert len(artifact.digest) == 64
        assert artifact.member("reference.json") is not None
        assert artifact.member("absent") is None


def test_files_are_views_at_aligned_places(path: Path) -> None:
    with read(path) as artifact:
        files = artifact.files("onnx")
        assert {name: bytes(view) for name, view in files.items()} == {"model.onnx": b"program", "w.bin": b"w" * 9}
        for view in files.values():
            assert view.readonly
            assert np.frombuffer(view, np.uint8).ctypes.data % 64 == 0
        for name, (where, offset, length) in artifact.slices("onnx").items():
            assert Path(where).read_bytes()[offset : offset + length] == files[name]
        with pytest.raises(KeyError, match="there are onnx"):
            artifact.files("absent")


def test_samples(path: Path) -> None:
    with read(path) as artifact:
        sample = artifact.samples()
        assert artifact.samples("example") is None
    assert sample is not None
    inputs, outputs = sample
    assert inputs["city"].tolist() == ["Ærø", NULL]
    np.testing.assert_array_equal(inputs["age"], np.array([1.5, -2.0], np.float32))
    np.testing.assert_array_equal(outputs["prediction"], [0.1, np.inf])


def test_views_outlive_the_artifact(path: Path) -> None:
    artifact = read(path)
    view = artifact.files("onnx")["model.onnx"]
    artifact.close()
    artifact.close()
    assert bytes(view) == b"program"
    with pytest.raises(ValueError, match="is closed"):
        artifact.files("onnx")


def test_a_sample_that_does_not_fit_the_signature() -> None:
    members = assemble(small())
    other = small().samples["synthetic"][1]["prediction"].astype(np.float32)
    inputs, _ = small().samples["synthetic"]
    payload = tensorfile.encode({"in.0": inputs["age"], "in.1": inputs["city"], "out.0": other})
    artifact = read_buffer(memoryview(with_member(members, "samples/synthetic.safetensors", payload)))
    with pytest.raises(SetsailError) as caught:
        artifact.samples()
    assert caught.value.code == "artifact.member"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_sample_is_refused_or_fits(data: st.DataObject) -> None:
    """Somebody who can write the manifest can write any sample; reading it must still be safe."""
    members = assemble(small())
    payload = bytearray(members["samples/synthetic.safetensors"])
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    artifact = read_buffer(memoryview(with_member(members, "samples/synthetic.safetensors", bytes(payload))))
    try:
        sample = artifact.samples()
    except SetsailError as fault:
        if fault.code != "artifact.member":
            raise
    else:
        assert sample is not None
        assert {len(array) for side in sample for array in side.values()} == {2}


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        ("artifact.truncated", lambda whole: whole[: len(whole) // 2]),
        ("artifact.trailing", lambda whole: whole + b"more"),
        ("artifact.layout", lambda whole: whole.replace(b"\x21\x00", b"\x22\x00", 1)),
        ("artifact.digest", lambda whole: whole.replace(b"program", b"Program")),
        ("artifact.format", lambda whole: b"GIF89a" + whole),
    ],
)
def test_damage(code: str, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SetsailError) as caught:
        read_buffer(memoryview(damage(b"".join(pieces(assemble(small()))))))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(size=100), "artifact.size"),
        (Limits(members=3), "artifact.size"),
        (Limits(manifest=10), "artifact.size"),
        (Limits(depth=2), "artifact.json"),
    ],
)
def test_limits(limits: Limits, code: str, path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        read(path, limits)
    assert caught.value.code == code


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, code in (("absent", "artifact.missing"), (".", "artifact.format"), ("pipe", "artifact.format")):
        with pytest.raises(SetsailError) as caught:
            read(tmp_path / name)
        assert caught.value.code == code


def test_what_needs_a_newer_setsail_says_which() -> None:
    whole = rewritten(assemble(small()), lambda body: body.update(requires=["tokens@0.9"], tokens={}))
    with pytest.raises(SetsailError) as caught:
        read_buffer(memoryview(whole))
    assert caught.value.code == "artifact.requires"
    assert "'tokens'" in str(caught.value)
    assert "setsail>=0.9" in str(caught.value)


def test_an_environment_that_is_not_canonical() -> None:
    with pytest.raises(SetsailError) as caught:
        read_buffer(memoryview(with_member(assemble(small()), "environment.json", b'{"a": 1}')))
    assert caught.value.code == "artifact.json"


def test_in_a_terminal(path: Path) -> None:
    with read(path) as artifact:
        text = repr(artifact)
    assert text.splitlines()[0].startswith("credit version 3   ")
    for part in ("scikit-learn 1.9.0 · Ridge (regressor)", "age:float32[N]", "prediction:float64[N]",
                 "onnx (onnx, float32)", "passed", f"setsail serve {path}"):  # fmt: skip
        assert part in text


def test_in_jupyter_and_terminal_a_strangers_text_is_only_text() -> None:
    whole = b"".join(pieces(assemble(small(estimator="<script>alert(1)</script>\x1b[2J"))))
    artifact: Artifact = read_buffer(memoryview(whole))
    assert "<script>" not in artifact._repr_html_()
    assert "&lt;script&gt;" in artifact._repr_html_()
    assert "\x1b" not in repr(artifact)
