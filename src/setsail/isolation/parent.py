"""The parent's side of `call`: start a fresh interpreter, hand it an order, wait, end it whatever happens."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from setsail.errors import SetsailError
from setsail.isolation.settings import JSON, MAX_ANSWER, Limits, fault_from_json, printable

__all__ = ["call", "environment"]

_BOOT: Final = "import sys; sys.path.append(sys.argv.pop()); from setsail.isolation.child import main; main()"
_ROOT: Final = str(Path(__file__).resolve().parents[2])

# All that a child sees of our environment: where programs and libraries are, the language, how many threads to use.
# Keys and tokens live in variables with other names.
_KEPT: Final = (
    "PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "LANG", "LC_ALL",
    "LC_CTYPE", "TZ", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VIRTUAL_ENV", "SYSTEMROOT",
)  # fmt: skip
_SIGNALS: Final = {s.value: s.name for s in signal.Signals}
_MORE: Final = "raise the limit if the model needs more"
_TODO: Final = {
    "timeout": _MORE,
    "memory": _MORE,
    "limit": _MORE,
    "signal": "load the file in a Python of your own to see whether its framework crashes",
    "exception": "its last lines say more; check that it works in a Python of your own",
    "answer": "do not trust this file: code in it wrote over the answer",
}
_TAIL: Final = 12  # lines of the child's output that are kept


def call(
    target: str,
    arguments: Mapping[str, JSON],
    folder: Path,
    *,
    limits: Limits | None = None,
    network: bool = False,
    sandbox: bool = True,
    require_network_cut: bool = True,
    on_progress: Callable[[str], None] | None = None,
) -> JSON:
    """Run `function(arguments, folder)` in a fresh interpreter and return what it returns.

    The child is spawned, never forked: it inherits no memory, no open file and nearly no environment. It imports what
    this process could import. A function with a third parameter `progress` gets a callable taking one line of text.

    Args:
        target: `package.module:function`.
        arguments: JSON values only.
        folder: the child's current folder, home and temporary folder; files too large for JSON are handed over here.
            The parent must not follow links in it afterwards.
        limits: what the child may use; `Limits()` by default.
        network: True leaves the network on.
        sandbox: False leaves the namespaces out (`--no-sandbox`); the limits stay.
        require_network_cut: False goes on where the network cannot be cut: for data that only a runtime reads.
        on_progress: called in this thread with each line of progress.

    Raises:
        SetsailError: what the function raised, with its code and facts; `source.sandbox` where the network had to be
            cut and could not be; `child.failed` for everything else, its fact `reason` being a key of `_TODO`.
    """
    limits = limits or Limits()
    cut = "off" if network or not sandbox else "require" if require_network_cut else "try"
    order = {
        "target": target, "arguments": dict(arguments), "limits": limits.to_json(), "cut": cut, "parent": os.getpid(),
        "path": [p for p in sys.path if os.path.isabs(p)],
    }  # fmt: skip
    data = json.dumps(order).encode()
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOT, _ROOT], cwd=folder, env=environment(folder), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    child = _Child(process, target)
    try:
        child.start(data)
        return child.answer(limits.seconds, on_progress or (lambda _: None))
    finally:
        child.end()


def environment(folder: Path, more: Sequence[str] = ()) -> dict[str, str]:
    """A child's environment variables: the short list, those named in `more`, and `folder` as its home."""
    kept = {name: os.environ[name] for name in (*_KEPT, *more) if name in os.environ}
    own = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(folder))
    # glibc reserves 64 MiB of address space a thread, which counts against the limit; models are converted on the CPU.
    return kept | own | {"MALLOC_ARENA_MAX": "4", "CUDA_VISIBLE_DEVICES": ""}


class _Child:
    """A running child: two threads read its pipes, the calling thread waits for messages."""

    def __init__(self, process: subprocess.Popen[bytes], target: str) -> None:
        self._process, self._target = process, target
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._readers = [
            threading.Thread(target=self._read_answer, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_tail, args=(process.stderr,), daemon=True),
        ]

    def start(self, order: bytes) -> None:
        for reader in self._readers:
            reader.start()
        stdin = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # it died at once; what it said says why
            stdin.write(order)
            stdin.close()

    def _read_answer(self, pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while line := pipe.readline(MAX_ANSWER):
                self._messages.put(line)
        self._messages.put(None)

    def _read_tail(self, pipe: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while line := pipe.readline(4096):
                if text := printable(line.decode(errors="replace")).strip():
                    self._tail.append(text)

    def answer(self, seconds: float, on_progress: Callable[[str], None]) -> JSON:
        """The child's result, or the error that tells why there is none."""
        end = time.monotonic() + seconds
        gone = 0
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise self._failed("timeout", f"took longer than {seconds:g} seconds")
            try:
                line = self._messages.get(timeout=min(left, 0.25))
            except queue.Empty:
                # A child that ended while something it started still holds the pipe is not waited for.
                gone += self._process.poll() is not None
                if gone < 2:
                    continue
                line = None
            if line is None:
                raise self._ended()
            message = _parse(line)
            if message is None:
                raise self._failed("answer", "gave an answer that is no JSON message")
            if "progress" in message:
                on_progress(printable(str(message["progress"]), 200))
            else:
                return self._result(message)

    def _result(self, message: dict[str, Any]) -> JSON:
        if "result" in message:
            return message["result"]
        if "uncut" in message:
            raise SetsailError(
                "source.sandbox", "the child process cannot be cut off from the network on this machine",
                value=printable(str(message["uncut"]), 200), expected="Linux with user namespaces",
                todo="pass --no-sandbox (Python: sandbox=False) if you trust the file with your network",
            )  # fmt: skip
        if "signal" in message:
            raise self._signal(message["signal"])
        if (fault := fault_from_json(message.get("fault"))) is not None:
            raise fault
        crash = message.get("crash")
        if not isinstance(crash, dict):
            raise self._failed("answer", "gave an answer of an unknown form")
        kind, text = printable(str(crash.get("type")), 100), printable(str(crash.get("line")), 500)
        reason = "memory" if kind == "MemoryError" else "exception"
        what = "ran out of memory" if reason == "memory" else f"failed with {kind}"
        raise self._failed(reason, what, value=text or None, exception=kind)

    def _ended(self) -> SetsailError:
        """It ended without a word."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return self._failed("answer", "closed its answer and went on")
        if code < 0:
            return self._signal(-code)
        return self._failed("exception", f"ended with exit status {code} and no answer")

    def _signal(self, number: object) -> SetsailError:
        name = _SIGNALS.get(number, "an unknown signal") if isinstance(number, int) else "an unknown signal"
        what = {"SIGXCPU": "used up its processor time", "SIGKILL": "was killed (out of memory, or out of time)"}
        return self._failed("limit" if name in what else "signal", what.get(name, f"died of {name}"), signal=name)

    def _failed(self, reason: str, what: str, *, value: str | None = None, **facts: Any) -> SetsailError:
        if reason != "timeout":
            self._readers[1].join(timeout=0.2)  # let the last lines arrive
        lines = list(self._tail)
        fault = SetsailError(
            "child.failed", f"the child process for {self._target} {what}",
            todo=_TODO[reason], reason=reason, lines=lines, **facts,
        )  # fmt: skip
        fault.value = value or (lines[-1] if lines else None)  # text of a child, already fit for a terminal
        return fault

    def end(self) -> None:
        """Kill the child and all it started, and close everything. Safe at any moment, more than once."""
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            if reader.ident is not None:
                reader.join(timeout=1)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
