"""The manifest: what is written is what is read, and a mistake is named by its path."""

import json
from typing import Any

import pytest
from drafts import small
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.artifact import manifest
from setsail.artifact.layout import Limits
from setsail.artifact.write import assemble
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME

_FIRST = ("signatures", "serving_default", "inputs", 0)
_WHERE = "signatures.serving_default.inputs[0]"


def _body() -> dict[str, Any]:
    return dict(json.loads(assemble(small())["manifest.json"]))


def test_what_is_written_is_what_is_read() -> None:
    body = manifest.parse(assemble(small())["manifest.json"], Limits())
    assert manifest.signature_of(body) == small().signature
    assert manifest.processing_of(body, {}) == small().processing
    assert manifest.variants_of(body) == tuple(v for v, _ in small().variants)


def test_an_answer_of_several_outputs() -> None:
    outputs = tuple(TensorSpec(name, BY_NAME["float32"], ("N",)) for name in ("scores", "classes"))
    signature = Signature(small().signature.inputs, outputs, ("scores", "classes"))
    body = json.loads(assemble(small(signature=signature, samples={}))["manifest.json"])
    assert body["default_output"] == ["scores", "classes"]
    assert manifest.signature_of(body).defaults == ("scores", "classes")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("versions", "scikit-learn"), 1.9, "versions.scikit-learn"),
        (("variants", 0, "max_batch"), 0, "variants[0].max_batch"),
        (("variants", 0, "precision"), "float8", "variants[0].precision"),
        (("signatures", "serving_default", "outputs"), [], "signatures.serving_default.outputs"),
        ((*_FIRST, "columns"), [], f"{_WHERE}.columns"),
        (("signatures", "serving_default", "inputs", 1, "name"), "age", "signatures.serving_default.inputs"),
        ((*_FIRST, "nullable"), False, f"{_WHERE}.nullable"),
        (("signatures",), {}, "signatures.serving_default"),
        (("default_output",), ["prediction"], "default_output"),
        (("default_output",), ["prediction", "prediction"], "default_output"),
        (("notes",), "text", "notes"),
        (("notes", 0), None, "notes[0]"),
        (("parity", "checks", 0, "rows"), 1.5, "parity.checks[0].rows"),
        (("parity", "passed"), "yes", "parity.passed"),
        (("members", "card.md", "sha256"), "A" * 64, "members.card.md.sha256"),
        (("requires",), {}, "requires"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_path(path: tuple[str | int, ...], value: object, named: str) -> None:
    body: Any = _body()
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(SetsailError) as caught:
        manifest.check(body)
    assert caught.value.code == "artifact.field"
    assert caught.value.field == named


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "N", "age", "onnx", "float32"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "id", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


@settings(max_examples=400)
@given(st.data())
def test_any_value_anywhere_is_taken_or_refused_never_crashed_on(data: st.DataObject) -> None:
    body = _body()
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(_places(body)))
        container[key] = data.draw(_ANY)
    try:
        manifest.check(body)
    except SetsailError as fault:
        if fault.code not in ("artifact.field", "artifact.requires"):
            raise
    else:
        assert manifest.signature_of(body).outputs
        assert manifest.variants_of(body)


def test_a_variant_without_files_and_files_without_variant() -> None:
    body = _body()
    body["variants"][0]["id"] = "other"
    with pytest.raises(SetsailError) as caught:
        manifest.check(body)
    assert caught.value.code == "artifact.field"
    body = _body()
    body["members"]["variants/stray/x"] = body["members"]["card.md"]
    with pytest.raises(SetsailError) as caught:
        manifest.check(body)
    assert (caught.value.code, caught.value.field) == ("artifact.field", "variants")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 7}, "format 7: a newer setsail reads it"),
        ({"requires": ["tokens@0.9"]}, "'tokens': setsail 0.9 or later reads it"),
        ({"requires": ["tokens@; rm -rf /"]}, "'tokens': a newer setsail reads it"),
    ],
)
def test_what_is_too_new_is_no_mistake(change: dict[str, object], says: str) -> None:
    with pytest.raises(SetsailError) as caught:
        manifest.check(_body() | change | {"a key of the future": 1})
    assert caught.value.code == "artifact.requires"
    assert says in str(caught.value)
