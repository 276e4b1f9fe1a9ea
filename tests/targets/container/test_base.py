"""Bases: every form they come in, and every one that is none."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from fake_base import FILES, elf_file, oci_layout, root_tar, saved
from image_registry import ImageRegistry

from setsail.errors import SetsailError
from setsail.targets.container.base import Base, open_base


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))


def refused(path: object) -> SetsailError:
    with pytest.raises(SetsailError) as fault:
        open_base(str(path), "amd64")
    return fault.value


def check(base: Base) -> None:
    facts = base.facts
    assert (facts.architecture, facts.python, facts.version, facts.glibc) == (
        "amd64", "/usr/bin/python3.11", (3, 11), (2, 36)
    )  # fmt: skip
    assert facts.packages == (("libc6", "2.36-9", "amd64", "GPL-2; LGPL-2.1"),)
    assert "libc.so.6" in facts.libraries


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_root_file_system(tmp_path: Path, ending: str) -> None:
    path = root_tar(tmp_path / f"root{ending}")
    if ending == ".tar.gz":
        path.write_bytes(gzip.compress(path.read_bytes()))
    check(open_base(str(path)))


def test_a_folder(tmp_path: Path) -> None:
    with tarfile.open(root_tar(tmp_path / "root.tar")) as tar:
        tar.extractall(tmp_path / "root", filter="tar")
    base = open_base(str(tmp_path / "root"))
    check(base)
    assert base.layers == open_base(str(tmp_path / "root")).layers


def test_an_oci_layout_as_a_folder_and_as_a_tar(tmp_path: Path) -> None:
    files = oci_layout(tmp_path / "layout")
    found = open_base(str(tmp_path / "layout"), "amd64")
    check(found)
    assert found.path == "/usr/bin"
    with tarfile.open(tmp_path / "layout.tar", "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    packed = open_base(str(tmp_path / "layout.tar"), "amd64")
    assert (packed.layers, packed.digest) == (found.layers, found.digest)


def test_what_docker_saved(tmp_path: Path) -> None:
    check(open_base(str(saved(tmp_path / "saved.tar"))))


def test_an_image_of_a_registry(tmp_path: Path) -> None:
    files = oci_layout(tmp_path / "layout")
    with ImageRegistry() as registry:
        registry.manifests["1"] = ("application/vnd.oci.image.index.v1+json", files["index.json"])
        for name, data in files.items():
            if name.startswith("blobs/"):
                digest = f"sha256:{name.rpartition('/')[2]}"
                registry.blobs[digest] = data
                registry.manifests[digest] = ("application/vnd.oci.image.manifest.v1+json", data)
        check(open_base(f"{registry.host}/team/python:1", "amd64"))
        before = len(registry.asked)
        check(open_base(f"{registry.host}/team/python:1", "amd64"))  # layers are kept
        assert len(registry.asked) - before == 3
        assert refused(f"{registry.host}/team/python:2").code == "ship.fetch"


def test_later_layers_remove_what_earlier_ones_have(tmp_path: Path) -> None:
    oci_layout(tmp_path / "layout", FILES, {"usr/bin/.wh.python3.11": b""})
    assert "no Python" in refused(tmp_path / "layout").what
    oci_layout(tmp_path / "opaque", FILES, {"usr/lib/python3.11/.wh..wh..opq": b""})
    assert "standard library" in refused(tmp_path / "opaque").what


def without(*names: str, **files: bytes) -> dict[str, bytes | str | None]:
    return {**FILES, **dict.fromkeys(names), **files}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (without("usr/bin/python3", "usr/bin/python3.11"), "no Python"),
        ({**FILES, "usr/bin/python3": "->python3.9", "usr/bin/python3.9": elf_file(), "usr/bin/python3.11": None},
         "no Python"),
        (without("usr/lib/python3.11/ssl.py"), "standard library"),
        (without("usr/lib/x86_64-linux-gnu/libc.so.6"), "GNU C library"),
        ({**FILES, "usr/bin/python3.11": elf_file(machine=243)}, "GNU C library"),
        ({**FILES, "usr/bin/python3": "->python3", "usr/bin/python3.11": None}, "no Python"),
    ],
)  # fmt: skip
def test_what_is_no_base(tmp_path: Path, files: dict[str, bytes | str | None], said: str) -> None:
    fault = refused(root_tar(tmp_path / "root.tar", files))
    assert fault.code == "ship.base"
    assert said in fault.what


def test_files_that_are_no_image(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no tar at all")
    assert refused(tmp_path / "text.tar").code == "ship.base"
    assert refused(tmp_path / "missing.tar").code == "ship.base"
    with tarfile.open(tmp_path / "outside.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../etc/passwd"))
    assert "cannot be read" in refused(tmp_path / "outside.tar").what


def test_a_blob_with_other_bytes_is_refused_and_not_kept(tmp_path: Path) -> None:
    files = oci_layout(tmp_path / "layout")
    largest = max((n for n in files if n.startswith("blobs/")), key=lambda n: len(files[n]))
    (tmp_path / "layout" / largest).write_bytes(gzip.compress(b"something else"))
    assert refused(tmp_path / "layout").code == "ship.base"
    assert not list((tmp_path / "cache/blobs").glob("*"))
    (tmp_path / "layout" / largest).write_bytes(files[largest])
    check(open_base(str(tmp_path / "layout"), "amd64"))


def test_no_image_for_the_architecture(tmp_path: Path) -> None:
    oci_layout(tmp_path / "layout")
    with pytest.raises(SetsailError) as fault:
        open_base(str(tmp_path / "layout"), "arm64")
    assert "linux/arm64" in fault.value.what
