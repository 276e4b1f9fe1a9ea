"""The process that has a person's code: it makes itself harmless, loads the code, and answers calls until its parent
hangs up.

Started as `python -I -c … SOCKET MEMORY ROOT` by `process.py`. Nothing but the standard library and the sandbox is
imported before the sandbox is entered. Standard output and error are the operator's log.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.isolation import fault_to_json, sandbox

__all__ = ["main"]

_TRACE: Final = 32 << 10
_FRAMES: Final = "setsail.apps.frames"
_SLAB: Final = "setsail.apps.slab"
_CODE: Final = "setsail.apps.code"
_IMPORTING: Final = "setsail.apps.importing"


def main() -> None:
    """Read the order, become harmless, load, answer, end."""
    end = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(_line(end))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The server's affair: a service manager tells every process of a service, and calls are to be finished. A
        # handler, because to ignore a signal is inherited by whatever programs the function starts.
        signal.signal(number, lambda *_: None)
    refusal = _enter(order)
    sys.path.extend(path for path in order["path"] if path not in sys.path)
    frames = import_module(_FRAMES)
    channel = frames.Channel(end)
    if refusal is not None:
        fault = SetsailError("source.sandbox", "the process of the code cannot be cut off on this machine",
                             value=refusal, expected="Linux with user namespaces",
                             todo="pass --no-sandbox if you trust the code with your network")  # fmt: skip
        channel.send(_failed(frames, fault))
        return
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _load(order)
        channel.send(frames.Message(0, frames.READY, text=json.dumps(_about(code)).encode()))
    except SetsailError as fault:
        channel.send(_failed(frames, fault))
        return
    slab = import_module(_SLAB).Slab(int(sys.argv[2]), order["size"])
    try:
        _answer(channel, slab, code)
    except frames.BrokenError:  # the parent is gone
        return


def _line(end: socket.socket) -> bytes:
    """The order: one line, before there are messages."""
    data = bytearray()
    while not data.endswith(b"\n"):
        part = end.recv(1 << 16)
        if not part:
            os._exit(1)
        data += part
    return bytes(data)


def _enter(order: Mapping[str, Any]) -> str | None:
    limits = order["limits"]
    sandbox.limit(limits)
    if sys.platform != "linux":
        threading.Thread(target=_end_with, args=(order["parent"],), daemon=True).start()
    return sandbox.enter(
        order["cut"], parent=order["parent"], processes=limits["processes"], network=order["network"],
        writable=[order["folder"]], readable=order["readable"], report=_killed,
    )  # fmt: skip


def _killed(number: int) -> None:
    """In the process beside this one, when this one was killed by a signal."""
    name = {s.value: s.name for s in signal.Signals}.get(number, str(number))
    os.write(2, f"the process was killed by {name}\n".encode())


def _end_with(parent: int) -> None:
    """Where the kernel does not end a process with its parent."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


# -- loading -----------------------------------------------------------------------------------------------------------


def _load(order: Mapping[str, Any]) -> Any:
    """The code, ready to be run. Raises SetsailError: `app.load` with the trace among its facts, or its own."""
    module, _, name = order["load"].partition(":")
    try:
        return getattr(import_module(module), name)(order["options"])
    except SetsailError:
        raise
    except BaseException as fault:  # whatever a person's code raises, SystemExit included
        importing = import_module(_IMPORTING)
        raise SetsailError("app.load", f"{order['title']} cannot be loaded: {importing.last_line(fault)}",
                           todo="see the trace above; run it in a Python of your own",
                           trace=importing.trace(fault)) from fault  # fmt: skip


def _about(code: Any) -> dict[str, Any]:
    """What the parent must know, as data."""
    return {
        "signature": code.signature.to_json(), "defaults": list(code.signature.defaults),
        "python": ".".join(map(str, sys.version_info[:3])),
    }  # fmt: skip


def _failed(frames: Any, fault: SetsailError) -> Any:
    return frames.Message(0, frames.FAILED, text=json.dumps(fault_to_json(fault)).encode()[: frames.MAX_TEXT])


# -- answering ---------------------------------------------------------------------------------------------------------


def _answer(channel: Any, slab: Any, code: Any) -> None:
    """Answer one call after the other, until the parent hangs up."""
    frames = sys.modules[_FRAMES]
    wrong, importing = import_module(_CODE).WrongAnswerError, import_module(_IMPORTING)
    full = sys.modules[_SLAB].NoRoomError
    names = [spec.name for spec in code.signature.inputs]
    outputs = [spec.name for spec in code.signature.outputs]
    while (message := channel.receive()) is not None:
        if message.kind == frames.PING:
            channel.send(frames.Message(message.number, frames.PONG))
            continue
        try:
            inputs = {name: slab.read(place) for name, place in zip(names, message.places, strict=True)}
            answers = code.run(inputs)
            places = slab.write([answers[name] for name in outputs], upper=True)
            reply = frames.Message(message.number, frames.DONE, places)
        except wrong as fault:
            reply = _fault(message.number, "app.answer", str(fault))
        except full as fault:
            reply = _fault(message.number, "app.answer", f"its answer is larger than {fault.args[0]} bytes")
        except BaseException as fault:  # a person's code may raise anything, SystemExit included
            reply = _fault(message.number, "app.fault", importing.trace(fault))
        channel.send(reply)


def _fault(number: int, code: str, text: str) -> Any:
    frames = sys.modules[_FRAMES]
    data = json.dumps({"code": code, "text": text[-_TRACE:]}).encode()
    return frames.Message(number, frames.FAULT, text=data)
