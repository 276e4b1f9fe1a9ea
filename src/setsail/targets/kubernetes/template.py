"""Objects with holes, and the two ways to fill them: values now (plain manifests), or Helm later (a chart).

Each Kubernetes object is built once, as dicts and lists whose leaves may be holes. `fill` puts values in; `yaml` writes
either what was filled or, with the holes still there, the template that Helm fills with the same values. So the
chart and the plain manifests cannot drift apart.

Holes name values by their dotted key. In a template a text is quoted by Helm (`quote`) and what is a map or a list is
written as JSON, which is YAML, on one line: no value can change the structure around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Choice", "Condition", "Spread", "Sum", "Text", "Value", "When", "fill", "template", "yaml"]

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*")
_WORDS: Final = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))  # not texts in YAML


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a key, as it is."""

    key: str


@dataclass(frozen=True, slots=True)
class Text:
    """The value of a key as a text: environment variables are texts, whatever they hold."""

    key: str


@dataclass(frozen=True, slots=True)
class Spread:
    """In a list: the items of the key's value, a list."""

    key: str


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of whole numbers: those of the keys, and `plus`; as a text where that is wanted."""

    keys: tuple[str, ...]
    plus: int = 0
    text: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """`then` where the key's value is not empty, else the text of another key."""

    key: str
    then: str
    otherwise: str


@dataclass(frozen=True, slots=True)
class Condition:
    """True where each value of `all` is neither empty, zero nor false, and each of `none` is."""

    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def holds(self, values: Mapping[str, Any]) -> bool:
        return all(values[key] for key in self.all) and not any(values[key] for key in self.none)

    @property
    def helm(self) -> str:
        terms = [f".Values.{key}" for key in self.all] + [f"(not .Values.{key})" for key in self.none]
        return terms[0].strip("()") if len(terms) == 1 else f"and {' '.join(terms)}"


@dataclass(frozen=True, slots=True)
class When:
    """A value of a dict, or an item of a list, that is there under a condition only."""

    condition: Condition
    body: Any


def fill(node: Any, values: Mapping[str, Any]) -> Any:
    """The object with its holes filled.

    Args:
        values: by dotted key.
    """
    match node:
        case Value(key):
            return values[key]
        case Text(key):
            return str(values[key])
        case Sum(keys, plus, text):
            total = sum(values[key] for key in keys) + plus
            return str(total) if text else total
        case Choice(key, then, otherwise):
            return then if values[key] else str(values[otherwise])
        case Mapping():
            kept = {key: _kept(item, values) for key, item in node.items()}
            return {key: fill(item, values) for key, item in kept.items() if item is not _GONE}
        case list():
            return [fill(item, values) for item in _spread(node, values)]
    return node


_GONE: Final = object()


def _kept(item: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(item, When):
        return item.body if item.condition.holds(values) else _GONE
    return item


def _spread(node: list[Any], values: Mapping[str, Any]) -> Iterator[Any]:
    for item in node:
        if isinstance(item, Spread):
            yield from values[item.key]
        elif (kept := _kept(item, values)) is not _GONE:
            yield kept


def template(node: Mapping[str, Any], kinds: Mapping[str, type], condition: Condition | None = None) -> str:
    """A file of a chart: the object with its holes as Helm's actions.

    Args:
        kinds: the type of each key's value, which decides how Helm writes it.
    """
    text = "\n".join(_lines(node, 0, kinds)) + "\n"
    if condition is None:
        return text
    return f"{{{{- if {condition.helm} }}}}\n{text}{{{{- end }}}}\n"


def yaml(node: Any, notes: Mapping[str, str] | None = None) -> str:
    """An object without holes as YAML.

    Args:
        notes: comments by dotted key, written on the line above.
    """
    return "\n".join(_lines(node, 0, {}, notes or {})) + "\n"


def _lines(
    node: Any, indent: int, kinds: Mapping[str, type], notes: Mapping[str, str] | None = None, at: str = ""
) -> Iterator[str]:
    """Block style: two spaces a level, items of a list at their key's level and two in."""
    pad = " " * indent
    if isinstance(node, Mapping):
        for key, item in node.items():
            place = f"{at}.{key}" if at else str(key)
            if notes and place in notes:
                yield f"{pad}# {notes[place]}"
            body = item.body if isinstance(item, When) else item
            lines = _entry(f"{pad}{_scalar(str(key))}:", body, indent, kinds, notes, place)
            yield from _guarded(item, pad, lines)
    else:
        for item in node:
            if isinstance(item, Spread):
                yield f"{pad}{{{{- range .Values.{item.key} }}}}"
                yield f"{pad}- {{{{ toJson . }}}}"
                yield f"{pad}{{{{- end }}}}"
                continue
            body = item.body if isinstance(item, When) else item
            yield from _guarded(item, pad, _item(pad, body, indent, kinds))


def _guarded(item: Any, pad: str, lines: Iterator[str]) -> Iterator[str]:
    if not isinstance(item, When):
        yield from lines
        return
    yield f"{pad}{{{{- if {item.condition.helm} }}}}"
    yield from lines
    yield f"{pad}{{{{- end }}}}"


def _entry(
    head: str, body: Any, indent: int, kinds: Mapping[str, type], notes: Mapping[str, str] | None, at: str
) -> Iterator[str]:
    if isinstance(body, Mapping | list) and body:
        yield head
        yield from _lines(body, indent + 2, kinds, notes, at)
    else:
        yield f"{head} {_leaf(body, kinds)}"


def _item(pad: str, body: Any, indent: int, kinds: Mapping[str, type]) -> Iterator[str]:
    if isinstance(body, Mapping) and body:
        lines = list(_lines(body, indent + 2, kinds))
        yield f"{pad}- {lines[0].lstrip()}"
        yield from lines[1:]
    else:
        yield f"{pad}- {_leaf(body, kinds)}"


def _leaf(body: Any, kinds: Mapping[str, type]) -> str:
    match body:
        case Value(key):
            how = {int: " | int", str: " | quote", bool: ""}.get(kinds[key], " | toJson")
            return f"{{{{ .Values.{key}{how} }}}}"
        case Text(key):
            return f"{{{{ .Values.{key}{' | int' if kinds[key] is int else ''} | quote }}}}"
        case Sum(keys, plus, text):
            terms = " ".join(f"(int .Values.{key})" for key in keys)
            return f"{{{{ add {terms} {plus}{' | quote' if text else ''} }}}}"
        case Choice(key, then, otherwise):
            other = f"{{{{ .Values.{otherwise} | quote }}}}"
            return f"{{{{ if .Values.{key} }}}}{json.dumps(then)}{{{{ else }}}}{other}{{{{ end }}}}"
        case str():
            return _scalar(body)
    return json.dumps(body, ensure_ascii=False)


def _scalar(text: str) -> str:
    """A text as it is where YAML reads it as one and as nothing else, else quoted as JSON quotes."""
    plain = _PLAIN.fullmatch(text) is not None and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
