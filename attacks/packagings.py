"""Hostile packagings of models: MLflow's `MLmodel` and SageMaker's `model.tar.gz`. Each tries one thing.

MLMODELS: text of an `MLmodel`, `{folder}` being its own. TARS: a function that fills an open archive.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["CANARY", "MLMODELS", "TARS", "file"]

CANARY: Final = "canary"  # what nothing here may ever write

_LAUGHS: Final = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))

MLMODELS: Final[Mapping[str, str]] = {
    "a billion laughs": _LAUGHS + "flavors: {python_function: {}}\n",
    "an alias of itself": "flavors: &a {python_function: *a}\n",
    "nested without end": "flavors: " + "[" * 5000 + "]" * 5000,
    "nested mappings": "flavors:\n" + "".join(" " * i + "a:\n" for i in range(1, 200)),
    "a value too many": "flavors: {python_function: {}}\nmore: [" + "1," * 300_000 + "1]\n",
    "larger than allowed": "flavors: {python_function: {}}\n#" + "x" * (5 << 20),
    "a Python object": f"flavors: !!python/object/apply:os.system ['touch {CANARY}']\n",
    "a Python name": "flavors: {python_function: !!python/name:os.system }\n",
    "a tag of its own": "flavors: !setsail {python_function: {}}\n",
    "a number without end": "flavors: {python_function: {}}\nsize: " + "9" * 100_000 + "\n",
    "a parent folder": "flavors: {sklearn: {pickled_model: ../model.pkl}}\n",
    "an absolute path": "flavors: {sklearn: {pickled_model: /etc/passwd}}\n",
    "a NUL": 'flavors: {sklearn: {pickled_model: "model\\0.pkl"}}\n',
    "a link that leads out": "flavors: {sklearn: {pickled_model: link.pkl}}\n",
    "a signature that is nested": "flavors: {python_function: {}}\nsignature: {inputs: '" + "[" * 100_000 + "'}\n",
    "not UTF-8": "flavors: {python_function: {}}\nname: \ud800\n",
}


def file(archive: tarfile.TarFile, name: str, data: bytes = b"def model_fn(d): ...\n", **more: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def _member(**more: object) -> Callable[[tarfile.TarFile], None]:
    def fill(archive: tarfile.TarFile) -> None:
        name = str(more.get("name", "x"))
        file(archive, name, b"" if "type" in more else b"x", **{k: v for k, v in more.items() if k != "name"})

    return fill


def _twice(archive: tarfile.TarFile) -> None:
    file(archive, "model", b"a")
    file(archive, "model", b"b")


def _folder(archive: tarfile.TarFile) -> None:
    file(archive, "model", b"a")
    file(archive, "model/inside", b"b")


def _through(archive: tarfile.TarFile) -> None:
    """A link first, then a file behind it."""
    file(archive, "out", b"", type=tarfile.SYMTYPE, linkname="/tmp")
    file(archive, f"out/{CANARY}", b"x")


def _many(archive: tarfile.TarFile) -> None:
    for number in range(101):
        file(archive, f"f{number}", b"")


TARS: Final[Mapping[str, Callable[[tarfile.TarFile], None]]] = {
    "a parent folder": _member(name=f"../{CANARY}"),
    "a parent folder inside": _member(name=f"code/../../{CANARY}"),
    "an absolute path": _member(name=f"/tmp/{CANARY}"),
    "a backslash": _member(name=f"..\\{CANARY}"),
    "a drive": _member(name=f"C:/{CANARY}"),
    "a symbolic link": _member(name="model", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": _member(name="model", type=tarfile.LNKTYPE, linkname="code/inference.py"),
    "a file behind a link": _through,
    "a device": _member(name="model", type=tarfile.CHRTYPE),
    "a pipe": _member(name="model", type=tarfile.FIFOTYPE),
    "one name twice": _twice,
    "a file that is a folder": _folder,
    "a name too long": _member(name="x" * 2000),
    "too many members": _many,
}
