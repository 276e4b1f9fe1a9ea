"""The technical record: with what an artifact was packed, and how that differs from here.

`environment.json` has the exact versions of every package that took part, Python, the platform and those features of
the processor that runtimes choose their arithmetic by. No clock and no path is in it, so one machine writes the same
bytes each time. A model whose code never changed may still answer otherwise on another day, because what it stands on
did; this is what such a drift is told from.

Packages that took part are those that the converter names, the ones every artifact is packed with, and all that they
require, as far as they are installed.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from setsail import __version__

__all__ = ["Comparison", "Difference", "compared", "normal", "parsed", "record"]

_ALWAYS: Final = ("numpy", "onnxruntime", "safetensors")
# What matrix and convolution kernels are chosen by (onnxruntime's MLAS, oneDNN, XNNPACK), as Linux names it.
_FEATURES: Final = (
    "sse4_2", "avx", "avx2", "f16c", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
_REQUIREMENT: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(.*)", re.DOTALL)
_EXTRA: Final = re.compile(r"\bextra\s*==")
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,127}")


def record(versions: Mapping[str, str]) -> dict[str, Any]:
    """What an artifact says of where it was packed.

    Args:
        versions: of the packages that the converter names.
    """
    told = {normal(name): version for name, version in versions.items() if not _distributions(name)}
    return {**_facts(), "cpu": list(_features()), "packages": dict(sorted((told | _packages(versions)).items()))}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is otherwise here: "package", "system", … and its name; None where it is not there at all."""

    kind: str
    name: str
    recorded: str | None
    here: str | None

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "recorded": self.recorded, "here": self.here}

    def __str__(self) -> str:
        if self.here is None:
            told = f"{self.recorded or ''}  is missing here".strip()
        elif self.recorded is None:
            told = (
                f"{self.here}  is here, and was not there" if self.kind == "package" else "is here, and was not there"
            )
        else:
            told = f"{self.recorded}  is {self.here} here"
        return f"{self.name:<20} {told}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A record beside this machine. `packages` are all recorded ones, by their names at the index."""

    packages: Mapping[str, str]
    differences: tuple[Difference, ...]
    same: int
    complete: bool = True  # False for a record of an older version, which has less in it

    def to_json(self) -> dict[str, Any]:
        return {
            "packages": dict(self.packages), "same": self.same, "complete": self.complete,
            "differences": [d.to_json() for d in self.differences],
        }  # fmt: skip

    def __str__(self) -> str:
        if not self.packages and not self.differences:
            return "no environment was recorded"
        changed = [d for d in self.differences if d.kind == "package" and d.recorded is not None]
        lines = [f"{len(self.packages) - len(changed)} of {len(self.packages)} packages are as they were"]
        lines += [f"  {difference}" for difference in self.differences]
        if not self.complete:
            lines.append("  packed by a version of setsail that recorded less")
        return "\n".join(lines)


def compared(recorded: Mapping[str, Any]) -> Comparison:
    """What differs between a record and this machine. What a stranger's record has beyond plain texts is left out."""
    packages = {normal(name): version for name, version in _plain(recorded.get("packages"))}
    own = _packages(packages)
    features = [name for name in _texts(recorded.get("cpu")) if _PLAIN.fullmatch(name)]
    found = [
        Difference(name, name, str(recorded[name]), here)
        for name, here in _facts().items()
        if isinstance(recorded.get(name), str) and _PLAIN.fullmatch(recorded[name]) and recorded[name] != here
    ]
    here = _features()
    found += [Difference("cpu", f"cpu {name}", name, None) for name in features if name not in here]
    if features:
        found += [Difference("cpu", f"cpu {name}", None, name) for name in here if name not in features]
    found += [
        Difference("package", name, version, own.get(name))
        for name, version in sorted(packages.items()) if own.get(name) != version
    ]  # fmt: skip
    complete = "cpu" in recorded
    if complete:
        found += [Difference("package", name, None, own[name]) for name in sorted(own) if name not in packages]
    return Comparison(packages, tuple(found), sum(own.get(n) == v for n, v in packages.items()), complete)


def normal(name: str) -> str:
    """A package's name as indexes have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


# -- this machine -------------------------------------------------------------------------------------------------


def _facts() -> dict[str, str]:
    library, version = platform.libc_ver()
    return {
        "setsail": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": f"{library}-{version}" if library else "none",
    }


def _features() -> tuple[str, ...]:
    """Those of the processor that count. Only Linux tells; elsewhere the machine's name must do."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    words = set(match[1].split()) if match else set()
    return tuple(name for name in _FEATURES if name in words)


def _packages(named: Mapping[str, str]) -> dict[str, str]:
    """Installed versions of what is named and of all it requires."""
    found: dict[str, str] = {}
    waiting = [name for one in (*named, *_ALWAYS) for name in _distributions(one)]
    while waiting:
        name = normal(waiting.pop())
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version
        waiting += _required(distribution.requires or ())
    return found


def _distributions(name: str) -> tuple[str, ...]:
    """The packages that a name stands for: `xgboost` may come from `xgboost-cpu`."""
    try:
        metadata.distribution(name)
        return (name,)
    except metadata.PackageNotFoundError:
        return tuple(sorted(set(_modules().get(name.replace("-", "_"), ()))))


@cache
def _modules() -> Mapping[str, Sequence[str]]:
    return metadata.packages_distributions()


def _required(requirements: Sequence[str]) -> Iterator[str]:
    """Names of requirements, without those of extras. Whether a marker holds shows in what is installed."""
    for text in requirements:
        match = _REQUIREMENT.match(text)
        if match is not None and not _EXTRA.search(match[2]):
            yield match[1]


# -- a stranger's record ------------------------------------------------------------------------------------------


def _plain(value: Any) -> Iterator[tuple[str, str]]:
    for name, version in value.items() if isinstance(value, Mapping) else ():
        if isinstance(version, str) and _PLAIN.fullmatch(name) and _PLAIN.fullmatch(version):
            yield name, version


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def parsed(data: bytes | memoryview | None) -> Mapping[str, Any]:
    """A record as it stands in an artifact, which has checked that it is JSON; empty where there is none."""
    body = json.loads(bytes(data)) if data is not None else {}
    return body if isinstance(body, dict) else {}
