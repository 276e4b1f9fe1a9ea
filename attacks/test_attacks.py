"""Every attack is refused with its own code, and leaves nothing behind. See README.md for what each one tries."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import archives
import programs
import pytest
from drafts import small
from forge import archive, records

from setsail.artifact import read
from setsail.artifact.gate import GateLimits, inspect, inspect_path
from setsail.artifact.read import read_buffer
from setsail.artifact.write import assemble, pieces
from setsail.errors import SetsailError

MEMBERS = assemble(small())
# The defaults are 20 and 200 times these; the bombs are small to match.
LIMITS = GateLimits(messages=50_000, fields=50_000)


def test_the_forger_writes_a_good_file_when_it_does_not_lie() -> None:
    assert archive(records(MEMBERS)) == b"".join(pieces(MEMBERS))


@pytest.mark.parametrize("name", archives.ATTACKS)
def test_hostile_artifact(name: str, tmp_path: Path) -> None:
    code, make = archives.ATTACKS[name]
    path = tmp_path / "hostile.setsail"
    path.write_bytes(make(MEMBERS))
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(SetsailError) as caught:
        read(path)
    assert caught.value.code == code, str(caught.value)
    del caught
    assert os.listdir(tmp_path) == ["hostile.setsail"]
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_every_prefix_is_refused() -> None:
    whole = b"".join(pieces(MEMBERS))
    read_buffer(memoryview(whole))
    for length in range(len(whole)):
        with pytest.raises(SetsailError) as caught:
            read_buffer(memoryview(whole)[:length])
        assert caught.value.code == "artifact.truncated", f"{length} bytes: {caught.value}"


def test_every_flipped_bit_is_refused() -> None:
    whole = bytearray(b"".join(pieces(assemble(small(samples={}, reference=None, notes=())))))
    view = memoryview(whole)
    read_buffer(view)
    passed = []
    for position in range(len(whole)):
        for bit in range(8):
            whole[position] ^= 1 << bit
            with suppress(SetsailError):
                read_buffer(view)
                passed.append((position, bit))
            whole[position] ^= 1 << bit
    assert passed == []


@pytest.mark.parametrize("name", programs.ATTACKS)
def test_hostile_program(name: str) -> None:
    code, make = programs.ATTACKS[name]
    with pytest.raises(SetsailError) as caught:
        inspect(make(), "model.onnx", LIMITS)
    assert caught.value.code == code, str(caught.value)


def _model_with(folder: Path, location: str) -> Path:
    (folder / "model").mkdir()
    (folder / "secret").write_bytes(b"s" * 64)
    path = folder / "model" / "m.onnx"
    made = programs.model(programs.graph(tensors=[programs.external(location=location)]))
    path.write_bytes(made.SerializeToString())
    return path


def test_external_weights_beside_the_model_are_fine(tmp_path: Path) -> None:
    path = _model_with(tmp_path, "parts/w.bin")
    (path.parent / "parts").mkdir()
    (path.parent / "parts" / "w.bin").write_bytes(b"w" * 64)
    assert inspect_path(path).external == ("parts/w.bin",)


def _hard(path: Path) -> None:
    os.link(path.parent.parent / "secret", path.parent / "w.bin")


def _symbolic(path: Path) -> None:
    (path.parent / "w.bin").symlink_to("../secret")


def _dangling(path: Path) -> None:
    (path.parent / "w.bin").symlink_to("nowhere")


def _pipe(path: Path) -> None:
    os.mkfifo(path.parent / "w.bin")


def _folder(path: Path) -> None:
    (path.parent / "w.bin").mkdir()


@pytest.mark.parametrize("trick", [_hard, _symbolic, _dangling, _pipe, _folder])
def test_external_weights_that_are_something_else(trick, tmp_path: Path) -> None:
    path = _model_with(tmp_path, "w.bin")
    trick(path)
    with pytest.raises(SetsailError) as caught:
        inspect_path(path)
    assert caught.value.code == "program.external"


def test_a_linked_folder_on_the_way(tmp_path: Path) -> None:
    path = _model_with(tmp_path, "parts/secret")
    (path.parent / "parts").symlink_to("..")
    with pytest.raises(SetsailError) as caught:
        inspect_path(path)
    assert caught.value.code == "program.external"
