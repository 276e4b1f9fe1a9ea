"""Steps are data out of a closed list, and their names lead from the signature to the program and back."""

from __future__ import annotations

import pytest

from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing, Step


def signature(inputs: list[str], outputs: list[str]) -> Signature:
    return Signature(tuple(map(TensorSpec.parse, inputs)), tuple(map(TensorSpec.parse, outputs)), ("label",))


OUTER = signature(["picture:string[N]"], ["label:string[N]"])
INNER = signature(["pixels:float32[N,3,8,8]"], ["scores:float32[N,2]"])
STEPS = (
    Step("image.decode", ("picture",), ("image",), {"mode": "RGB"}),
    Step("image.resize", ("image",), (), {"height": 8, "width": 8, "resample": "bilinear"}),
    Step("image.stack", ("image",), ("pixels",), {"layout": "NCHW"}),
    Step("scores.label", ("scores",), ("label",), {"labels": ["cat", "dog"]}),
)


def test_a_step_and_back() -> None:
    step = Step("text.normalize", ("review",), (), {"lowercase": True, "strip_accents": "unicode"})
    assert Step.from_json(step.to_json()) == step


def test_steps_with_the_program_between_them_and_back() -> None:
    processing = Processing(STEPS, INNER)
    processing.check(OUTER)
    assert Processing.from_json(processing.to_json(), {}) == processing
    assert [s.kind for s in processing.before] == ["image.decode", "image.resize", "image.stack"]
    assert [s.kind for s in processing.after] == ["scores.label"]
    assert processing.inner(OUTER) is INNER


def test_without_steps_the_program_is_the_model() -> None:
    assert not Processing()
    assert Processing().inner(OUTER) is OUTER


@pytest.mark.parametrize(
    "processing",
    [
        Processing(STEPS[1:], INNER),  # nobody gives `image`
        Processing(STEPS[:2] + STEPS[3:], INNER),  # nobody gives `pixels`
        Processing(STEPS[:3], INNER),  # nobody gives `label`
        Processing((STEPS[3], *STEPS[:3]), INNER),  # the answer before the request
        Processing(STEPS, INNER, {"tokenizer.json": b"{}"}),  # a file of no step
    ],
)
def test_names_that_lead_nowhere_are_refused(processing: Processing) -> None:
    with pytest.raises(SetsailError) as caught:
        processing.check(OUTER)
    assert caught.value.code == "artifact.field"


def test_a_step_lists_its_files() -> None:
    step = Step("text.tokenize", ("text",), ("ids",), {"file": "tokenizer.json", "makes": ["ids"]})
    assert step.files == ("tokenizer.json",)
    with pytest.raises(SetsailError) as caught:
        Processing((step,), signature(["ids:int64[N,T]"], ["label:string[N]"])).check(
            signature(["text:string[N]"], ["label:string[N]"])
        )
    assert caught.value.code == "artifact.field"


def test_an_unknown_kind_needs_a_newer_setsail() -> None:
    with pytest.raises(SetsailError) as caught:
        Step("image.upscale", ("x",))
    assert caught.value.code == "artifact.requires"


@pytest.mark.parametrize("options", [{"lowercase": "yes"}, {"strip_accents": "all"}, {"uppercase": True}])
def test_an_unknown_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(SetsailError) as caught:
        Step("text.normalize", ("x",), (), options)
    assert caught.value.code == "artifact.field"


def test_a_missing_option_is_refused() -> None:
    with pytest.raises(SetsailError) as caught:
        Step("scores.label", ("x",))
    assert caught.value.code == "artifact.field"
