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
from setsail.isolation import sandbox
from setsail.isolation.settings import fault_to_json

__all__ = ["main"]


def main() -> NoReturn:
    """Read the order, become harmless, run, answer, end."""
    order = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sandbox.limit(order["limits"])
    refusal = sandbox.enter(
        order["cut"], parent=order["parent"], processes=order["limits"]["processes"], writable=[os.getcwd()],
        report=lambda number: _send(answer, {"signal": number}),
    )  # fmt: skip
    if refusal is not None:
        _send(answer, {"uncut": refusal})
        os._exit(1)
    sys.path.extend(p for p in order["path"] if p not in sys.path)
    _send(answer, _run(order["target"], order["arguments"], Path.cwd(), answer))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # no atexit handlers: the answer is out


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
