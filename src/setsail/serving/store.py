"""The folders that clients may register models from, and what is found in them.

A client names a file; it never says where to look. What it says is looked up below a folder that the operator allowed,
with every link followed first: a name that leads out of that folder, by `..` or by a link anywhere on its way or inside
what it names, is refused before anything is opened. Nothing is ever fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from msgspec import Struct

from setsail import artifact as artifacts
from setsail.artifact import Artifact
from setsail.catalog import Registered
from setsail.errors import SetsailError
from setsail.serving.hosting import Host, Hosted

__all__ = ["SUFFIX", "Packer", "Store", "opened_at"]

SUFFIX: Final = ".setsail"
_MAR: Final = ".mar"
_ARCHIVE: Final = "setsail.serving.archive"  # what it needs takes time to import, and few register models
_URLS: Final = "urllib.parse"
Packer = Callable[[Path], Path]


class Store:
    """Allowed folders, the first of which that has a file is where it is found.

    Args:
        pack: turns a model that is no artifact into the path of one; without it only artifacts can be registered.
        host: makes a model of a path that is code; without it code is refused.
    """

    def __init__(self, pack: Packer | None = None, host: Host | None = None) -> None:
        self._pack, self._host = pack, host
        self._folders: list[Path] = []

    @property
    def folders(self) -> tuple[Path, ...]:
        return tuple(self._folders)

    def allow(self, folder: Path) -> None:
        """Let models be registered from a folder."""
        resolved = folder.resolve()
        if resolved not in self._folders:
            self._folders.append(resolved)

    def locate(self, url: str, name: str = "", version: int | None = None) -> Registered:
        """The artifact that a client means, and what it is called: as asked, as its folders say, as it says itself.

        An artifact beside an archive of TorchServe (`x.setsail`, `x.mar`) stands for it.

        Raises:
            SetsailError: as `catalog.Locate`, and what reading or packing it raises.
        """
        place = self._beside(url) or self.find(url)
        named = self._by_folders(place)
        if (hosted := self.hosted(place)) is not None:
            return Registered(name or named.name or hosted.name, version or named.version or hosted.version, str(place))
        path = _only_file(place)
        artifact = path if path.suffix == SUFFIX else self._packed(path)
        with artifacts.read(artifact) as opened:
            return Registered(name or named.name or opened.name, version or named.version or opened.version,
                              str(artifact))  # fmt: skip

    def hosted(self, place: Path) -> Hosted | None:
        """The model of a place that is code; None for any other. Raises what keeps it from being run."""
        if self._host is None:
            import_module(_ARCHIVE).refuse(place)
            return None
        return self._host(place) if place.suffix != SUFFIX else None

    def find(self, url: str) -> Path:
        """The file or folder that a client means, links followed. Raises `store.none`, `.outside` or `.missing`."""
        if not self._folders:
            raise _none(url)
        wanted = _path(url)
        if os.path.isabs(wanted):
            inside = [(place, f) for place, f in self._places(wanted) if place.is_relative_to(f) and place != f]
            if not inside:
                raise _outside(url, "is outside the model store")
        else:
            inside = [(place, f) for place, f in self._places(wanted) if os.path.lexists(f / wanted)]
        for place, folder in inside:
            if not place.is_relative_to(folder) or place == folder:
                raise _outside(url, "leads out of the model store")
            if place.is_file() or place.is_dir():  # anything else, a pipe for one, could be read for ever
                _check_links(place, folder, url)
                return place
        raise SetsailError("store.missing", "the model store has no such file", field="url", value=url, url=url)

    def _places(self, wanted: str) -> list[tuple[Path, Path]]:
        """Below each folder the path with every link followed; an absolute path stands for itself."""
        return [(Path(os.path.realpath(folder / wanted)), folder) for folder in self._folders]

    def _beside(self, url: str) -> Path | None:
        """The artifact that stands for an archive; None where there is none, or `url` means something else."""
        if not url.endswith(_MAR):
            return None
        try:
            return self.find(url.removesuffix(_MAR) + SUFFIX)
        except SetsailError:
            return None

    def base(self, path: str) -> Path:
        """A folder of versions, which may come later. Raises `store.none` or `store.outside`."""
        if not self._folders:
            raise _none(path)
        resolved = Path(os.path.realpath(_path(path)))
        if not any(resolved.is_relative_to(folder) for folder in self._folders):
            raise _outside(path, "is outside the folders that models may come from")
        return resolved

    def _packed(self, path: Path) -> Path:
        if self._pack is None:
            raise SetsailError("store.source", f"{path.name} is no artifact", field="url", value=path.name,
                               expected=f"a file *{SUFFIX}")  # fmt: skip
        return self._pack(path)

    def _by_folders(self, place: Path) -> _Named:
        """`credit/3.setsail` and `credit/3` below an allowed folder are version 3 of credit."""
        folder = next(f for f in self._folders if place.is_relative_to(f))
        parts = place.relative_to(folder).parts
        version = parts[-1].removesuffix(SUFFIX) if len(parts) == 2 else ""
        if version.isascii() and version.isdigit() and int(version) > 0:
            return _Named(parts[0], int(version))
        return _Named()


class _Named(Struct, frozen=True):
    name: str = ""
    version: int | None = None


# -- paths -------------------------------------------------------------------------------------------------------------


def _path(url: str) -> str:
    """What a client says as a path. Raises `store.outside` for what is none of a local file."""
    if not url or "\0" in url:
        raise _outside(url, "is no file's name")
    path = url
    if "://" in url:
        urls = import_module(_URLS)
        try:
            split = urls.urlsplit(url)
        except ValueError:  # a host that is none
            raise _outside(url, "is fetched from nowhere", remote=True) from None
        if split.scheme.lower() != "file" or split.netloc not in ("", "localhost"):
            raise _outside(url, "is fetched from nowhere", remote=True)
        path = urls.unquote(split.path)
    if ".." in Path(path).parts or "\0" in path:
        raise _outside(url, "leads upwards")
    return path


def _check_links(found: Path, folder: Path, url: str) -> None:
    """What a folder holds must not lead out either."""
    for parent, folders, files in os.walk(found):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(folder):
                raise _outside(url, "holds a link that leads out of the model store")


def _only_file(place: Path) -> Path:
    """The one model in a folder, where there is only one; else the folder."""
    if not place.is_dir():
        return place
    inside = [p for p in place.iterdir() if not p.name.startswith(".")]
    ours = [p for p in inside if p.suffix == SUFFIX]
    if len(ours) == 1:
        return ours[0]
    return inside[0] if len(inside) == 1 else place


def _none(url: str) -> SetsailError:
    return SetsailError("store.none", "no folder is a model store here", field="url", value=url, url=url)


def _outside(url: str, how: str, *, remote: bool = False) -> SetsailError:
    todo = "copy the file into the model store, and name it by its file name" if remote else None
    return SetsailError("store.outside", f"the place {how}", field="url", value=url,
                        expected="a file's name in the model store", todo=todo, url=url, remote=remote)  # fmt: skip


def opened_at(path: Path, host: Host | None) -> Artifact | Hosted:
    """What is at a path: code, or an artifact. Raises what `host` and `artifact.read` raise."""
    hosted = host(path) if host is not None and path.suffix != SUFFIX else None
    return artifacts.read(path) if hosted is None else hosted
