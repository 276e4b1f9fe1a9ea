"""Script-mode models: folders and archives in which a script answers requests. Found by names; nothing is run.

    model.joblib, code/inference.py, …      SageMaker: `model_fn`, `input_fn`, `predict_fn`, `output_fn`
    the same as model.tar.gz                as SageMaker keeps it
    score.py                                Azure ML: `init`, `run`

An archive is a stranger's: a name that leads out of its folder, a link, a device, two members of one name, or more
bytes than such an archive has by right are refused.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final

from setsail import caches
from setsail.errors import SetsailError

__all__ = ["AZURE", "SAGEMAKER", "in_archive", "in_folder", "of_file", "requirements", "unpacked"]

SAGEMAKER: Final = "sagemaker-script"
AZURE: Final = "azure-script"
# Where scripts lie, in order of preference.
_PLACES: Final = (
    ("code/inference.py", SAGEMAKER), ("inference.py", SAGEMAKER), ("score.py", AZURE), ("code/score.py", AZURE),
)  # fmt: skip
_FUNCTION: Final = re.compile(
    rb"^(?:async[ \t]+)?def[ \t]+([A-Za-z_]\w*)|^from[ \t].*\bimport\b.*\b(model_fn)\b", re.MULTILINE
)
_REQUIREMENTS: Final = "requirements.txt"
_LARGEST_SCRIPT: Final = 1 << 20
_MEMBERS: Final = 10_000
_SPARE, _TIMES = 1 << 30, 100  # bytes that any archive may unpack to, and otherwise so many times its own size
_WAIT_SECONDS: Final = 600.0
_FAULTS: Final = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError)


def in_folder(folder: Path) -> tuple[str, Path] | None:
    """The format of a folder with a script, and the script. What is not in SageMaker's place must look like one."""
    for place, name in _PLACES:
        script = folder / place
        if script.is_file() and (place == _PLACES[0][0] or of_file(script) == name):
            return name, script
    return None


def of_file(script: Path) -> str | None:
    """The format of a Python file by the functions at its top level; None for any other file."""
    with script.open("rb") as file:
        source = file.read(_LARGEST_SCRIPT)
    names = {(found[1] or found[2]).decode() for found in _FUNCTION.finditer(source)}
    if names & {"model_fn", "transform_fn"}:
        return SAGEMAKER
    return AZURE if {"init", "run"} <= names else None


def requirements(folder: Path, form: str, script: Path) -> bytes:
    """The packages that a script asks for: `requirements.txt` beside it, Azure's also in the folder; empty without."""
    places = (script.parent, folder) if form == AZURE else (script.parent,)
    file = next((p / _REQUIREMENTS for p in places if (p / _REQUIREMENTS).is_file()), None)
    if file is None:
        return b""
    if file.stat().st_size > _LARGEST_SCRIPT:
        raise SetsailError("source.damaged", f"{file.name} is larger than {_LARGEST_SCRIPT >> 20} MiB", value=str(file))
    return file.read_bytes()


def in_archive(path: Path) -> bool:
    """Whether a `.tar.gz` has SageMaker's script in it."""
    status = path.stat()
    return _has_script(path, status.st_size, status.st_mtime_ns)


@lru_cache(256)
def _has_script(path: Path, size: int, changed: int) -> bool:
    try:
        with tarfile.open(path, "r:gz") as members:
            return any(_name(info) == "code/inference.py" for info, _ in zip(members, range(_MEMBERS), strict=False))
    except _FAULTS:
        return False


def unpacked(path: Path) -> Path:
    """The files of an archive, in a folder of the cache, made once. Raises `source.damaged`."""
    with path.open("rb") as file:
        target = caches.folder("archives") / f"script-{hashlib.file_digest(file, 'sha256').hexdigest()}"
    with caches.lock(target.with_suffix(".lock"), _WAIT_SECONDS):
        if not target.is_dir():
            made = Path(tempfile.mkdtemp(prefix="unpacking-", dir=target.parent))
            try:
                _write(path, made)
                made.rename(target)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
    return target


def _write(path: Path, folder: Path) -> None:
    left = max(_SPARE, _TIMES * path.stat().st_size)
    try:
        with tarfile.open(path, "r:gz") as members:
            for info, name in _checked(path, members):
                left -= info.size
                if left < 0:
                    raise _damaged(path, "it unpacks to more than such an archive may")
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                source = members.extractfile(info)
                assert source is not None
                with source, place.open("xb") as out:
                    shutil.copyfileobj(source, out)
    except FileExistsError as fault:
        raise _damaged(path, "two members have one name") from fault
    except (NotADirectoryError, IsADirectoryError) as fault:
        raise _damaged(path, "a file is also a folder") from fault
    except _FAULTS as fault:
        raise _damaged(path, f"{type(fault).__name__}: {fault}") from fault


def _checked(path: Path, members: Any) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """Plain files with plain names; folders are made as they are needed."""
    for count, info in enumerate(members):
        if count >= _MEMBERS:
            raise _damaged(path, f"it has more than {_MEMBERS} members")
        if info.isdir():
            continue
        name = _name(info)
        parts = PurePosixPath(name).parts
        plain = name and "\0" not in name and "\\" not in name and not name.startswith("/") and ".." not in parts
        if not info.isreg():
            raise _damaged(path, f"its member {name!r} is a link or a device")
        if not plain or ":" in parts[0] or len(name) > 1024:
            raise _damaged(path, f"its member {name!r} has a name that leads elsewhere")
        yield info, name


def _name(info: tarfile.TarInfo) -> str:
    return info.name.removeprefix("./")


def _damaged(path: Path, why: str) -> SetsailError:
    return SetsailError("source.damaged", f"{path.name} cannot be unpacked: {why}", value=str(path),
                        expected="model.tar.gz as SageMaker writes it")  # fmt: skip
