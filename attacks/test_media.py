"""Hostile pictures and texts: each is refused by the step that would have opened it, soon, and nothing else happens."""

from __future__ import annotations

import os
import resource
import warnings
from pathlib import Path
from time import process_time

import pytest

from setsail.errors import SetsailError
from setsail.runtime.steps import column, prepare
from setsail.steps import Step

pytest.importorskip("PIL", reason="needs Pillow")

import media

SECONDS = 2.0  # of the processor; the dearest takes a few hundredths
MEGABYTES = 150


@pytest.mark.parametrize("name", media.PICTURES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_hostile_picture(name: str, mode: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    raw = media.PICTURES[name](canary)
    decode = prepare([Step("image.decode", ("photo",), (), {"mode": mode, "rotate": True, "alpha": "white"})], {})
    before, descriptors = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(os.listdir("/proc/self/fd"))
    began = process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of images that are large
        with pytest.raises(SetsailError) as caught:
            decode({"photo": column([raw])})
    assert caught.value.code == "input.media", str(caught.value)
    assert caught.value.message.startswith("step image.decode: input 'photo', row 0, ")
    assert process_time() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES << 10
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not canary.exists()


@pytest.mark.parametrize("name", media.TEXTS)
def test_hostile_text(name: str) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers")
    from tokenizers import models

    made = tokenizers.Tokenizer(models.BPE({"a": 0, "c": 1, "t": 2, " ": 3}, []))
    step = Step("text.tokenize", ("text",), ("ids",), {"file": "t.json", "makes": ["ids"]})
    tokenize = prepare([step], {"t.json": made.to_str().encode()})
    began = process_time()
    with pytest.raises(SetsailError) as caught:
        tokenize({"text": column([media.TEXTS[name]])})
    assert caught.value.code == "input.text"
    assert process_time() - began < SECONDS
