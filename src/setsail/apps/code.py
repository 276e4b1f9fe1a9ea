"""Somebody's code as a model: the one noun that every kind of it shares, and the table of kinds.

Code runs in a process of its own (`process.py`), whatever it is: a function of a file, a handler of another server, a
model directory that brings its own loader. What differs is told by an `Entry`: which kind it is, where its files are,
which Python runs it. To add a kind:

*In the child*, a function `load(options) -> Code`, named by a row of KINDS as `module:function`. It runs behind the
sandbox, in the entry's folder, with its Python, and only there may a framework be imported. What it returns has

    signature   what clients see: a `Signature` whose tensors have the rows first
    run         checked arrays by name, all of the same number of rows -> the outputs' arrays by name, as many rows

`load` may raise anything: a `SetsailError` is told as it is, anything else is `app.load` with its trace in the
operator's log. `run` may, too: the client gets an id, the log the trace (`app.fault`; WrongAnswerError is
`app.answer`). `code.hints` does not exist here: a signature may come from type hints (`hints.py`), be declared in
`Entry.options`, or be REQUESTS below, for code that reads requests by itself.

*In the parent*, something that makes an `Entry` of a path: a row of `server.apps.ENTRIES`, format of
`convert/formats.py` -> `module:function`, path -> Entry, or None for what is no code but a model to be packed. It reads
files and runs nothing. `Kind.trust` is what `--trust` must name before the child is started.

    KINDS["pyfunc"] = Kind("setsail.apps.pyfunc:load", "model", "pyfunc")
    Entry("pyfunc", folder, "churn (MLflow)", {"folder": str(folder), "signature": {…}}, python=environment.python)

Code that reads requests by itself (REQUESTS) has one input, `request`. A row of it is either plain bytes, the body, or
a sealed `letters.Letter`: the fields of a form, their types, and headers; `Letter.opened` takes both. Its two outputs
are `output`, a text, and `headers`, a JSON object with what the code said about it (`letters.Reply`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from setsail.signature import BATCH, Signature, TensorSpec
from setsail.tensors import BY_NAME, Array

__all__ = ["KINDS", "REQUESTS", "Code", "Entry", "Kind", "WrongAnswerError"]

_TEXT: Final = BY_NAME["string"]
REQUESTS: Final = Signature(
    (TensorSpec("request", _TEXT, (BATCH,), content="request"),),
    (TensorSpec("output", _TEXT, (BATCH,)), TensorSpec("headers", _TEXT, (BATCH,))),
    ("output",),
)  # fmt: skip


class Kind(NamedTuple):
    """A kind of code.

    Attributes:
        load: `module:function` of the child: options -> Code.
        noun: what a person calls it.
        trust: the `--trust` kind that it takes.
    """

    load: str
    noun: str
    trust: str


KINDS: Final[Mapping[str, Kind]] = {
    "function": Kind("setsail.apps.calling:load", "function", "app"),
    "torchserve": Kind("setsail.apps.torchserve.handling:load", "handler", "mar"),
    "pyfunc": Kind("setsail.apps.pyfunc:load", "model", "pyfunc"),
    "sagemaker": Kind("setsail.apps.scripts.sagemaker:load", "script", "app"),
    "azure": Kind("setsail.apps.scripts.azure:load", "script", "app"),
}


@dataclass(frozen=True)
class Entry:
    """One piece of code as a model. Everything of it but `options` is the parent's business alone.

    Attributes:
        kind: a key of KINDS.
        place: its file or its folder. The folder is the child's current one, and what it may read.
        title: a few words for people: "app.py:predict", "cat.mar".
        options: JSON values for the child's `load`. Paths in it as texts.
        name, version: of the model, where nobody says otherwise.
        python: the interpreter that runs it; empty for `Terms.python`.
        readable: files and folders that it may read beside its own.
        max_batch: most rows of one call; None for any number.
        delay: seconds that a request may wait for others to share its call; None for the server's rule.
        digest: of everything that decides what it does; changed code has another.
        requirements: packages that it asks for, as pip reads them, where no interpreter is named yet; their environment
            is made ahead (`environments.py`), unless the operator chose one.
    """

    kind: str
    place: Path
    title: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    name: str = "model"
    version: int = 1
    python: str = ""
    readable: tuple[str, ...] = ()
    max_batch: int | None = None
    delay: float | None = None
    digest: str = ""
    requirements: bytes = b""

    @property
    def folder(self) -> Path:
        return self.place if self.place.is_dir() else self.place.parent

    @property
    def noun(self) -> str:
        return KINDS[self.kind].noun

    @property
    def trust(self) -> str:
        return KINDS[self.kind].trust

    def interpreter(self, chosen: str) -> str:
        """The Python that runs it, where `chosen` is the operator's for code that has none of its own."""
        return self.python or chosen or sys.executable


class Code(Protocol):
    """What a child's `load` returns."""

    @property
    def signature(self) -> Signature: ...

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Answer rows.

        Args:
            inputs: checked arrays by name, which belong to the code from now on.

        Raises:
            WrongAnswerError: for what is not as it was declared; otherwise whatever the code raises.
        """
        ...


class WrongAnswerError(Exception):
    """The code returned what was not declared. The text is for the operator."""
