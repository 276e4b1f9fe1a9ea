"""Steps give exactly what scikit-learn's own normalisation gives, on any machine's locale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.runtime.steps import prepare
from setsail.steps import Step
from setsail.tensors import NULL


def column(*texts: str) -> np.ndarray:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def normalize(*texts: str, **options: object) -> list[str]:
    return list(prepare([Step("text.normalize", ("text",), (), options)], {})({"text": column(*texts)})["text"])


def test_lower_casing_follows_unicode() -> None:
    assert normalize("ÀB", "İ", "ΣΑΣ", "", lowercase=True) == ["àb", "i̇", "σας", ""]
    assert normalize("ÀB", lowercase=False) == ["ÀB"]
    assert normalize(" \t À \u00a0", "\n", strip=True, lowercase=True) == ["à", ""]
    assert normalize(" À ", strip=False) == [" À "]


def test_accents_are_stripped_after_lower_casing() -> None:
    assert normalize("Édité Œ ½", strip_accents="unicode") == ["Edite Œ 1⁄2"]
    assert normalize("Édité Œ ½", strip_accents="ascii", lowercase=True) == ["edite  12"]


def test_the_given_arrays_are_not_changed_and_others_pass() -> None:
    inputs = {"text": column("A"), "age": np.array([1.0])}
    done = prepare([Step("text.normalize", ("text",), (), {"lowercase": True})], {})(inputs)
    assert inputs["text"][0] == "A"
    assert done["text"][0] == "a"
    assert done["age"] is inputs["age"]
    assert prepare([], {})(inputs) == inputs


def test_a_missing_text_stays_missing() -> None:
    assert normalize(NULL, lowercase=True, strip_accents="unicode") == [NULL]


@settings(max_examples=200, deadline=None)
@given(st.text(), st.booleans(), st.sampled_from([None, "unicode", "ascii"]))
def test_as_scikit_learn(text: str, lowercase: bool, strip: str | None) -> None:
    extraction = pytest.importorskip("sklearn.feature_extraction.text")
    source = extraction.CountVectorizer(lowercase=lowercase, strip_accents=strip).build_preprocessor()
    assert normalize(text, lowercase=lowercase, strip_accents=strip) == [source(text)]
