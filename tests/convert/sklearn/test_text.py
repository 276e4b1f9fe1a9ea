"""Text models: the same tokens, counts and weights as scikit-learn's, whatever the machine's locale."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from setsail.convert.conversion import Intent
from setsail.convert.sklearn.model import convert
from setsail.convert.sklearn.text import token_expression
from setsail.errors import SetsailError

TEXTS = [
    "The film was great, great fun!",
    "a dull film; the plot was DULL",
    "Édith a adoré ce film — très réussi",
    "ΟΔΥΣΣΕΥΣ is a great İstanbul film",
    "no plot at all: not great, not fun",
    "x y z",
    "",
    "日本語 の film 2001 ½ ²³ e\u0301te\u0301",
]
HARD = [
    "",
    "   ",
    "!?",
    "GREAT İİ",
    "édith ÉDITH Edith",
    "film\x00film",
    "not\nthe\tplot",
    "unknown words only",
    "𝔣𝔦𝔩𝔪 film_film",
]
LABELS = ["good", "bad", "good", "good", "bad", "bad", "bad", "good"]


@pytest.mark.parametrize(
    "vectorizer",
    [
        CountVectorizer(),
        CountVectorizer(binary=True, lowercase=False),
        CountVectorizer(ngram_range=(1, 3), stop_words="english"),
        CountVectorizer(ngram_range=(2, 2), min_df=1),
        CountVectorizer(stop_words=["film"], strip_accents="unicode"),
        CountVectorizer(vocabulary=["film", "not fun", "a  gap", "plot", "absent term"], ngram_range=(1, 2)),
        CountVectorizer(vocabulary={"film": 1, "never seen": 0, "x": 2}),
        CountVectorizer(token_pattern=r"(?u)\b\w+\b"),
        CountVectorizer(token_pattern=r"\S+"),
        CountVectorizer(token_pattern=r"[a-z]{3,}", max_features=4),
        TfidfVectorizer(),
        TfidfVectorizer(sublinear_tf=True, norm="l1", ngram_range=(1, 2), strip_accents="ascii"),
        TfidfVectorizer(use_idf=False, norm=None, binary=True),
        make_pipeline(CountVectorizer(), TfidfTransformer(sublinear_tf=True)),
        FeatureUnion([("words", TfidfVectorizer()), ("pairs", CountVectorizer(ngram_range=(2, 2)))]),
    ],
    ids=lambda v: re.sub(r"\s+", "", repr(v))[:60],
)
def test_vectorizers(vectorizer: Any, agrees: Any) -> None:
    model = vectorizer.fit(TEXTS)
    conversion = agrees(model, [*HARD, *TEXTS])
    assert str(conversion.signature.inputs[0]) == "text:string[N]"
    assert "film" not in repr(conversion.notes)
    agrees(model)


def test_a_text_classifier_answers_scores_and_classes(agrees: Any) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, LABELS)
    conversion = agrees(model, HARD)
    assert conversion.kind == "text classifier"
    assert conversion.signature.defaults == ("scores", "classes")
    assert [str(s) for s in conversion.signature.outputs] == [
        "label:string[N]",
        "scores:float64[N,2]",
        "classes:string[N,2]",
    ]
    assert conversion.processing.steps[0].to_json() == {
        "kind": "text.normalize",
        "inputs": ["text"],
        "outputs": [],
        "options": {"lowercase": True, "strip_accents": None},
    }
    drawn = {t for p in conversion.probes if p.what != "example" for t in p.inputs["text"]}
    assert not drawn & (set(TEXTS) | set(HARD)) - {"", "x y z"}  # drawn texts are nobody's


def test_text_beside_other_columns(agrees: Any) -> None:
    frame = pd.DataFrame({"review": TEXTS, "town": list("aabbaabb"), "stars": np.arange(8.0)})
    columns = make_column_transformer(
        (TfidfVectorizer(), "review"), (OneHotEncoder(handle_unknown="ignore"), ["town"]), ("passthrough", ["stars"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, LABELS)
    conversion = agrees(model, frame)
    assert [str(s) for s in conversion.signature.inputs] == ["review:string[N]", "town:string[N]", "stars:float64[N]"]
    assert [s.inputs for s in conversion.processing.steps] == [("review",)]
    assert not conversion.signature.input("review").categories


def test_a_column_read_in_two_ways_is_refused() -> None:
    union = FeatureUnion([("a", CountVectorizer()), ("b", CountVectorizer(lowercase=False))]).fit(TEXTS)
    with pytest.raises(SetsailError, match="two ways") as caught:
        convert(union, Intent(example=TEXTS))
    assert caught.value.code == "convert.unsupported"


@pytest.mark.parametrize(
    "vectorizer",
    [
        CountVectorizer(analyzer="char"),
        CountVectorizer(analyzer="char_wb"),
        CountVectorizer(analyzer=str.split),
        CountVectorizer(tokenizer=str.split, token_pattern=None),
        CountVectorizer(preprocessor=str.upper),
        CountVectorizer(token_pattern=r"(?u)\b(\w)\w+\b"),
        CountVectorizer(token_pattern=r"(a+)+b|\w+"),
        HashingVectorizer(),
    ],
    ids=lambda v: re.sub(r"\s+", "", repr(v))[:60],
)
def test_what_the_runtime_would_cut_otherwise_is_refused(vectorizer: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        convert(vectorizer.fit(["aab ab", "b aab"]), Intent(example=["a b"]))
    assert caught.value.code == "convert.unsupported"


def test_a_word_is_what_this_python_takes_for_one() -> None:
    spelled = re.compile(re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: rf"\U{int(m[1], 16):08x}", token_expression(r"\w+")))
    assert all(bool(spelled.match(chr(c))) == bool(re.match(r"\w", chr(c))) for c in range(0x30000))


def test_a_machine_without_locales_answers_the_same(tmp_path: Path, agrees: Any) -> None:
    model = make_pipeline(TfidfVectorizer(strip_accents="unicode"), LogisticRegression()).fit(TEXTS, LABELS)
    conversion = agrees(model, TEXTS)
    (tmp_path / "model.onnx").write_bytes(conversion.programs[0].files["model.onnx"])
    code = (
        "import sys, json, numpy as np, onnxruntime\n"
        "from setsail.runtime.steps import prepare\nfrom setsail.steps import Step\n"
        "texts = np.array(json.loads(sys.argv[2]), dtype=object)\n"
        "step = Step('text.normalize', ('text',), (), {'lowercase': True, 'strip_accents': 'unicode'})\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "out = session.run(['scores'], prepare([step], {})({'text': texts}))\n"
        "print(json.dumps(out[0].tolist()))\n"
    )
    texts = [t for t in HARD if "\x00" not in t]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.onnx"), json.dumps(texts)],
        env={**os.environ, "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=True,
    )
    np.testing.assert_allclose(json.loads(done.stdout), model.predict_proba(texts), rtol=1e-12)
