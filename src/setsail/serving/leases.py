"""A loaded version, and how it ends: when its last request does, never earlier.

A request takes a lease before it runs and gives it back after. Retiring a version refuses new leases; whoever gives
the last one back (or, with none out, whoever retires it) closes the runner. A request that found the version in a table
just replaced is refused a lease and looks again: `predict.lease`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from msgspec import Struct, field

from setsail.runtime import Runner
from setsail.signature import DEFAULT

__all__ = ["Facts", "Loaded", "Other"]


class Facts(Struct, frozen=True):
    """What is known of a loaded version beside its signature.

    Attributes:
        framework, example, variant, digest: for the catalog.
        ladder: seconds of a run by rows, as measured when it was loaded (`ladder.py`).
        invariant: whether a row's answer is the same alone and among others, so that requests may share a run.
        weights: where they are: the file that processes share, or why they are not shared ("" for small ones).
        apart: a run may block for as long as it likes, so none may be on the event loop.
        about: what the artifact says of itself, for people: headings, each with its lines.
        delay: seconds that a request may wait for others to share its run; None for the server's rule.
    """

    framework: str
    example: Mapping[str, object]
    variant: str
    digest: str
    ladder: Mapping[int, float] = field(default_factory=dict)
    invariant: bool = False
    weights: str = ""
    apart: bool = False
    delay: float | None = None
    about: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Loaded:
    """A runner with a count of the requests that use it. Safe to share between threads.

    Attributes:
        others: by name the version's other signatures, and this one or another once more where it has a further name.
            They are retired and closed with it.
    """

    __slots__ = ("_after", "_leases", "_lock", "facts", "line", "others", "runner", "watch")
    called = DEFAULT  # the name of the signature

    def __init__(self, runner: Runner, facts: Facts) -> None:
        self.runner, self.facts = runner, facts
        self.line: Any = None  # where its requests wait (`line.Line`), from the first one of a loop on
        self.watch: Any = None  # notes the rows of its runs (`monitor/watch.py`), where they are watched
        self.others: dict[str, Loaded] = {}
        self._lock = Lock()
        self._leases = 0
        self._after: Callable[[], None] | None = None

    def under(self, name: str) -> Loaded:
        """The signature of this name; this one where there is no other of it."""
        return self.others.get(name, self)

    def acquire(self) -> bool:
        """Take a lease; False once the version is retired."""
        with self._lock:
            if self._after is not None:
                return False
            self._leases += 1
            return True

    def release(self) -> None:
        with self._lock:
            self._leases -= 1
            after = self._after if self._leases == 0 else None
        if after is not None:
            self._end(after)

    def retire(self, after: Callable[[], None]) -> None:
        """Refuse new leases; close the runner and call `after` as soon as none is out. A second call does nothing."""
        with self._lock:
            if self._after is not None:
                return
            self._after = after
            last = self._leases == 0
        if last:
            self._end(after)

    def close(self) -> None:
        """End it at once: for a version that nobody has found yet, or that nobody has a lease on any more."""
        ending = self.signatures
        self.others = {}  # each of them points back
        for one in ending:
            if one.line is not None:
                one.line.close()
            one.runner.close()

    @property
    def signatures(self) -> list[Loaded]:
        """This one and the others, each once."""
        return list(dict.fromkeys((self, *self.others.values())))

    def _end(self, after: Callable[[], None]) -> None:
        self.close()
        after()


class Other(Loaded):
    """Another signature of a version: a runner, facts and a line of its own. Its leases are the version's."""

    __slots__ = ("_version", "called")

    def __init__(self, runner: Runner, facts: Facts, version: Loaded, called: str) -> None:
        super().__init__(runner, facts)
        self._version, self.called = version, called

    def acquire(self) -> bool:
        return self._version.acquire()

    def release(self) -> None:
        self._version.release()
