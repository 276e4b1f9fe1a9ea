"""The child's side of `call`: limits first, then the cut, then imports, then the function.

Started as `python -I -c …` by `parent.py`. Standard output becomes the answer's pipe under another number, and prints
of the code that runs go to standard error, of which the parent keeps the last lines.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from setsail.errors import SetsailError
from setsail.isolation import landlock, namespaces
from setsail.isolation.settings import fault_to_json

__all__ = ["main"]


def main() -> NoReturn:
    """Read the order, become harmless, run, answer, end."""
    order = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _limit(order["limits"])
    if sys.platform == "linux":
        _cut(order, answer)
    elif order["cut"] == "require":
        _send(answer, {"uncut": f"{sys.platform} has no network namespaces"})
        os._exit(1)
    sys.path.extend(p for p in order["path"] if p not in sys.path)
    _send(answer, _run(order["target"], order["arguments"], Path.cwd(), answer))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # no atexit handlers: the answer is out


def _limit(limits: Mapping[str, int]) -> None:
    """Set the kernel's limits. Windows has none of them; macOS lacks some, which then stay as they were."""
    if sys.platform == "win32":
        return
    import resource

    rows = (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_AS", limits["memory"]),
        ("RLIMIT_FSIZE", limits["file_bytes"]),
        ("RLIMIT_NOFILE", limits["open_files"]),
    )
    for name, value in rows:
        _lower(resource, name, value)
    _lower(resource, "RLIMIT_CPU", limits["cpu_seconds"], grace=2)


def _lower(resource: Any, name: str, value: int, grace: int = 0) -> None:
    """Lower one limit. At the soft one the process gets a signal that names it; `grace` later it is killed."""
    number = getattr(resource, name, None)
    if number is None:
        return
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard - grace)
    try:
        resource.setrlimit(number, (value, value + grace))
    except (ValueError, OSError):  # macOS refuses RLIMIT_AS
        return


def _cut(order: Mapping[str, Any], answer: int) -> None:
    """Leave the network where asked to. Goes on in another process when it could."""
    import resource

    refusal = "off" if order["cut"] == "off" else namespaces.cut()
    if refusal is not None and order["cut"] == "require":
        _send(answer, {"uncut": refusal})
        os._exit(1)
    namespaces.die_with_parent()
    if os.getppid() != order["parent"]:
        os._exit(1)  # it ended before we asked to end with it
    if refusal is None:
        _lower(resource, "RLIMIT_NPROC", order["limits"]["processes"])
        namespaces.worker(lambda number: _send(answer, {"signal": number}))
        landlock.confine([os.getcwd()])  # where the kernel has it; the contract asks for the network only


def _run(target: str, arguments: Mapping[str, Any], folder: Path, answer: int) -> dict[str, Any]:
    def progress(text: str) -> None:
        _send(answer, {"progress": text})

    try:
        module, _, name = target.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        takes_progress = "progress" in inspect.signature(function).parameters
        extra = {"progress": progress} if takes_progress else {}
        result = {"result": function(arguments, folder, **extra)}
        json.dumps(result)
        return result
    except SetsailError as fault:
        return {"fault": fault_to_json(fault)}
    except BaseException as fault:  # a model's code may raise anything, SystemExit included; the parent is told all
        lines = [line for line in str(fault).splitlines() if line.strip()] or [""]
        return {"crash": {"type": type(fault).__name__, "line": lines[-1][:500]}}


def _send(channel: int, message: Mapping[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(channel, data) :]
