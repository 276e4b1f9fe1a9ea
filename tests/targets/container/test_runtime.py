"""Wheels laid out as a layer: what is left out, what is refused, and that compiling is repeatable."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import httptools
import pytest
from fake_base import FILES, elf_file, root_tar, tiny_wheel

from setsail.errors import SetsailError
from setsail.targets.container import elf, runtime
from setsail.targets.container.base import Base, open_base
from setsail.targets.container.layers import Entry, pack, write
from setsail.targets.container.wheels import Wheel

SITE = "opt/setsail/lib/python3.11/site-packages"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "compiler", lambda base: None)
    return open_base(str(root_tar(tmp_path / "base.tar", FILES)))


def wheel(folder: Path, files: Mapping[str, bytes], spoilt: str = "", name: str = "one", version: str = "1.0") -> Wheel:
    path = tiny_wheel(folder, name, version, files, spoilt)
    return Wheel(name, version, path, hashlib.sha256(path.read_bytes()).hexdigest(), "MIT")


def names(base: Base, one: Wheel) -> list[str]:
    with tarfile.open(runtime.layer(base, [one], "x").path) as tar:
        return [i.name.removeprefix(f"{SITE}/") for i in tar if i.isfile()]


def test_tests_headers_stubs_and_tools_are_left_out(base: Base, tmp_path: Path) -> None:
    files = {
        "one/__init__.py": b"", "one/tests/test_a.py": b"", "one/a.pyi": b"", "one/a.h": b"", "one/testing/b.py": b"",
        "one-1.0.data/scripts/tool": b"", "one-1.0.data/platlib/one/c.py": b"", "one/tests.py": b"",
    }  # fmt: skip
    found = [n for n in names(base, wheel(tmp_path, files)) if "dist-info" not in n]
    assert found == ["one/__init__.py", "one/c.py", "one/testing/b.py", "one/tests.py"]
    files = {"onnxruntime/tools/x.py": b"", "onnxruntime/capi/libonnxruntime.so.1.2": b"", "onnxruntime/capi/x.py": b""}
    found = [n for n in names(base, wheel(tmp_path, files, name="onnxruntime")) if "dist-info" not in n]
    assert found == ["onnxruntime/capi/x.py"]


@pytest.mark.parametrize(("version", "whole"), [("1.15.3", True), ("1.16.0", False), ("1.17.1", False)])
def test_of_scipy_boosters_get_what_they_import(base: Base, tmp_path: Path, version: str, whole: bool) -> None:
    """Sparse tables import the rest of scipy only when it is asked for, since 1.16."""
    files = dict.fromkeys(("scipy/__init__.py", "scipy/_lib/a.py", "scipy/sparse/a.py", "scipy/sparse/linalg/a.py",
                           "scipy/stats/a.py", "scipy.libs/libopenblas.so"), b"")  # fmt: skip
    one = wheel(tmp_path, files, name="scipy", version=version)
    found = {n for n in names(base, one) if "dist-info" not in n}
    assert found == set(files if whole else ["scipy/__init__.py", "scipy/_lib/a.py", "scipy/sparse/a.py"])


def test_what_only_a_debugger_reads_is_left_out(base: Base, tmp_path: Path) -> None:
    library = elf_file(needed=["libc.so.6"])
    with_symbols = library + b"\1" * 500
    with_symbols = with_symbols[:40] + len(library).to_bytes(8, "little") + with_symbols[48:]  # where its sections are
    layer = runtime.layer(base, [wheel(tmp_path, {"one/a.so": with_symbols, "one/b.txt": with_symbols})], "x")
    with tarfile.open(layer.path) as tar:
        sizes = {i.name.rpartition("/")[2]: i.size for i in tar}
        bare = tar.extractfile(f"{SITE}/one/a.so")
        assert bare is not None
        assert elf.needed(bare.read()) == ["libc.so.6"]
    assert (sizes["a.so"], sizes["b.txt"]) == (len(library), len(library) + 500)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's files")
def test_libraries_work_without_their_symbols(tmp_path: Path) -> None:
    shutil.copytree(Path(httptools.__file__).parent, tmp_path / "httptools")
    for path in tmp_path.rglob("*.so"):
        path.write_bytes(elf.bare(path.read_bytes()))
    line = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import httptools; print(httptools.parse_url(b'/a?b').path)"
    )
    ended = subprocess.run([sys.executable, "-S", "-c", line], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.returncode) == ("b'/a'\n", 0), ended.stderr


def test_a_docker_build_leaves_out_the_same(base: Base, tmp_path: Path) -> None:
    """The two scripts of the context, on what pip laid out, with nothing of ours to import."""
    library = elf_file(needed=["libc.so.6"])
    symbols = library[:40] + len(library).to_bytes(8, "little") + library[48:] + b"\1" * 500
    files = {"onnxruntime/tools/x.py": b"", "onnxruntime/capi/libonnxruntime.so.1.2": b"", "onnxruntime/a.pyi": b"",
             "onnxruntime/capi/x.so": symbols, "onnxruntime/tests/x.py": b"", "onnxruntime/a.py": b""}  # fmt: skip
    one = wheel(tmp_path, files, name="onnxruntime")
    site = tmp_path / "site"
    for name, data in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(data)
    for name in ("slim.py", "elf.py"):
        shutil.copy(Path(runtime.__file__).with_name(name), tmp_path)
    words = [sys.executable, "-S", str(tmp_path / "slim.py"), str(site), *runtime.left_out(one)]
    subprocess.run(words, check=True, timeout=60, cwd="/")
    left = {p.relative_to(site).as_posix(): p.read_bytes() for p in site.rglob("*") if p.is_file()}
    assert sorted(left) == sorted(n for n in names(base, one) if "dist-info" not in n)
    assert elf.needed(left["onnxruntime/capi/x.so"]) == ["libc.so.6"]
    assert len(left["onnxruntime/capi/x.so"]) == len(library)


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_damaged_library_stays_as_it_is(cut: int) -> None:
    library = elf_file(needed=["libm.so.6"])[:cut]
    assert elf.bare(library) == library


def test_a_file_that_is_not_the_recorded_one_is_refused(base: Base, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as fault:
        runtime.layer(base, [wheel(tmp_path, {"one/a.py": b"x"}, spoilt="one/a.py")], "x")
    assert (fault.value.code, fault.value.field) == ("ship.fetch", "one/a.py")


@pytest.mark.parametrize("name", ["../outside.py", "/etc/passwd", "one/../../x.py"])
def test_a_name_that_leads_outside_is_refused(base: Base, tmp_path: Path, name: str) -> None:
    with pytest.raises(SetsailError) as fault:
        runtime.layer(base, [wheel(tmp_path, {name: b"x"})], "x")
    assert fault.value.code == "ship.fetch"


def test_a_library_that_the_base_lacks_is_named(base: Base, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as fault:
        runtime.layer(base, [wheel(tmp_path, {"one/a.so": elf_file(needed=["libc.so.6", "libgomp.so.1"])})], "x")
    assert (fault.value.code, fault.value.value) == ("ship.base", "'libgomp.so.1'")
    own = {"one/a.so": elf_file(needed=["libown-12.so.3"]), "one.libs/libown-12.so.3": elf_file(needed=["libc.so.6"])}
    assert "one/a.so" in names(base, wheel(tmp_path, own))


def test_a_library_for_another_processor_is_refused(base: Base, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as fault:
        runtime.layer(base, [wheel(tmp_path, {"one/a.so": elf_file(machine=183)})], "x")
    assert "another processor" in fault.value.what


def test_compiling_twice_gives_the_same_bytes_and_no_time(tmp_path: Path) -> None:
    source = b"import os\nA = {'x', 'y', 'z'}\ndef f(a):\n    return a in {'p', 'q', 'r'}, 'x', os.sep\n"
    found = []
    for n in ("a", "b"):
        for name in ("one.py", "two.py", "broken.py"):
            (tmp_path / n).mkdir(exist_ok=True)
            (tmp_path / n / name).write_bytes(b"def (" if name == "broken.py" else source)
        runtime._compile(sys.executable, tmp_path / n, "/opt/x")
        found.append({p.name: p.read_bytes() for p in (tmp_path / n / "__pycache__").iterdir()})
    assert found[0] == found[1]
    assert sorted(name.split(".")[0] for name in found[0]) == ["one", "two"]
    for data in found[0].values():
        assert data[4:8] == b"\x01\0\0\0"  # PEP 552: by hash, which is not checked


def test_elf_files_say_what_they_need() -> None:
    assert elf.needed(elf_file(needed=["libm.so.6", "libstdc++.so.6"])) == ["libm.so.6", "libstdc++.so.6"]
    assert elf.needed(elf_file()) == []
    assert (elf.machine(elf_file()), elf.machine(elf_file(machine=183))) == ("amd64", "arm64")
    assert elf.machine(elf_file(machine=243)) is None
    assert elf.machine(b"#!/bin/sh\n") is None


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_damaged_elf_file_is_no_fault_of_ours(cut: int) -> None:
    assert isinstance(elf.needed(elf_file(needed=["libm.so.6"])[:cut]), list)


def test_weights_that_do_not_shrink_are_left_as_they_are(tmp_path: Path) -> None:
    noise, text = hashlib.shake_256(b"x").digest(100_000), b"weights " * 10_000
    found = {
        name: write(lambda file, data=data: pack([Entry("a", data)], file), tmp_path / name, "x", worth=True)  # type: ignore[misc]
        for name, data in (("noise", noise), ("text", text))
    }
    assert found["noise"].media_type == "application/vnd.oci.image.layer.v1.tar"
    assert found["noise"].digest == found["noise"].diff_id
    assert found["text"].media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert found["text"].size < 2_000


def test_a_layer_has_its_folders_first_and_nobodys_name() -> None:
    file = io.BytesIO()
    pack([Entry("b/c/d", b"1", executable=True), Entry("a", target="b")], file)
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        found = [(i.name, i.type, oct(i.mode), i.uid, i.uname, i.mtime) for i in tar]
    assert found == [
        ("a", tarfile.SYMTYPE, "0o777", 0, "", 0), ("b", tarfile.DIRTYPE, "0o755", 0, "", 0),
        ("b/c", tarfile.DIRTYPE, "0o755", 0, "", 0), ("b/c/d", tarfile.REGTYPE, "0o755", 0, "", 0),
    ]  # fmt: skip
