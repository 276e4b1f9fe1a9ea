"""An artifact for people: in a terminal, in Jupyter, and as the `card.md` inside it. Made from the manifest alone.

The manifest may be a stranger's, so texts are made printable (no terminal escapes) and escaped for HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from setsail.artifact import manifest
from setsail.parity import ParityReport
from setsail.signature import TensorSpec
from setsail.variants import EXTRAS

__all__ = ["bytes_text", "card", "facts", "page", "printable", "terminal"]

_ROWS = 12
_EVERY = 1 << 20


def printable(text: str) -> str:
    """Text without control characters: what is not printable is shown as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def bytes_text(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def facts(body: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What it holds and what was measured of it: headings, each with its lines."""
    return tuple((head, tuple(texts)) for head, texts in _facts(body))


def terminal(body: Mapping[str, Any], digest: str, size: int, path: Path | None) -> str:
    lines = [f"{_title(body)}   {bytes_text(size)}   sha256 {digest[:12]}…"]
    for head, texts in _facts(body):
        lines += [f"  {head if i == 0 else '':<10} {text}" for i, text in enumerate(texts)]
    return "\n".join([*lines, f"  {'next':<10} {_next(body, path)}"])


def page(body: Mapping[str, Any], digest: str, size: int, path: Path | None) -> str:
    facts = [*_facts(body), ("digest", [f"sha256 {digest}"]), ("next", [_next(body, path)])]
    rows = "".join(
        f"<tr><th style='text-align:left;vertical-align:top'>{_escaped(head)}</th>"
        f"<td style='text-align:left'>{'<br>'.join(f'<code>{_escaped(t)}</code>' for t in texts)}</td></tr>"
        for head, texts in facts
    )
    return f"<p><b>{_escaped(_title(body))}</b>, {bytes_text(size)}</p><table>{rows}</table>"


def card(body: Mapping[str, Any]) -> str:
    """`card.md`: the facts as Markdown."""
    sections = [f"# {_title(body)}", ""]
    for head, texts in _facts(body, rows=_EVERY):
        sections += [f"## {head}", "", *(f"    {text}" for text in texts), ""]
    return "\n".join(sections)


def _title(body: Mapping[str, Any]) -> str:
    return f"{body['name']} version {body['version']}"


def _facts(body: Mapping[str, Any], rows: int = _ROWS) -> list[tuple[str, list[str]]]:
    signature = manifest.signature_of(body)
    package = body["versions"].get(body["framework"], "")
    facts = [
        ("model", [f"{body['framework']} {package}".strip() + f" · {body['estimator']} ({body['kind']})"]),
        ("inputs", _tensors(signature.inputs, rows)),
        ("outputs", _tensors(signature.outputs, rows)),
        ("default", [", ".join(signature.defaults)]),
        ("variants", [f"{v['id']} ({v['format']}, {v['precision']}){_bound(v)}" for v in body["variants"]]),
        ("steps", [f"{s['kind']} on {', '.join(s['inputs'])}" for s in body["steps"]]),
        ("parity", str(ParityReport.from_json(body["parity"])).splitlines()),
        (
            "also",
            [
                *(line for name in manifest.others(body) for line in _other(name, manifest.turned(body, name), rows)),
                *(f"signature {name}, the same as {meant}" for name, meant in manifest.aliases(body).items()),
            ],
        ),
        ("notes", list(body["notes"])),
    ]
    return [(head, [printable(text) for text in texts]) for head, texts in facts if texts]


def _other(name: str, turned: Mapping[str, Any], rows: int) -> list[str]:
    """Another signature: the same facts, beneath its name."""
    told = [(head, texts) for head, texts in _facts(turned, rows) if head not in ("model", "notes")]
    lines = [f"  {head if i == 0 else '':<8} {text}" for head, texts in told for i, text in enumerate(texts)]
    return [f"signature {name}", *lines]


def _bound(variant: Mapping[str, Any]) -> str:
    extra = EXTRAS.get(variant["format"])
    bound = "" if variant["max_batch"] is None else f", at most {variant['max_batch']} rows a run"
    return bound + (f", run by setsail[{extra}]" if extra else "")


def _tensors(specs: Sequence[TensorSpec], rows: int) -> list[str]:
    lines = [f"{spec}{_words('columns', spec.columns)}{_words('labels', spec.labels)}" for spec in specs[:rows]]
    return lines + ([f"… and {len(specs) - rows} more"] if len(specs) > rows else [])


def _words(what: str, words: Sequence[str]) -> str:
    if not words:
        return ""
    return f"  {what} " + ", ".join(words[:6]) + (f", … ({len(words)})" if len(words) > 6 else "")


def _next(body: Mapping[str, Any], path: Path | None) -> str:
    file = f"{body['name']}-{body['version']}.setsail" if path is None else str(path)
    return printable(f"setsail serve {file}")


def _escaped(text: str) -> str:
    """For HTML text. The standard library's `html` loads every entity there is, which a server's start would feel."""
    return text.translate({ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"})
