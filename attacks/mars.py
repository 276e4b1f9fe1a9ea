"""Archives of TorchServe that are none, or do not mean well: name -> what makes one at a path."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["ATTACKS", "manifest"]

Make = Callable[[Path], Path]


def manifest(**model: Any) -> bytes:
    told = {"modelName": "m", "handler": "handler.py", "modelVersion": "1.0", **model}
    return json.dumps({"runtime": "python", "model": told}).encode()


def _zip(*members: tuple[str | zipfile.ZipInfo, bytes], about: bytes | None = None) -> Make:
    """A zip with an honest manifest and these members beside it."""

    def make(path: Path) -> Path:
        path = path.with_suffix(".mar")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("MAR-INF/MANIFEST.json", manifest() if about is None else about)
            packed.writestr("handler.py", b"def handle(data, context): return data")
            for name, data in members:
                packed.writestr(name, data)
        return path

    return make


def _linked(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def _tar(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Make:
    def make(path: Path) -> Path:
        path = path.with_suffix(".tar.gz")
        with tarfile.open(path, "w:gz") as packed:
            for inner, data in (("m/MAR-INF/MANIFEST.json", manifest()), ("m/handler.py", b"")):
                info = tarfile.TarInfo(inner)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            packed.addfile(info)
        return path

    return make


def _lying(path: Path) -> Path:
    """Four GiB claimed in the directory."""
    made = _zip(("big.bin", b"0" * 1000))(path)
    data = bytearray(made.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = b"\xf0\xff\xff\xff"
    made.write_bytes(data)
    return made


def _cut(path: Path) -> Path:
    made = _zip()(path)
    made.write_bytes(made.read_bytes()[:-30])
    return made


def _folder(path: Path) -> Path:
    """The form without an archive, with a link out of it."""
    (path / "MAR-INF").mkdir(parents=True)
    (path / "MAR-INF/MANIFEST.json").write_bytes(manifest())
    (path / "handler.py").write_bytes(b"")
    os.symlink("/etc/passwd", path / "secret")
    return path


ATTACKS: Mapping[str, Make] = {
    "zip slip": _zip(("../canary", b"x")),
    "deep zip slip": _zip(("a/../../canary", b"x")),
    "absolute": _zip(("/tmp/setsail-canary", b"x")),
    "backslash": _zip(("..\\canary", b"x")),
    "drive letter": _zip(("c:canary", b"x")),
    "control character": _zip(("a\x1b[2J", b"x")),
    "link in a zip": _zip((_linked("weights"), b"/etc/passwd")),
    "link in a tar": _tar("m/weights", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link in a tar": _tar("m/weights", tarfile.LNKTYPE, "../../canary"),
    "device in a tar": _tar("m/weights", tarfile.CHRTYPE),
    "slip in a tar": _tar("m/../../canary"),
    "link in a folder": _folder,
    "a file as folder": _zip(("a", b"x"), ("a/b", b"x")),
    "four GiB claimed": _lying,
    "cut off": _cut,
    "manifest is no JSON": _zip(about=b"{"),
    "manifest nests": _zip(about=b"[" * 200_000),
    "manifest is huge": _zip(about=b" " * (2 << 20)),
    "no model": _zip(about=b"{}"),
    "handler is no text": _zip(about=manifest(handler=["a"])),
    "handler with an escape sequence": _zip(about=manifest(handler="a\x1b[2J")),
    "weights elsewhere": _zip(about=manifest(serializedFile="../../etc/passwd")),
    "requirements elsewhere": _zip(about=manifest(requirementsFile="/etc/passwd")),
}
