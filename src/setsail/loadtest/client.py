"""The driving process as the measuring one sees it: orders in, outcomes out."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress

from setsail.errors import SetsailError
from setsail.loadtest.orders import Began, Order, Outcome, Progress, Target, receive, send

__all__ = ["Client"]


class Client:
    """A process that drives one target. Use as a context manager, or `close` it.

    It is in a session of its own, so that Ctrl-C reaches it by `interrupt` only.
    """

    def __init__(self, target: Target) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "setsail.loadtest.driver"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._interrupted = False
        send(self._in, target)

    def carry_out(
        self, order: Order, *, began: Callable[[], None] | None = None, told: Callable[[float, int], None] | None = None
    ) -> Outcome:
        """Wait for an order's outcome.

        Args:
            began: called when the clock begins.
            told: called now and then with the fraction done and how many were answered.

        Raises:
            SetsailError: `child.failed` when the process has died.
        """
        with suppress(OSError):
            send(self._in, order)
        while (message := receive(self._out)) is not None:
            if isinstance(message, Outcome):
                return message
            if self._interrupted:  # the first may have come before it listened
                self.interrupt()
            if isinstance(message, Began) and began is not None:
                began()
            elif isinstance(message, Progress) and told is not None:
                told(message.fraction, message.answered)
        self._process.wait()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        raise SetsailError(
            "child.failed", "the process that sends the requests has died", value=self._process.returncode,
            todo="; ".join(last) or None,
        )  # fmt: skip

    def interrupt(self) -> None:
        """End what is being measured; its outcome comes at once."""
        self._interrupted = True
        with suppress(OSError):
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        with suppress(OSError):
            self._in.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._log.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
