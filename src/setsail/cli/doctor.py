"""`setsail doctor`: what this machine can do, and the line that gets what is missing. Changes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any, Final

from setsail import __version__, caches, isolation
from setsail.artifact.rendering import bytes_text
from setsail.cli.console import Console
from setsail.cli.options import verb
from setsail.convert.formats import EXTRAS
from setsail.errors import SetsailError
from setsail.server.cores import quota
from setsail.server.settings import Settings

__all__ = ["CHECKS", "Check", "command", "probe"]

_CORE: Final = ("numpy", "safetensors", "msgspec", "orjson", "httptools", "uvicorn", "starlette",
                "jinja2", "prometheus_client", "rich")  # fmt: skip
# Where a module's distribution has another name, or one of several.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {"sklearn": ("scikit-learn",), "xgboost": ("xgboost", "xgboost-cpu")}
_MARKS: Final = {"ok": "ok", "missing": "--", "broken": "FAILED"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the answer.

    Attributes:
        state: `ok`, `missing` (something works only partly) or `broken` (nothing works).
        remedy: what to type.
    """

    name: str
    state: str
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "state": self.state, "found": self.found, "remedy": self.remedy}


@verb(
    "doctor",
    "Show what this machine can do: the core, every framework with the pip line for those that are not there, the "
    "sandbox for untrusted models, the cache, processors and ports. Exits with 1 only when the core is broken.",
    examples=(("setsail doctor", "for people"), ("setsail doctor --json", "to attach to a bug report")),
)
def command(console: Console) -> int:
    checks = [check for group in CHECKS for check in group()]
    healthy = all(check.state != "broken" for check in checks)
    width = max(len(check.name) for check in checks)
    lines = [f"setsail {__version__}"]
    for check in checks:
        lines.append(f"  {check.name:<{width}}  {_MARKS[check.state]:<6}  {check.found}")
        if check.remedy:
            lines.append(f"  {'':<{width}}  {'':<6}  {check.remedy}")
    document = {"setsail": __version__, "ok": healthy, "checks": [check.to_json() for check in checks]}
    console.result("\n".join(lines), document)
    console.next("setsail serve MODEL")
    return 0 if healthy else 1


# -- what runs -----------------------------------------------------------------------------------------------------


def _python() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    broken = [f"{name}: {fault}" for name in _CORE if (fault := _import_fault(name))]
    if broken:
        yield Check("core", "broken", "; ".join(broken), "pip install --force-reinstall setsail")
    else:
        yield Check("core", "ok", f"numpy {metadata.version('numpy')}, {len(_CORE) - 1} more")
    fault = _import_fault("onnxruntime")
    if fault:
        yield Check("onnxruntime", "broken", fault, "pip install --force-reinstall onnxruntime")
        return
    runtime = import_module("onnxruntime")
    yield Check("onnxruntime", "ok", f"{runtime.__version__}, {', '.join(runtime.get_available_providers())}")


def _import_fault(name: str) -> str:
    try:
        import_module(name)
    except Exception as fault:  # a broken binary raises what it likes
        return f"{type(fault).__name__}: {fault}"
    return ""


def _extras() -> Iterator[Check]:
    """Found without importing: PyTorch alone would take seconds."""
    packages: dict[str, list[str]] = {}
    for package, extra in EXTRAS.items():
        packages.setdefault(extra, []).append(package)
    for extra, needed in packages.items():
        absent = [package for package in needed if util.find_spec(package) is None]
        if absent:
            line = f'pip install "setsail[{extra}]"'
            yield Check(extra, "missing", ", ".join(absent) + " not installed", line)
        else:
            yield Check(extra, "ok", ", ".join(f"{package} {_version(package)}".strip() for package in needed))


def _version(package: str) -> str:
    for name in _NAMES.get(package, (package,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


# -- what it runs on -----------------------------------------------------------------------------------------------


def probe(arguments: Mapping[str, Any], folder: Path) -> dict[str, bool]:
    """Runs in a child process: whether it can write outside its folder, as code in a model file might try."""
    try:
        Path(arguments["outside"]).write_text("written by a child process")
    except OSError:
        return {"writes": False}
    return {"writes": True}


def _sandbox() -> Iterator[Check]:
    with tempfile.TemporaryDirectory(prefix="setsail-doctor-") as made:
        inside, outside = Path(made) / "inside", Path(made) / "outside"
        inside.mkdir()
        arguments = {"outside": str(outside)}
        try:
            seen = isolation.call("setsail.cli.doctor:probe", arguments, inside)
        except SetsailError as fault:
            state = "missing" if fault.code == "source.sandbox" else "broken"
            yield Check("sandbox", state, fault.what, "formats that can run code need --no-sandbox here: setsail pack")
            return
    kept = "writes in its own folder only" if not seen["writes"] else "can write where you can (no Landlock here)"
    yield Check("sandbox", "ok", f"a child process has no network and {kept}")


def _cache() -> Iterator[Check]:
    try:
        folder = caches.folder("packed")
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as fault:
        yield Check("cache", "missing", f"cannot be written: {fault}", "set SETSAIL_CACHE to a folder that can be")
        return
    used = sum(entry.stat().st_size for entry in folder.iterdir() if entry.is_file())
    yield Check("cache", "ok", f"{folder.parent}: {bytes_text(used)} packed, {bytes_text(free)} free")


def _processors() -> Iterator[Check]:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    yield Check("processors", "ok", f"{count}" + (f", of which this container may use {limit:g}" if limit else ""))


def _ports() -> Iterator[Check]:
    settings = Settings()
    for flag, port in (("--port", settings.port), ("--admin-port", settings.admin_port)):
        with socket.socket() as bound:
            if sys.platform != "win32":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind((settings.host, port))
            except OSError as fault:
                yield Check(f"port {port}", "missing", fault.strerror or str(fault), f"setsail serve … {flag} 0")
            else:
                yield Check(f"port {port}", "ok", "free")


CHECKS: Final[tuple[Callable[[], Iterator[Check]], ...]] = (_python, _extras, _sandbox, _cache, _processors, _ports)
