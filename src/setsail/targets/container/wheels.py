"""The Python packages of an image: which ones an artifact needs, at which versions, and their wheels.

An image has what answers requests and nothing that packs: setsail's own requirements, and the booster or tokenizer that
this artifact needs. Each has the version that is installed here, because that is what the artifact was tried with.
Wheels come from pip's index by pip (nothing is compiled, nothing of them is run) and are kept; setsail's own is made of
the files that are running.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from email.policy import compat32
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from setsail import caches
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.steps import SCHEMAS
from setsail.targets.container.base import Facts

__all__ = ["Wheel", "own_wheel", "packages", "wheels"]

OWN: Final = "setsail"
# What one variant of an artifact needs beside the core; under Linux, xgboost's wheel without its GPU code.
_RUNTIMES: Final[Mapping[str, tuple[str, ...]]] = {
    "xgboost-ubj": ("xgboost-cpu", "xgboost"), "lightgbm-text": ("lightgbm",), "catboost-cbm": ("catboost",),
    "litert-tflite": ("ai-edge-litert",),
}  # fmt: skip
_STEPS: Final[Mapping[str, tuple[str, ...]]] = {"text": ("tokenizers",), "image": ("pillow",)}
_INSTEAD: Final[Mapping[str, str]] = {"xgboost": "xgboost-cpu"}
# Requirements that nothing in an image calls, by who asks for them. Each was seen to be left alone by what runs there.
_UNUSED: Final[Mapping[str, frozenset[str]]] = {
    "setsail": frozenset(("rich",)),  # spinners and colours of a terminal
    "tokenizers": frozenset(("huggingface-hub",)),  # downloads
    "catboost": frozenset(("graphviz", "matplotlib", "plotly")),  # plots; its compiled part imports pandas
    "ai-edge-litert": frozenset(  # its compilers and converters
        ("backports-strenum", "flatbuffers", "ml-dtypes", "protobuf", "tqdm", "typing-extensions")
    ),
    "xgboost": frozenset(("nvidia-nccl-cu12", "nvidia-nccl-cu13")),
}
_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel, its requirement and its licence.

    Attributes:
        digest: SHA-256 in hexadecimal. extra: whether it is there because of this artifact.
    """

    name: str
    version: str
    path: Path
    digest: str
    licence: str
    extra: bool = False

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.digest}"


def packages(opened: Artifact, facts: Facts) -> tuple[dict[str, str], dict[str, str]]:
    """Name -> version of what every image needs, and of what this artifact needs besides; setsail itself is in neither.

    Raises:
        SetsailError: `dependency.missing` where a package that the artifact needs is not installed here.
    """
    core = _closure([OWN], facts)
    roots = [_installed(names) for names in _wanted(opened)]
    return core, {name: v for name, v in _closure(roots, facts).items() if name not in core}


def _wanted(opened: Artifact) -> Iterator[tuple[str, ...]]:
    """What the first variant and the steps of every signature need: for each, the names it may go by."""
    models = opened.signatures.values()
    extras = {SCHEMAS[step.kind].extra for model in models for step in model.processing.steps}
    yield from (_STEPS[extra] for extra in sorted(extras & _STEPS.keys()))
    forms = {model.variants[0].format for model in models}
    yield from (_RUNTIMES[form] for form in sorted(forms & _RUNTIMES.keys()))


def _installed(names: Sequence[str]) -> str:
    for name in names:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        return name
    line = f"pip install {names[0]}"
    raise SetsailError("dependency.missing", f"the image needs {names[0]}, in the version installed here: none is",
                       field=names[0], command=line, todo=f"run: {line}")  # fmt: skip


def _closure(roots: Sequence[str], facts: Facts) -> dict[str, str]:
    """Packages and versions that are reached from some, as the image's Python and system would ask for them."""
    requirement: Any = import_module("packaging.requirements").Requirement
    surroundings = {
        "python_version": "{}.{}".format(*facts.version), "python_full_version": "{}.{}.0".format(*facts.version),
        "implementation_name": "cpython", "platform_python_implementation": "CPython", "sys_platform": "linux",
        "os_name": "posix", "platform_system": "Linux", "extra": "",
        "platform_machine": {"amd64": "x86_64", "arm64": "aarch64"}[facts.architecture],
    }  # fmt: skip
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        about = distribution(name)
        found[_INSTEAD.get(name, name)] = about.version
        for text in about.requires or ():
            wanted = requirement(text)
            if (wanted.marker is None or wanted.marker.evaluate(surroundings)) and _normal(
                wanted.name
            ) not in _UNUSED.get(name, ()):
                waiting.append(wanted.name)
    found.pop(OWN, None)
    return dict(sorted(found.items()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# -- wheels -----------------------------------------------------------------------------------------------------------


def wheels(wanted: Mapping[str, str], facts: Facts, *, extra: bool = False) -> list[Wheel]:
    """The wheels of some packages for a base, from the cache or from pip's index.

    Raises:
        SetsailError: `ship.fetch` where there is none for that Python and system, with what pip says.
    """
    home = caches.folder("wheels")
    platform = "{}-{}-cp{}{}-{}{}".format(facts.architecture, "linux", *facts.version, *facts.glibc)
    found: dict[str, tuple[Path, str]] = {}
    missing: dict[str, str] = {}
    for name, version in wanted.items():
        note = home / f"{name}-{version}-{platform}.txt"
        known = _noted(home, note)
        if known is None:
            missing[name] = version
        else:
            found[name] = known
    if missing:
        with tempfile.TemporaryDirectory(dir=home) as made:
            _download([f"{name}=={version}" for name, version in missing.items()], Path(made), facts)
            for path in sorted(Path(made).glob("*.whl")):
                name = _normal(path.name.split("-")[0])
                path.rename(home / path.name)
                digest = hashlib.sha256((home / path.name).read_bytes()).hexdigest()
                (home / f"{name}-{wanted[name]}-{platform}.txt").write_text(f"{path.name} {digest}")
                found[name] = (home / path.name, digest)
    made_of = []
    for name in sorted(found):
        path, digest = found[name]
        made_of.append(Wheel(name, wanted[name], path, digest, _licence(path), extra))
    return made_of


def _noted(home: Path, note: Path) -> tuple[Path, str] | None:
    """A wheel that was fetched before and has not changed since."""
    try:
        name, digest = note.read_text().split()
        if hashlib.sha256((home / name).read_bytes()).hexdigest() == digest:
            caches.used(home / name, note)
            return home / name, digest
    except (OSError, ValueError):
        pass
    return None


def _download(requirements: Sequence[str], folder: Path, facts: Facts) -> None:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[facts.architecture]
    tags = [f"manylinux_{facts.glibc[0]}_{minor}_{machine}" for minor in range(facts.glibc[1], 4, -1)]
    tags += [
        f"manylinux2014_{machine}",
        *([f"manylinux2010_{machine}", f"manylinux1_{machine}"] * (machine == "x86_64")),
    ]
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", "{}.{}".format(*facts.version),
        *(word for tag in tags for word in ("--platform", tag)), "--dest", str(folder), *requirements,
    ]  # fmt: skip
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as fault:
        raise SetsailError("ship.fetch", "pip did not fetch the wheels in time", value=f"{_SECONDS} s") from fault
    if "No module named pip" in ended.stderr:
        raise SetsailError("dependency.missing", "pip, which fetches the wheels of an image, is not installed",
                           field="pip", command=f"{sys.executable} -m ensurepip",
                           todo="run: python -m ensurepip")  # fmt: skip
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR:")] or ended.stderr.splitlines()
        raise SetsailError(
            "ship.fetch", f"pip finds no wheel for Python {facts.version[0]}.{facts.version[1]} on {machine}",
            value=said[-1].removeprefix("ERROR: ") if said else "", expected=", ".join(requirements),
            todo="check the network, or give a --base with the Python that is used here",
        )  # fmt: skip


def own_wheel() -> Wheel:
    """setsail as a wheel: the files of the package that is running, whether it was installed or is being edited."""
    about = distribution(OWN)
    inner = _inside(about)
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for name, data in inner.items():
        hashed = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={hashed}", len(data)))
    info = f"{OWN}-{about.version}.dist-info"
    rows.writerow((f"{info}/RECORD", "", ""))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (*inner.items(), (f"{info}/RECORD", record.getvalue().encode())):
            archive.writestr(_member(name), data, zipfile.ZIP_DEFLATED, 6)
    data = file.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    folder = caches.folder("wheels") / digest
    path = folder / f"{OWN}-{about.version}-py3-none-any.whl"
    if not path.is_file() or path.read_bytes() != data:
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as made:
            made.write(data)
        Path(made.name).replace(path)
    caches.used(path)
    return Wheel(OWN, about.version, path, digest, _licence(path))


def _inside(about: Distribution) -> dict[str, bytes]:
    root = Path(__file__).parents[2]
    files = sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".pyc")
    inner = {f"{OWN}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in files}
    info = f"{OWN}-{about.version}.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        if text := about.read_text(name):
            inner[f"{info}/{name}"] = text.encode()
    wheel = "Wheel-Version: 1.0\nGenerator: setsail ship\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    return inner | {f"{info}/WHEEL": wheel.encode()}


def _member(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)  # 1980: a zip has no earlier time, and says none of ours
    made.external_attr = 0o644 << 16
    return made


def _licence(path: Path) -> str:
    """What a wheel says its licence is: an expression of SPDX, a short name, its classifiers, or where its text lies.

    Source: packaging.python.org, core metadata specification, License-Expression and License-File.
    """
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1)
        fields = HeaderParser(policy=compat32).parsestr(archive.read(name).decode("utf-8", "replace"))
    if expression := fields.get("License-Expression"):
        return str(expression)
    text = str(fields.get("License") or "").strip()
    if text and "\n" not in text and len(text) < 80 and text.upper() != "UNKNOWN":
        return text
    told = [line.rpartition(" :: ")[2] for line in fields.get_all("Classifier") or () if line.startswith("License ::")]
    files = fields.get_all("License-File") or ()
    return "; ".join(told) or (f"see {files[0]} in the wheel" if files else "")
