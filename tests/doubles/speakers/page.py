"""docs/wires/README.md: which form of which wire carries what, as tests hold the server to it, and what each costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from frameworks import FRAMEWORKS

from setsail.tensors import DTYPES
from speakers import SPEAKERS, Speaker
from speakers.clients import CLIENTS

__all__ = ["page"]

FIGURES: Final = Path(__file__).parents[3] / "benchmarks" / "wires.json"
_HEAD: Final = """# The wires

Made from `tests/doubles/speakers/` by `python scripts/docs.py`: change it there. A row is one form of a wire. Every
cell is a case of `tests/contracts/test_speakers.py` or `test_frameworks.py`, which ask a real server over a socket;
where a client is named, `test_real_clients.py` asks the same with it (`make test-all`).

What holds for all of them, and is a case for each: extreme values of a dtype come back exactly, 64-bit integers beyond
2^53 and the sign of zero included; NaN and both infinities come back as they were sent; the same request gives the
same numbers to the last bit through every form (equal batches); one fault has one code and a text in the wire's own
shape, be it a model, a version or a signature that is not there, a wrong dtype or shape, an input too few or too many,
an empty batch, a body that is too large, a model that is not ready or whose queue is full; a request whose client went
away is not run. Where a form cannot know a fault by its usual name, its row says what it is called (`odd`): a CSV
without a header has no missing inputs, only ragged rows.

The REST wires as a document for tools: `/openapi.json` on the admin port, and `/openapi/NAME.json` for one model with
its own names, dtypes and categories; a model of several [signatures](../artifact.md#several-signatures) has a schema of
each for the wires that can name one. It is made of the routes and the signatures that are served (OpenAPI 3.1), and
Schemathesis holds the server to it.
"""
_CHOICES: Final = """## What can be asked

*outputs*: what is answered when nothing is chosen. *choice*: what a client can choose beside the model and its version.
*beside*: what is left out without a word, because the original does so; everywhere else an unknown input is a fault.
"""
_COSTS: Final = """## What it costs

CPU of a request on the server, one row of four numbers in and three out, 64 clients (`python -m benchmarks.wires
--write`). A form whose decoder is slower may cost more where rows are few; the ratio is to the plain wire's rows, of
gRPC to Open Inference Protocol's raw tensors.
"""


def page() -> str:
    return "\n".join([_HEAD, *_dtypes(), *_frameworks(), _CHOICES, _choices(), *_costs()])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:], ""])


def _named(speaker: Speaker) -> str:
    return f"[{speaker.name}]({speaker.page}.md)"


def _dtypes() -> Iterable[str]:
    def cell(speaker: Speaker, dtype: str) -> str:
        if dtype in speaker.lacks:
            return f"`{speaker.lacks[dtype]}`"
        return speaker.carried_as.get(dtype, "yes")

    yield "## Dtypes\n"
    yield "A code is the answer to a dtype that the form cannot carry. *no text*: a text that is missing.\n"
    names = [dtype.name for dtype in DTYPES]
    yield _table(
        ("form", *names, "NaN, ±∞", "no text"),
        (
            (_named(s), *(cell(s, name) for name in names), "yes", "yes" if s.missing_text else "none")
            for s in SPEAKERS.values()
        ),
    )


def _frameworks() -> Iterable[str]:
    def cells(speaker: Speaker) -> Iterable[str]:
        for framework in FRAMEWORKS.values():
            fits = {"table": framework.table, "one input": not framework.several}.get(speaker.only, True)
            yield "yes" if fits else f"{speaker.only} only"

    yield "## Frameworks\n"
    yield (
        "A trained pipeline, classifier, regressor, network and graph of two inputs, packed and served. Forms that "
        "hold\ntables alone have no place for a bare tensor.\n"
    )
    yield _table(
        ("form", *(framework.title for framework in FRAMEWORKS.values()), "asked by, with every dtype and framework"),
        (
            (_named(s), *cells(s), CLIENTS[s.name].title if s.name in CLIENTS else "our own bytes")
            for s in SPEAKERS.values()
        ),
    )


def _choices() -> str:
    def row(speaker: Speaker) -> Sequence[str]:
        choice = [name for name, yes in (("outputs", speaker.filters), ("signature", speaker.signatures)) if yes]
        beside = [name for name, fault in (("extra inputs", "extra"), ("extra columns", "shape"))
                  if speaker.odd.get(fault) == ""]  # fmt: skip
        return (_named(speaker), speaker.outputs, ", ".join(choice), ", ".join(beside), speaker.client)

    return _table(("form", "outputs", "choice", "beside", "client"), map(row, SPEAKERS.values()))


def _costs() -> Iterable[str]:
    found = json.loads(FIGURES.read_text())
    yield _COSTS
    rows = ((name, f"{row['microseconds']:.0f}", f"{row['ratio']:.2f}") for name, row in found.items())
    yield _table(("form", "microseconds", "ratio"), rows)
