"""A base image without Linux in it: what `targets/container` looks for, in a few kilobytes; and wheels as small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["FILES", "elf_file", "oci_layout", "root_tar", "saved", "tiny_wheel"]


def elf_file(machine: int = 62, needed: Sequence[str] = ()) -> bytes:
    """A 64-bit ELF file that has nothing but a dynamic section."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    at, where = 64 + 2 * 56, 0x1000
    tags = [(1, names.index(b"\0" + name.encode() + b"\0") + 1) for name in needed]
    tags += [(5, where + at + 16 * (len(tags) + 2)), (0, 0)]
    dynamic = b"".join(struct.pack("<qQ", *tag) for tag in tags)
    whole = at + len(dynamic) + len(names)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, where, where, whole, whole, 4096)
    section = struct.pack("<IIQQQQQQ", 2, 4, at, where + at, where + at, len(dynamic), len(dynamic), 8)
    return head + load + section + dynamic + names


_LIB = "usr/lib/x86_64-linux-gnu"
_STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
# name -> content; a text that begins with "->" is a link
FILES: Mapping[str, bytes | str] = {
    "bin": "->usr/bin",
    "usr/bin/python3": "->python3.11",
    "usr/bin/python3.11": elf_file(),
    **{f"usr/lib/python3.11/{n}": b"" for n in ("asyncio/__init__.py", "ctypes/__init__.py", "email/__init__.py",
                                                "json/__init__.py", "ssl.py")},
    f"{_LIB}/libc.so.6": b"...GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n",
    "etc/os-release": b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "var/lib/dpkg/status": _STATUS,
    "usr/share/doc/libc6/copyright": b"Format: x\n\nFiles: *\nLicense: LGPL-2.1\n\nFiles: y\nLicense: GPL-2\n text\n",
}  # fmt: skip


def root_tar(path: Path, files: Mapping[str, bytes | str | None] = FILES) -> Path:
    """A root file system; None leaves a file out."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            if content is None:
                continue
            info = tarfile.TarInfo(f"./{name}")
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content.removeprefix("->")
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
    return path


def _layer(files: Mapping[str, bytes | str | None], folder: Path) -> tuple[bytes, str]:
    raw = root_tar(folder / "layer.tar", files).read_bytes()
    return raw, "sha256:" + hashlib.sha256(raw).hexdigest()


def _config(*diff_ids: str) -> bytes:
    return json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin", "FOO=bar"], "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }).encode()  # fmt: skip


def oci_layout(folder: Path, *layers: Mapping[str, bytes | str | None]) -> dict[str, bytes]:
    """An OCI layout as name -> content; written into `folder` too. Its layers are compressed."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    folder.mkdir(parents=True, exist_ok=True)
    made = [_layer(files, folder) for files in layers or (FILES,)]
    (folder / "layer.tar").unlink()
    config = blob(_config(*(diff_id for _, diff_id in made)), "config.v1+json")
    entries = [blob(gzip.compress(raw, mtime=0), "layer.v1.tar+gzip") for raw, _ in made]
    manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": entries}).encode()
    platforms = [{"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "s390x"}]
    index = {"schemaVersion": 2, "manifests": [blob(manifest, "manifest.v1+json") | {"platform": p} for p in platforms]}
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def saved(path: Path) -> Path:
    """What `docker save` wrote before version 25."""
    raw, diff_id = _layer(FILES, path.parent)
    with tarfile.open(path, "w") as tar:
        told = json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}]).encode()
        for name, data in (("c.json", _config(diff_id)), ("l/layer.tar", raw), ("manifest.json", told)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def tiny_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, bytes] | None = None, spoilt: str = ""
) -> Path:
    """A wheel of a package of one module, or of the files given; `spoilt` has other bytes than its record says."""
    info = f"{name}-{version}.dist-info"
    inner = dict(files or {f"{name}/__init__.py": b"x = 1\n"})
    about = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n"
    inner |= {f"{info}/METADATA": about.encode(), f"{info}/WHEEL": b"Wheel-Version: 1.0\n"}
    rows = []
    for place, data in inner.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{place},sha256={digest},{len(data)}")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for place, data in inner.items():
            archive.writestr(zipfile.ZipInfo(place), data + (b"!" if place == spoilt else b""))
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join([*rows, f"{info}/RECORD,,"]))
    return path
