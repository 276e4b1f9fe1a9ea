"""Running an image here without an engine: its layers unpacked, a mount namespace, a changed root.

What a container runtime does, less what costs privileges everywhere: the root is mounted read-only, /tmp is a tmpfs,
the process is the image's user where we are root (and ourselves in a user namespace where we are not) and has only the
image's variables. Processes and the network are the machine's own. Linux and util-linux's `unshare` only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.targets.container.base import ARCHITECTURE
from setsail.targets.container.image import Image
from setsail.targets.container.tree import OPAQUE, WHITEOUT, members

__all__ = ["Room", "hindrance", "unpack"]

_TOOLS: Final = ("unshare", "mount", "chroot", "sh")
_SECONDS: Final = 300.0  # that an image may take until it is ready; far more than any needs
# $1 the root, $2 the user or "", the rest what runs. The root is bound to itself, so that it can be made read-only.
_SCRIPT: Final = """
set -e
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
for folder in proc dev; do mkdir -p "$root/$folder"; mount --rbind "/$folder" "$root/$folder"; done
mkdir -p "$root/tmp"; mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
if [ -n "$user" ]; then mount -o remount,bind,ro "$root"; exec chroot --userspec="$user" "$root" "$@"; fi
mount -o remount,bind,ro "$root" 2>/dev/null || true
exec chroot "$root" "$@"
"""


def hindrance(image: Image) -> str | None:
    """Why an image cannot be run here, or None."""
    architecture = json.loads(image.config)["architecture"]
    if not sys.platform.startswith("linux") or any(shutil.which(tool) is None for tool in _TOOLS):
        return "that needs Linux with util-linux"
    if architecture != ARCHITECTURE:
        return f"the image is for {architecture}, and this machine is {ARCHITECTURE}"
    tried = subprocess.run([*_unshared(), "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, text=True)
    if tried.returncode:
        return "this machine allows no namespaces: " + (tried.stderr.strip().splitlines() or ["no reason told"])[-1]
    return None


def _unshared() -> list[str]:
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *own, "--mount", "--propagation", "private"]


def unpack(image: Image, root: Path) -> None:
    """Lay the layers of an image over each other in an empty folder; devices are left out."""
    for layer in image.layers:
        names = [(name, info) for name, info in members(layer.path)]
        for name, _ in names:
            _white(root, name)
        with tarfile.open(layer.path) as tar:
            for name, info in names:
                if not name.rpartition("/")[2].startswith(WHITEOUT):
                    _place(root, name, info, tar)


def _white(root: Path, name: str) -> None:
    folder, _, last = name.rpartition("/")
    if last == OPAQUE:
        for there in _inside(root, folder).iterdir():
            _remove(there)
    elif last.startswith(WHITEOUT):
        _remove(_inside(root, folder) / last.removeprefix(WHITEOUT))


def _inside(root: Path, name: str) -> Path:
    """A folder of the tree, through the tree's own links, which may be absolute and never lead out of it."""
    place = root
    for _ in range(64):
        for number, part in enumerate(parts := [p for p in name.split("/") if p]):
            place = place / part
            if place.is_symlink():
                target = os.readlink(place)
                rest = "/".join(parts[number + 1 :])
                where = "" if target.startswith("/") else place.parent.relative_to(root).as_posix()
                name = os.path.normpath(f"/{where}/{target}/{rest}").lstrip("/")
                place = root
                break
        else:
            return place
    raise SetsailError("ship.base", "links of the base go in a circle", field="--base", value=name)


def _place(root: Path, name: str, info: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    folder, _, last = name.rpartition("/")
    parent = _inside(root, folder)
    parent.mkdir(parents=True, exist_ok=True)
    place = parent / last
    if info.isdir():
        if not _inside(root, name).is_dir():  # a link to a folder stays what it is
            _remove(place)
            place.mkdir()
        if not place.is_symlink():
            place.chmod(info.mode & 0o7777)
    elif info.issym():
        _remove(place)
        place.symlink_to(info.linkname)
    elif info.islnk():
        _remove(place)
        there, _, file = info.linkname.strip("/").removeprefix("./").rpartition("/")
        os.link(_inside(root, there) / file, place, follow_symlinks=False)
    elif info.isreg() and (stream := tar.extractfile(info)) is not None:
        _remove(place)
        with place.open("wb") as file_:
            shutil.copyfileobj(stream, file_, 1 << 20)
        place.chmod(info.mode & 0o7777)
    else:
        return
    if os.geteuid() == 0:
        os.chown(place, info.uid, info.gid, follow_symlinks=False)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


class Room:
    """An unpacked image in a folder that goes when it is closed. Use as a context manager."""

    def __init__(self, image: Image) -> None:
        self._config = json.loads(image.config)["config"]
        self._made = tempfile.TemporaryDirectory(prefix="setsail-room-")
        self.root = Path(self._made.name) / "root"
        self.root.mkdir(mode=0o755)
        Path(self._made.name).chmod(0o755)  # another user goes through it
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the room
        self._processes: list[subprocess.Popen[str]] = []
        try:
            unpack(image, self.root)
        except BaseException:
            self.close()
            raise

    def start(self, words: Sequence[str] | None = None, variables: Mapping[str, str] | None = None,
              entrypoint: Sequence[str] | None = None) -> subprocess.Popen[str]:  # fmt: skip
        """Run the image, with other words after its entry point where some are given. Its output is text in a pipe."""
        before = entrypoint if entrypoint is not None else self._config["Entrypoint"]
        told = [*self._config["Env"], *(f"{key}={value}" for key, value in (variables or {}).items())]
        command = [*before, *(self._config["Cmd"] if words is None else words)]
        user = self._config["User"] if os.geteuid() == 0 else ""
        process = subprocess.Popen(
            [*_unshared(), "sh", "-c", _SCRIPT, "sh", str(self.root), user, "/usr/bin/env", "-i", *told, *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True, start_new_session=True,
            cwd="/",
        )  # fmt: skip
        self._processes.append(process)
        return process

    def serve(self, words: Sequence[str] | None = None, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run the image until it says that it is ready. Returns what it says: `url`, `models`.

        Raises:
            SetsailError: `ship.run` when it ends before, with its last line.
        """
        given = [*(self._config["Cmd"] if words is None else words), "--json"]
        local = {"SETSAIL_HOST": "127.0.0.1", "SETSAIL_PORT": "0", "SETSAIL_ADMIN_PORT": "-1", **(variables or {})}
        process = self.start(given, local)
        assert process.stdout is not None
        late = threading.Timer(_SECONDS, process.kill)
        late.start()
        line = process.stdout.readline()
        late.cancel()
        with suppress(ValueError):
            about: dict[str, Any] = json.loads(line)
            if "url" in about:
                return about
        process.kill()
        process.wait()
        raise SetsailError("ship.run", f"the image does not start: {self._last_words(line)}")

    def _last_words(self, line: str) -> str:
        """Why, whole: the message of the error that it ended with, else the last that it said."""
        with suppress(ValueError, KeyError, TypeError):
            return str(json.loads(line)["error"]["message"])
        return line.strip() or (self.log().strip().splitlines() or ["it said nothing"])[-1]

    def log(self) -> str:
        """All that was written to standard error."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def stop(self, seconds: float = 40.0) -> list[int]:
        """End what runs as an engine does: SIGTERM, and SIGKILL to whoever stays. Returns the exit codes."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        codes, self._processes = [process.returncode for process in self._processes], []
        return codes

    def close(self) -> None:
        self.stop()
        self._log.close()
        self._made.cleanup()

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
