"""Agreement of two sets of outputs: the source model's and the program's.

The rule (`contract.md` §6). A score passes when |a - b| <= 1e-4 + 1e-3 * |b|, b being the source; a tolerance T
multiplies both terms. Labels may differ only where the source's own top two scores are closer than that. Example
rows may not fail at all. Boundary rows (values beside a threshold) may fail on at most 0.1 % of rows, each by no more
than one leaf: there one step of a dtype legitimately decides between two leaves. Synthetic rows count as examples.
Tied rows, on which the source itself chooses among equals by chance (neighbours exactly equally far), may all differ,
each by no more than that choice explains.

Pure: takes arrays, runs nothing. Whoever has both models passes their outputs in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct

from setsail.errors import shorten
from setsail.signature import Signature
from setsail.tensors import Array

__all__ = ["ABSOLUTE", "BOUNDARY_SHARE", "RELATIVE", "Check", "ParityReport", "compare"]

ABSOLUTE: Final = 1e-4
RELATIVE: Final = 1e-3
BOUNDARY_SHARE: Final = 1e-3
_RANKED: Final = ("scores", "classes")  # outputs: scores of several classes a row, and the label of each
_LENIENT: Final = {"boundary": BOUNDARY_SHARE, "tied": 1.0}


class Check(Struct, frozen=True):
    """One set of rows compared.

    Attributes:
        what: "example", "synthetic", "boundary" or "tied".
        batch: how many rows went in at once (0: all of them).
        rows, failed: how many rows there were, how many break the rule.
        worst: largest |a - b| over all numeric outputs; `worst_output` and `worst_row` say where.
        allowed: how many rows may fail.
        unexplained: failed boundary rows that differ by more than one leaf; any one of them refuses.
        flips, flipped, first: for people: rows in which an output of labels or whole numbers is another one, the
            first such output, and its first such value on both sides; or what is wrong with a tensor as a whole.
    """

    what: str
    batch: int
    rows: int
    failed: int
    worst: float
    worst_output: str
    worst_row: int
    allowed: int = 0
    unexplained: int = 0
    flips: int = 0
    flipped: str = ""
    first: str = ""

    @property
    def where(self) -> str:
        """The output that differs."""
        return self.flipped if self.flips and self.worst <= ABSOLUTE else self.worst_output

    @property
    def gap(self) -> str:
        """How far it is from the source, in words. Labels that are other ones have no distance."""
        if self.flips == 0 and self.first:
            return self.first
        told = [f"a difference of {self.worst:.3g}"] if self.worst > ABSOLUTE or not self.flips else []
        if self.flips:
            told.append(f"{self.flipped!r} is another in {self.flips} of {self.rows} rows, first in {self.first}")
        return "; ".join(told)

    @property
    def passed(self) -> bool:
        return self.failed <= self.allowed and self.unexplained == 0

    def to_json(self) -> dict[str, Any]:
        body = {
            "what": self.what, "batch": self.batch, "rows": self.rows, "failed": self.failed,
            "worst": float(f"{self.worst:.3g}"), "worst_output": self.worst_output, "worst_row": self.worst_row,
            "allowed": self.allowed, "unexplained": self.unexplained,
        }  # fmt: skip
        # what was packed has passed, and the format of artifacts has no words for what did not
        return body if self.passed else body | {"flips": self.flips, "flipped": self.flipped, "first": self.first}


def compare(
    signature: Signature,
    source: Mapping[str, Array],
    ours: Mapping[str, Array],
    *,
    what: str,
    batch: int = 0,
    tolerance: float = 1.0,
    leaf_span: float = 0.0,
) -> Check:
    """Hold one set of outputs against the source's.

    Args:
        source, ours: by output name; equal shapes and dtypes are part of the contract, so a difference fails all rows.
        tolerance: multiplies both terms of the rule.
        leaf_span: for boundary and tied rows, the largest change that one leaf, or choice, can make to an output.
    """
    # an unbatched model's outputs need not be equally long: its whole answer is one row
    rows = (len(next(iter(source.values()))) if signature.batched else 1) if source else 0
    failed = np.zeros(rows, dtype=bool)
    unexplained, flipped, moved = (np.zeros(rows, dtype=bool) for _ in range(3))
    worst, worst_output, worst_row = 0.0, "", 0
    flips, named, first, misshapen = 0, "", "", ""
    plausible = _plausible_labels(signature, source, tolerance)
    for spec in signature.outputs:
        expected, got = source[spec.name], ours.get(spec.name)
        if got is None or got.shape != expected.shape or got.dtype.kind != expected.dtype.kind:
            failed[:] = unexplained[:] = True
            worst, worst_output = float("inf"), spec.name
            misshapen = f"{spec.name!r} is {_form(got)} here, and {_form(expected)} in the source"
            continue
        if spec.dtype.kind != "float":
            wrong = _by_row(expected != got, rows)
            for row in np.flatnonzero(wrong) if plausible and got.ndim == 1 else ():
                wrong[row] = str(got[row]) not in plausible[row]
            for row in np.flatnonzero(wrong) if spec.name == _RANKED[1] and _RANKED[0] in source else ():
                wrong[row] = not _ranked_alike(source[_RANKED[0]][row], expected[row], got[row], tolerance)
            failed |= wrong
            flipped |= wrong
            if not named and wrong.any():
                flips, named, first = int(wrong.sum()), spec.name, _first(expected, got, wrong)
            continue
        difference = _difference(expected, got)
        bad = difference > tolerance * (ABSOLUTE + RELATIVE * np.abs(np.nan_to_num(expected, posinf=0.0, neginf=0.0)))
        failed |= _by_row(bad, rows)
        moved |= _by_row(bad, rows)
        unexplained |= _by_row(bad & (difference > leaf_span * (1 + RELATIVE) + ABSOLUTE), rows)
        row_worst = difference.reshape(rows, -1).max(axis=1, initial=0.0)
        if rows and row_worst.max() > worst:
            worst, worst_output, worst_row = float(row_worst.max()), spec.name, int(row_worst.argmax())
    unexplained |= flipped & ~moved  # a label that changed while its scores did not has no leaf to explain it
    count = int(failed.sum())
    told = (0, "", misshapen) if misshapen else (flips, named, first)
    if what not in _LENIENT:
        return Check(what, batch, rows, count, worst, worst_output, worst_row, 0, 0, *told)
    return Check(what, batch, rows, count, worst, worst_output, worst_row, int(rows * _LENIENT[what]),
                 int((failed & unexplained).sum()), *told)  # fmt: skip


def _form(array: Array | None) -> str:
    return "nothing" if array is None else f"{array.dtype} of shape {list(array.shape)}"


def _first(expected: Array, got: Array, wrong: Array) -> str:
    """The first value that is another one, in a row that counts as wrong."""
    row = int(wrong.argmax())
    a, b = (np.atleast_1d(side.reshape(len(wrong), -1)[row]) for side in (expected, got))
    at = int((a != b).argmax())
    return f"row {row}: {shorten(a.tolist()[at])} in the source, {shorten(b.tolist()[at])} here"


def _difference(expected: Array, got: Array) -> Array:
    """|a - b|, 0 where both are NaN or the same infinity, infinite where only one is."""
    a, b = expected.astype(np.float64), got.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b))
    return np.nan_to_num(difference, nan=np.inf, posinf=np.inf)


def _by_row(flags: Array, rows: int) -> Array:
    return np.asarray(np.any(np.asarray(flags, dtype=bool).reshape(rows, -1), axis=1))


def _ranked_alike(scores: Array, expected: Array, got: Array, tolerance: float) -> bool:
    """Whether labels by falling score differ only where the source itself can hardly tell: each one's score in the
    source, or (of one that is not among them) the last score at most, is that of the place where it is now."""
    if scores.shape != expected.shape or expected.shape != got.shape or expected.ndim != 1:
        return False
    known = dict(zip(map(str, expected.tolist()), scores.astype(np.float64).tolist(), strict=True))
    last = min(known.values())
    return all(
        abs(known.get(str(label), last) - score) <= 2 * tolerance * (ABSOLUTE + RELATIVE * abs(score))
        for label, score in zip(got.tolist(), scores.astype(np.float64).tolist(), strict=True)
    )


def _plausible_labels(signature: Signature, source: Mapping[str, Array], tolerance: float) -> list[set[str]]:
    """Per row, the labels that the source itself can hardly tell from its best; empty where there are no scores."""
    for spec in signature.outputs if signature.batched else ():
        if spec.dtype.kind != "float":
            continue
        scores, labels = source[spec.name].astype(np.float64), spec.labels
        if scores.ndim == 2 and len(labels) == scores.shape[1] > 1:
            best = scores.max(axis=1, keepdims=True)
            close = scores >= best - 2 * tolerance * (ABSOLUTE + RELATIVE * np.abs(best))
            return [{label for label, near in zip(labels, row, strict=True) if near} for row in close.tolist()]
        if scores.ndim == 1 and spec.name == "decision":  # of two classes: its sign decides
            both = {label for s in signature.outputs for label in s.labels}
            return [both if abs(d) <= tolerance * ABSOLUTE else set() for d in scores.tolist()]
    return []


class ParityReport(Struct, frozen=True):
    """All checks of one program against its source, and the programs tried before it that did not pass."""

    variant: str
    precision: str
    tolerance: float
    checks: tuple[Check, ...]
    refused: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(c.passed for c in self.checks)

    @property
    def worst(self) -> float:
        return max((c.worst for c in self.checks if c.what not in _LENIENT), default=0.0)

    def after(self, refused: Sequence[str]) -> ParityReport:
        """The same report, telling which programs were tried before this one and why they were not kept."""
        return ParityReport(self.variant, self.precision, self.tolerance, self.checks, tuple(refused))

    def to_json(self) -> dict[str, Any]:
        return {
            "variant": self.variant, "precision": self.precision, "tolerance": self.tolerance, "passed": self.passed,
            "checks": [c.to_json() for c in self.checks], "refused": list(self.refused),
        }  # fmt: skip

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ParityReport:
        checks = tuple(Check(**c) for c in body["checks"])
        return cls(body["variant"], body["precision"], body["tolerance"], checks, tuple(body["refused"]))

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The table that every rendering shows: rows, batch, agreed, largest difference, verdict."""
        return [
            (f"{c.rows} {c.what}", str(c.batch or "all"), f"{c.rows - c.failed}/{c.rows}", f"{c.worst:.2g}",
             "ok" if c.passed else "FAILED")
            for c in self.checks
        ]  # fmt: skip

    def __str__(self) -> str:
        head = f"parity of {self.variant} ({self.precision}): {'passed' if self.passed else 'FAILED'}"
        if self.tolerance != 1.0:
            head += f", tolerance x{self.tolerance:g}"
        lines = [head, *(f"  not kept: {reason}" for reason in self.refused)]
        table = [("rows", "batch", "agree", "largest difference", ""), *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(5)]
        lines += [
            "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in self.rows())
        verdict = "passed" if self.passed else "<b>FAILED</b>"
        head = "".join(f"<th>{h}</th>" for h in ("rows", "batch", "agree", "largest difference", ""))
        return f"<p>parity of <code>{self.variant}</code>: {verdict}</p><table><tr>{head}</tr>{body}</table>"
