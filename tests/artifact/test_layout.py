"""The bytes around the payloads, held against stock zip tools."""

import mmap
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from drafts import small
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.artifact.layout import MANIFEST, SEAL, Entry, Limits, check_name, order, place, scan, tail
from setsail.artifact.write import assemble, pieces
from setsail.errors import SetsailError


def _whole() -> bytes:
    return b"".join(pieces(assemble(small())))


def test_every_payload_is_aligned_and_in_its_place() -> None:
    members, whole = assemble(small()), _whole()
    slots = scan(memoryview(whole), Limits())
    assert [slot.entry.name for slot in slots] == list(members)
    for slot in slots:
        assert slot.offset % 64 == 0
        assert whole[slot.offset : slot.end] == members[slot.entry.name]


def test_python_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.setsail"
    path.write_bytes(_whole())
    with zipfile.ZipFile(path) as stock:
        assert stock.testzip() is None
        assert {name: stock.read(name) for name in stock.namelist()} == assemble(small())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.setsail").write_bytes(_whole())
    done = subprocess.run(["unzip", "-q", "a.setsail", "-d", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name, payload in assemble(small()).items():
        assert (tmp_path / "out" / name).read_bytes() == payload


@given(st.lists(st.tuples(st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True), st.binary(max_size=300)), max_size=8))
def test_any_members_are_placed_and_found_again(chosen: list[tuple[str, bytes]]) -> None:
    members = {MANIFEST: b"{}", SEAL: b""} | {f"variants/v/{name}": data for name, data in chosen}
    members = {name: members[name] for name in order(list(members))}
    whole = b"".join(pieces(members))
    slots = scan(memoryview(whole), Limits())
    assert {s.entry.name: whole[s.offset : s.end] for s in slots} == members


def test_beyond_four_gigabytes_zip64_is_used_and_stock_readers_follow(tmp_path: Path) -> None:
    """A sparse file: one member over 4 GiB, so the members and the directory behind it need 64-bit offsets too."""
    entries = [Entry(MANIFEST, 2, zlib.crc32(b"{}")), Entry(SEAL, 0, 0), Entry("variants/v/big", (4 << 30) + 5, 0),
               Entry("variants/v/last", 4, zlib.crc32(b"last"))]  # fmt: skip
    path = tmp_path / "big.setsail"
    placed = list(place(entries))
    slots = [slot for slot, _ in placed]
    with path.open("wb") as file:
        for slot, header in placed:
            file.seek(slot.header)
            file.write(header)
        file.seek(slots[0].offset)
        file.write(b"{}")
        file.seek(slots[-1].offset)
        file.write(b"last" + tail(slots))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        view = memoryview(data)
        try:
            assert scan(view, Limits()) == slots
            with pytest.raises(SetsailError) as caught:
                scan(view, Limits(size=1 << 30))
            assert caught.value.code == "artifact.size"
            del caught
        finally:
            view.release()
    with zipfile.ZipFile(path) as stock:
        infos = stock.infolist()
        assert [(i.filename, i.file_size, i.header_offset) for i in infos] == [
            (s.entry.name, s.entry.length, s.header) for s in slots
        ]
        assert stock.read("variants/v/last") == b"last"


def test_sizes_just_below_four_gigabytes_stay_in_32_bits() -> None:
    def header(length: int) -> bytes:
        return next(place([Entry("card.md", length, 0)]))[1]

    assert header(0xFFFFFFFE)[4:6] == b"\x0a\x00"
    assert header(0xFFFFFFFF)[4:6] == b"\x2d\x00"


@pytest.mark.parametrize(
    "name", ["manifest.json", "variants/onnx-f64/model.onnx.data", "samples/example.safetensors", "variants/a/b/c.bin"]
)
def test_names_of_members(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "/", "variants", "variants/a", "variants//a", "variants/a/", "variants/a/..", "variants/a/b.", "samples/x.bin",
     "variants/a/" + "b" * 129, "variants/a" + "/b" * 130, "variants/con/x", "variants/a/b\n", "Manifest.json"],
)  # fmt: skip
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(SetsailError) as caught:
        check_name(name)
    assert caught.value.code == "artifact.member"


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_noise_is_refused_not_crashed_on(noise: bytes) -> None:
    for data in (noise, _HEAD + noise, noise + _TAIL, _HEAD + noise + _TAIL):
        with pytest.raises(SetsailError) as caught:
            scan(memoryview(data), Limits())
        assert caught.value.code.startswith("artifact.")


_HEAD = b"PK\3\4" + bytes(26) + b"manifest.json"
_TAIL = b"PK\5\6" + bytes(18)
