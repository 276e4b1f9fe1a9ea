"""The file tree that the layers of an image make together, read from their tars and never unpacked."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from setsail.errors import SetsailError

__all__ = ["OPAQUE", "WHITEOUT", "Node", "Tree", "members"]

WHITEOUT: Final = ".wh."  # `.wh.name` removes a name of the layers below, `.wh..wh..opq` all of a folder
OPAQUE: Final = ".wh..wh..opq"
_LINKS: Final = 40
_LARGEST: Final = 64 << 20  # bytes of a file that is read whole


@dataclass(frozen=True, slots=True)
class Node:
    """One file of the tree: in which layer it is, and of a link where to."""

    layer: int
    kind: str  # "file", "folder", "link", "hard" (a link to a name of the same layer) or "other"
    size: int
    target: str = ""


class Tree:
    """Names without a leading slash -> nodes; what later layers say counts."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self._layers = layers
        self.nodes: dict[str, Node] = {}
        for number, path in enumerate(layers):
            removed: list[str] = []
            found: dict[str, Node] = {}
            for name, info in members(path):
                parent, _, last = name.rpartition("/")
                if last == OPAQUE:
                    removed.append(f"{parent}/")
                elif last.startswith(WHITEOUT):
                    gone = f"{parent}/{last.removeprefix(WHITEOUT)}".lstrip("/")
                    removed += [gone, f"{gone}/"]
                else:
                    found[name] = _node(number, info)
            self._remove(removed)
            self.nodes |= found

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            for there in [n for n in self.nodes if n == name or (name.endswith("/") and n.startswith(name))]:
                del self.nodes[there]

    def resolve(self, path: str) -> str | None:
        """The name that a path leads to when links are followed, or None where it leads nowhere."""
        done, left = "", [part for part in path.split("/") if part]
        for _ in range(_LINKS * 8):
            if not left:
                return done if done in self.nodes or not done else None
            part = left.pop(0)
            if part in (".", ".."):
                done = done.rpartition("/")[0] if part == ".." else done
                continue
            here = f"{done}/{part}".lstrip("/")
            node = self.nodes.get(here)
            if node is not None and node.kind in ("link", "hard"):
                left = [p for p in node.target.split("/") if p] + left
                done = "" if node.target.startswith("/") or node.kind == "hard" else done
            else:
                done = here
        return None

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of files, by the names they were asked for with; what is not there is left out."""
        wanted: dict[int, dict[str, list[str]]] = {}
        for name in names:
            real = self.resolve(name)
            node = self.nodes.get(real or "")
            if real is not None and node is not None and node.kind == "file" and node.size <= _LARGEST:
                wanted.setdefault(node.layer, {}).setdefault(real, []).append(name)
        found: dict[str, bytes] = {}
        for number, files in wanted.items():
            found |= _contents(self._layers[number], files)
        return found


def members(path: Path) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The members of a layer: clean names and headers.

    Raises:
        SetsailError: `ship.base` for what is no tar, or has names that lead outside.
    """
    try:
        with tarfile.open(path) as tar:
            for info in tar:
                if name := _clean(info.name):
                    yield name, info
    except (tarfile.TarError, OSError, EOFError, ValueError) as fault:
        raise SetsailError("ship.base", "a layer of the base image cannot be read", field="--base", value=path.name,
                           expected=f"a tar, plain or gzip ({fault})") from fault  # fmt: skip


def _clean(name: str) -> str:
    parts = PurePosixPath("/", name).parts[1:]
    if ".." in parts:
        raise ValueError(f"the name {name!r} leads outside")
    return "/".join(parts)


def _node(layer: int, info: tarfile.TarInfo) -> Node:
    if info.isdir():
        return Node(layer, "folder", 0)
    if info.issym():
        return Node(layer, "link", 0, info.linkname)
    if info.islnk():
        return Node(layer, "hard", 0, info.linkname)
    return Node(layer, "file" if info.isreg() else "other", info.size)


def _contents(layer: Path, wanted: Mapping[str, Sequence[str]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(layer) as tar:
        for info in tar:
            name = _clean(info.name)
            if info.isreg() and name in wanted and (stream := tar.extractfile(info)) is not None:
                content = stream.read()
                found |= dict.fromkeys(wanted[name], content)
    return found
