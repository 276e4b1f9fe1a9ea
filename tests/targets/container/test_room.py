"""Unpacking: layers over each other, and never out of the folder."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from setsail.errors import SetsailError
from setsail.targets.container.image import Image
from setsail.targets.container.layers import PLAIN, Layer
from setsail.targets.container.room import Room, unpack


def layer(folder: Path, number: int, *files: tuple[str, str | None]) -> Layer:
    """Files with a content; `->x` is a link to x, `=>x` a hard one, None a folder."""
    path = folder / f"{number}.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            info, data = tarfile.TarInfo(name), (content or "").encode()
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            elif content[:2] in ("->", "=>"):
                info.type = tarfile.SYMTYPE if content[0] == "-" else tarfile.LNKTYPE
                info.linkname, data = content[2:], b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return Layer(path, "", 0, "", 0, PLAIN, "")


def laid(folder: Path, *layers: Layer) -> Path:
    root = folder / "root"
    root.mkdir()
    unpack(Image("x:1", layers, b"{}", b"{}"), root)
    return root


def test_layers_lie_over_each_other(tmp_path: Path) -> None:
    root = laid(
        tmp_path,
        layer(tmp_path, 1, ("usr/lib", None), ("lib", "->usr/lib"), ("usr/lib/a", "1"), ("etc/x", "x"), ("etc/y", "y")),
        layer(tmp_path, 2, ("lib/b", "2"), ("etc/.wh.x", ""), ("usr/lib/a", "3"), ("lib", None)),
        layer(tmp_path, 3, ("etc/.wh..wh..opq", ""), ("etc/z", "z"), ("usr/hard", "=>usr/lib/a")),
    )
    assert (root / "lib").is_symlink()
    assert ((root / "usr/lib/a").read_text(), (root / "usr/lib/b").read_text()) == ("3", "2")
    assert sorted(p.name for p in (root / "etc").iterdir()) == ["z"]
    assert (root / "usr/hard").samefile(root / "usr/lib/a")


def test_links_are_followed_inside_and_never_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = laid(
        tmp_path,
        layer(tmp_path, 1, ("a", f"->{outside}"), ("a/evil", "1"), ("b", "->../../outside"), ("b/evil", "2")),
    )
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "evil").read_text() == "1"
    assert (root / "outside/evil").read_text() == "2"


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as fault:
        laid(tmp_path, layer(tmp_path, 1, ("a", "->b"), ("b", "->a"), ("a/x", "1")))
    assert fault.value.code == "ship.base"


def test_an_image_that_does_not_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = b'{"config": {"Env": [], "Entrypoint": ["/nowhere"], "Cmd": [], "User": "1:1"}}'
    with Room(Image("x:1", (layer(tmp_path, 1, ("etc", None)),), config, b"{}")) as room:
        monkeypatch.setattr("setsail.targets.container.room._unshared", lambda: ["env"])
        monkeypatch.setattr("setsail.targets.container.room._SCRIPT", 'echo "cannot: $3" >&2; exit 3')
        with pytest.raises(SetsailError) as fault:
            room.serve()
    assert fault.value.code == "ship.run"
    assert "cannot" in fault.value.what
