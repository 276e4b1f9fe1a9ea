"""Text vectorisers, the same on every machine's locale.

A text goes three ways: lower-casing and accents are the step `text.normalize` (Python's Unicode tables, which the
source used); cutting into tokens is onnxruntime's Tokenizer, whose RE2 takes time linear in the text; counting n-grams
is ONNX's TfIdfVectorizer.

RE2's own `\\p{L}` follows another Unicode version than Python's `\\w` (5,010 characters differ between onnxruntime 1.31
and Python 3.11), so the character class is spelled out, range by range, as the Python that converts knows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np

from setsail.convert.graph import ML, MS, Graph
from setsail.convert.sklearn.compose import column_indices
from setsail.convert.sklearn.emit import Frame, Results, Value
from setsail.convert.sklearn.facts import VECTORIZERS
from setsail.convert.sklearn.inputs import Layout
from setsail.convert.sklearn.preprocess import normalized
from setsail.convert.sklearn.values import numbers, refuse, texts
from setsail.steps import Step
from setsail.tensors import NULL

__all__ = ["count", "hashing", "steps_of", "tfidf", "tfidf_transformer", "token_expression"]

_PAD: Final = NULL  # never a token: a noncharacter is in no class below
_NEVER: Final = "\ufdd1"  # n-grams of the vocabulary that no text can have


# -- emitters ------------------------------------------------------------------------------------------------------


def count(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """CountVectorizer: how often each n-gram of the vocabulary occurs, `[N, vocabulary]`."""
    text = texts(graph, x, estimator)
    _check(estimator)
    tokens = _tokens(graph, estimator, text.name)
    name = graph.cast(_counts(graph, estimator, tokens), "float64")
    if estimator.binary:
        name = graph.node("Min", name, graph.constant(1.0))
    return {"transformed": Value(name, "float64", len(estimator.vocabulary_))}


def tfidf(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """TfidfVectorizer: counts, then its own TfidfTransformer."""
    return tfidf_transformer(graph, estimator._tfidf, count(graph, estimator, x)["transformed"])


def tfidf_transformer(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """Counts to weights: 1 + log(tf) on demand, times idf, rows of norm 1."""
    value = numbers(graph, x, estimator)
    if estimator.sublinear_tf:
        none = graph.node("Equal", value.name, graph.constant(0.0))
        log = graph.node("Log", graph.node("Where", none, graph.constant(1.0), value.name))
        log = graph.node("Add", log, graph.constant(1.0))
        value = replace(value, name=graph.node("Where", none, value.name, log))
    if estimator.use_idf:
        value = replace(value, name=graph.node("Mul", value.name, graph.constant(estimator.idf_, np.float64)))
    return {"transformed": normalized(graph, value, estimator.norm) if estimator.norm else value}


def hashing(graph: Graph, estimator: Any, x: Value | Frame) -> Results:
    """HashingVectorizer has no operator with its hash."""
    raise refuse(estimator, "has no exact conversion", "use TfidfVectorizer or CountVectorizer")


# -- what a program can do the same way ----------------------------------------------------------------------------


def _check(estimator: Any) -> None:
    """Refuse what is somebody's Python code, or cut in a way RE2 does not."""
    for option in ("preprocessor", "tokenizer"):
        if getattr(estimator, option) is not None:
            raise refuse(estimator, f"has a {option} that is Python code", f"leave {option}=None")
    if estimator.analyzer != "word":
        raise refuse(estimator, f"has analyzer={estimator.analyzer!r}", "use analyzer='word'")
    if estimator.input != "content":
        raise refuse(estimator, f"reads input={estimator.input!r}", "use input='content'")
    if estimator.strip_accents not in (None, "ascii", "unicode"):
        raise refuse(estimator, "strips accents by Python code", "use strip_accents='unicode', 'ascii' or None")
    token_expression(estimator.token_pattern)


_WORD = re.compile(r"\w")
_BLACK = re.compile(r"\S")
# What repeats, by its spelling: greedy runs of one class, for which leftmost-longest (RE2) is leftmost-first (Python).
_CLASS: Final = r"(?P<class>\\w|\\S|\[[A-Za-z0-9_-]+\])"
_FORMS: Final[Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], int]]]] = (
    (re.compile(_CLASS + r"\+"), lambda found: 1),
    (re.compile(_CLASS + r"\{(?P<least>\d+),\}"), lambda found: int(found["least"])),
    (re.compile(r"(?P<class>\\w)(?P<more>(?:\\w)+)\+"), lambda found: 1 + len(found["more"]) // 2),
)


@cache
def token_expression(pattern: str) -> str:
    r"""A `token_pattern` of Python's `re` as RE2 that cuts every text in the same way.

    Runs of `\w`, `\S` or a class of ASCII letters, digits and `_` are taken: `\w+`, `\w\w+`, `\w{3,}`, `[a-z]+`; `\b`
    around a run of `\w` changes nothing, since the longest run ends at a boundary.

    Raises:
        SetsailError: `convert.unsupported` for every other pattern.
    """
    body = pattern.removeprefix("(?u)")
    bare = body[2:-2] if body.startswith(r"\b") and body.endswith(r"\b") else body
    for form, least in _FORMS:
        found = form.fullmatch(bare)
        if found is not None and (bare == body or found["class"] == r"\w"):
            return f"{_spelled(found['class'])}{{{max(least(found), 1)},}}"
    raise refuse("token_pattern", f"{pattern!r} cannot be cut the same way by the runtime",
                 r"use a pattern such as (?u)\b\w\w+\b, \w+ or [a-z]+")  # fmt: skip


@cache
def _spelled(name: str) -> str:
    """A class as explicit ranges of code points."""
    if name.startswith("["):
        return name
    pattern = _WORD if name == r"\w" else _BLACK
    ranges: list[list[int]] = []
    for code in (*range(0xD800), *range(0xE000, 0x110000)):
        if pattern.match(chr(code)):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"


# -- tokens and counts ---------------------------------------------------------------------------------------------


def _tokens(graph: Graph, estimator: Any, text: str) -> str:
    """`[N, longest + 1]` tokens of each text, stop words taken out, padded."""
    cut = graph.node("Tokenizer", text, domain=MS, mark=0, mincharnum=1, pad_value=_PAD,
                     tokenexp=token_expression(estimator.token_pattern))  # fmt: skip
    # one column of padding, so that a batch without any token is not empty
    rows = graph.node("Concat", graph.node("Shape", text), graph.constant([1], np.int64), axis=0)
    tokens = graph.node("Concat", cut, graph.node("Expand", graph.constant([[_PAD]]), rows), axis=1)
    stopped = sorted(estimator.get_stop_words() or ())
    if not stopped or estimator.ngram_range[1] == 1:  # alone, a stop word is just a word not in the vocabulary
        return str(tokens)
    stop = graph.node("LabelEncoder", tokens, domain=ML, keys_strings=stopped, values_int64s=[1] * len(stopped),
                      default_int64=0)  # fmt: skip
    length = graph.node("Gather", graph.node("Shape", tokens), graph.constant([1], np.int64), axis=0)
    flat = graph.node("Reshape", length, graph.constant([], np.int64))
    place = graph.node("Range", graph.constant(0, np.int64), flat, graph.constant(1, np.int64))
    key = graph.node("Add", place, graph.node("Mul", stop, length))  # stop words behind all others, in order
    _, order = graph.node("TopK", key, length, outputs=2, largest=0, sorted=1, axis=1)
    blank = graph.node("Where", graph.cast(stop, "bool"), graph.constant(_PAD), tokens)
    return str(graph.node("GatherElements", blank, order, axis=1))


def _counts(graph: Graph, estimator: Any, tokens: str) -> str:
    """ONNX TfIdfVectorizer in mode TF: counts of the vocabulary's n-grams, float32 (exact up to 2^24)."""
    low, high = estimator.ngram_range
    pools: dict[int, list[tuple[tuple[str, ...], int]]] = {n: [] for n in range(1, high + 1)}
    for term, place in sorted(estimator.vocabulary_.items(), key=lambda item: int(item[1])):
        words = tuple(str(term).split(" "))
        if not (low <= len(words) <= high and all(words)):
            words = (f"{_NEVER}{place}",) * low
        pools[len(words)].append((words, int(place)))
    starts: list[int] = []
    strings: list[str] = []
    places: list[int] = []
    for size in range(1, high + 1):
        starts.append(len(strings))
        strings += [word for words, _ in pools[size] for word in words]
        places += [place for _, place in pools[size]]
    return str(
        graph.node(
            "TfIdfVectorizer",
            tokens,
            mode="TF",
            min_gram_length=low,
            max_gram_length=high,
            max_skip_count=0,
            ngram_counts=starts,
            ngram_indexes=places,
            pool_strings=strings,
        )
    )


# -- steps ---------------------------------------------------------------------------------------------------------


def steps_of(estimator: Any, layout: Layout) -> tuple[Step, ...]:
    """The `text.normalize` steps of a model's inputs.

    A step changes an input for everything that reads it, so a column may not be read both normalized and as it is.
    """
    uses: dict[str, set[tuple[bool, str | None] | None]] = {c.name: set() for c in layout.columns}
    _walk(estimator, [c.name for c in layout.columns], uses)
    steps = []
    for name, found in uses.items():
        if len(found - {None}) == 0:
            continue
        if len(found) > 1:
            raise refuse(f"the text column {name!r}", "is read in two ways, normalized differently",
                         "give each its own copy of the column")  # fmt: skip
        (options,) = found - {None}
        if options is not None and any(options):
            steps.append(Step("text.normalize", (name,), (), {"lowercase": options[0], "strip_accents": options[1]}))
    return tuple(steps)


def _walk(estimator: Any, names: list[str], uses: dict[str, set[tuple[bool, str | None] | None]]) -> bool:
    """Note how each raw column is read; returns whether the columns come out as they went in."""
    if estimator is None or estimator in ("passthrough", "drop"):
        return True
    kind = type(estimator).__name__
    if kind == "Pipeline":
        unchanged = True
        for _, step in estimator.steps:
            if not unchanged and _normalizes(step):
                raise refuse(step, "reads text that another step made", "let the vectoriser read the column itself")
            unchanged = unchanged and _walk(step, names, uses)
        return unchanged
    if kind == "FeatureUnion":
        for _, part in estimator.transformer_list:
            _walk(part, names, uses)
    elif kind == "ColumnTransformer":
        for _, part, chosen in estimator.transformers_:
            _walk(part, [names[i] for i in column_indices(estimator, chosen)], uses)
    elif kind == "TransformedTargetRegressor":
        return _walk(estimator.regressor_, names, uses)
    else:
        for name in names:
            uses[name].add((estimator.lowercase, estimator.strip_accents) if kind in VECTORIZERS else None)
        return kind == "FunctionTransformer" and estimator.func is None
    return False


def _normalizes(step: Any) -> bool:
    return type(step).__name__ in VECTORIZERS and (step.lowercase or step.strip_accents is not None)
