"""One child process with a person's code, as its parent sees it: started, asked, ended, by one thread at a time.

Whatever it says is the word of a stranger: sizes, places and texts are checked, and a child that says what cannot be is
ended. What it prints goes to the log, line by line, as much as a log should take.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final

from setsail.apps.code import KINDS, Entry
from setsail.apps.frames import CALL, DONE, FAILED, FAULT, PING, PONG, READY, BrokenError, Channel, Message
from setsail.apps.slab import SIZE, Slab
from setsail.apps.spec import INSIDE
from setsail.apps.terms import Terms
from setsail.errors import SetsailError
from setsail.isolation import environment, fault_from_json, printable
from setsail.signature import CONTENTS, Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["About", "FunctionError", "Process"]

_ROOT: Final = str(Path(__file__).resolve().parents[2])
# Nothing of this environment but setsail itself becomes importable by it: another Python has packages of its own.
_BOOT: Final = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
root = sys.argv.pop() + "/setsail"
spec = spec_from_file_location("setsail", root + "/__init__.py", submodule_search_locations=[root])
sys.modules["setsail"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["setsail"])
from setsail.apps.child import main
main()
"""
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE: Final = 1.0  # seconds for a child that was hung up on
_LINE: Final = 4096
_LINES: Final = 200  # a second


class FunctionError(Exception):
    """The code did not answer this call, and its process lives. `args`: the code, and words for the operator."""


class About:
    """What a child says of its code, checked. Raises BrokenError for what no child of ours says."""

    def __init__(self, text: bytes) -> None:
        try:
            body = json.loads(text)
            defaults = tuple(map(str, body["defaults"]))
            self.signature = _checked(Signature.from_json(body["signature"], defaults))
            self.python = printable(str(body["python"]), 20)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            raise BrokenError(f"no signature: {fault!r}") from fault


class Process:
    """A child.

    Args:
        log: what it prints goes there, at level INFO.
    """

    def __init__(self, entry: Entry, terms: Terms, log: logging.Logger) -> None:
        self._entry, self._terms, self._log = entry, terms, log
        self._python = entry.interpreter(terms.python)
        self._number = 0
        self._reaping, self._ended = threading.Lock(), threading.Event()
        self._slab = Slab.make()
        self._folder = tempfile.mkdtemp(prefix="setsail-app-")
        ours, theirs = socket.socketpair()
        try:
            self._child = self._spawn(theirs)
        except BaseException:
            ours.close()
            self._slab.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            theirs.close()
        self._end, self._channel = ours, Channel(ours)
        self._reader = threading.Thread(target=self._read, args=(self._child.stdout,), name="setsail-app-log",
                                        daemon=True)  # fmt: skip
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def _spawn(self, end: socket.socket) -> subprocess.Popen[bytes]:
        inherited = (end.fileno(), self._slab.handle)
        variables = environment(Path(self._folder), self._terms.environment) | {INSIDE: self._entry.title}
        if not self._terms.sandbox:
            variables.pop("CUDA_VISIBLE_DEVICES")
        for name in _THREADS:
            variables.setdefault(name, str(self._terms.threads))
        command = [self._python, "-I", "-c", _BOOT, *map(str, inherited), _ROOT]
        try:
            return subprocess.Popen(
                command, cwd=self._entry.folder, env=variables, pass_fds=inherited, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except OSError as fault:
            raise SetsailError("app.load", f"the Python of the {self._entry.noun} cannot be started",
                               field="--app-python", value=f"{self._python}: {fault.strerror}") from fault  # fmt: skip

    # -- asking --------------------------------------------------------------------------------------------------------

    def begin(self) -> About:
        """Have it load the code.

        Raises:
            SetsailError: `app.load`, `app.hints` or `source.sandbox`.
        """
        try:
            self._end.sendall(json.dumps(self._order()).encode() + b"\n")
            message = self._channel.receive(self._terms.start_seconds)
            if message is None:
                raise BrokenError("it ended while it was loaded")
            if message.kind == READY:
                return About(message.text)
            raise self._refused(message)
        except TimeoutError:
            raise SetsailError("app.load", f"{self._entry.title} was not imported in time", field="--app-start-timeout",
                               expected=f"at most {self._terms.start_seconds:g} seconds",
                               todo="raise --app-start-timeout if its imports take longer") from None  # fmt: skip
        except (BrokenError, OSError) as fault:
            raise SetsailError("app.load", f"the process of {self._entry.title} failed", value=str(fault),
                               todo="the log has what it said last") from fault  # fmt: skip

    def _order(self) -> dict[str, Any]:
        terms, entry = self._terms, self._entry
        limits = replace(terms.limits, memory=terms.memory + SIZE if terms.memory else None)
        shared = self._python == sys.executable  # then it has all that is importable here
        path = [place for place in sys.path if os.path.isabs(place)] if shared else []
        return {
            "load": KINDS[entry.kind].load, "title": entry.title, "options": dict(entry.options),
            "size": self._slab.size, "folder": self._folder,
            "limits": limits.to_json(), "cut": "require" if terms.sandbox else "off", "network": terms.network,
            "parent": os.getpid(), "path": path,
            "readable": [str(entry.folder), _ROOT + "/setsail", self._folder, *path, *entry.readable, *terms.readable],
        }  # fmt: skip

    def _refused(self, message: Message) -> SetsailError:
        fault = fault_from_json(_json(message.text)) if message.kind == FAILED else None
        if fault is None:
            raise BrokenError(f"a message of kind {message.kind} instead of a signature")
        trace = fault.facts.pop("trace", None)
        if isinstance(trace, str):
            self._log.error("%s cannot be imported:\n%s", self._entry.title, printable(trace, 32 << 10))
        return fault

    def ask(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Call the code. The arrays that come back are ours.

        Raises:
            FunctionError: it failed, and lives.
            BrokenError, TimeoutError: it must be ended.
            slab.NoRoomError: the inputs are too large; it was not asked.
        """
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._channel.send(Message(self._number, CALL, self._slab.write(inputs)))
        message = self._reply()
        if message.kind == FAULT:
            body = _json(message.text)
            code = body.get("code") if isinstance(body, Mapping) else None
            if code not in ("app.fault", "app.answer"):
                raise BrokenError("a fault of an unknown form")
            raise FunctionError(code, printable(str(body.get("text")), 32 << 10))
        if message.kind != DONE:
            raise BrokenError(f"a message of kind {message.kind} instead of an answer")
        arrays = tuple(self._slab.read(place, upper=True) for place in message.places)
        self._slab.settle()
        return arrays

    def ping(self) -> float:
        """Seconds of an exchange that calls nothing. Raises BrokenError or TimeoutError."""
        begun = monotonic()
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._channel.send(Message(self._number, PING))
        if self._reply().kind != PONG:
            raise BrokenError("no answer to a ping")
        return monotonic() - begun

    def _reply(self) -> Message:
        message = self._channel.receive(self._terms.seconds or None)
        if message is None:
            raise BrokenError("its process ended")
        if message.number != self._number:
            raise BrokenError(f"an answer to call {message.number} instead of {self._number}")
        return message

    # -- its end -------------------------------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Have it end by itself, soon. Somebody else waits for it."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        if not self._ended.wait(_GRACE):
            self.kill()

    def kill(self) -> None:
        """End it and what it started, now. Safe from any thread, more than once."""
        with self._reaping:
            if self._child.returncode is None:  # later its number may be somebody else's
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._child.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait until it has ended, and end what it left in its group; its exit status, negative for a signal."""
        if hasattr(os, "waitid"):
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        status = self._child.wait()
        self._ended.set()
        return status

    def close(self) -> None:
        """Let go of everything, after `wait`."""
        self._reader.join(1)
        with suppress(OSError):
            self._channel.close()
        if self._child.stdout is not None and not self._reader.is_alive():
            self._child.stdout.close()
        self._slab.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, pipe: IO[bytes]) -> None:
        """Its lines to the log."""
        second, count = 0, 0
        with suppress(OSError, ValueError):
            while line := pipe.readline(_LINE):
                if int(monotonic()) != second:
                    if count > _LINES:
                        self._log.warning("%d lines more", count - _LINES)
                    second, count = int(monotonic()), 0
                count += 1
                if count <= _LINES and (text := printable(line.decode(errors="replace"), _LINE).rstrip()):
                    self._log.info("%s", text)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _checked(signature: Signature) -> Signature:
    """A signature of a stranger: each name a short text, each dimension a size or a short text."""
    if not (0 < len(signature.inputs) <= 256 and 0 < len(signature.outputs) <= 256) or not signature.batched:
        raise ValueError("no inputs, no outputs, too many, or no rows")
    for specs in (signature.inputs, signature.outputs):
        if len({spec.name for spec in specs}) != len(specs) or not all(map(_sound, specs)):
            raise ValueError("a tensor that cannot be")
    if not signature.defaults or set(signature.defaults) - {spec.name for spec in signature.outputs}:
        raise ValueError("defaults that are no outputs")
    return signature


def _sound(spec: TensorSpec) -> bool:
    texts = (spec.name, *spec.columns, *spec.categories, *spec.labels, *(d for d in spec.shape if isinstance(d, str)))
    sizes = [d for d in spec.shape if not isinstance(d, str)]
    return (
        spec.name.strip() != "" and len(spec.shape) <= 8 and spec.content in ("", *CONTENTS)
        and all(isinstance(t, str) and t.isprintable() and len(t) <= 256 for t in texts)
        and all(type(size) is int and 0 < size < 1 << 31 for size in sizes)
    )  # fmt: skip
