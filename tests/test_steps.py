"""Steps are data out of a closed list."""

import pytest

from setsail.errors import SetsailError
from setsail.steps import Step


def test_a_step_and_back() -> None:
    step = Step("text.normalize", "review", {"lowercase": True, "strip_accents": "unicode"})
    assert Step(**step.to_json()) == step


def test_an_unknown_kind_needs_a_newer_setsail() -> None:
    with pytest.raises(SetsailError) as caught:
        Step("image.resize", "x", {})
    assert caught.value.code == "artifact.requires"


@pytest.mark.parametrize("options", [{"lowercase": "yes"}, {"strip_accents": "all"}, {"uppercase": True}])
def test_an_unknown_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(SetsailError) as caught:
        Step("text.normalize", "x", options)
    assert caught.value.code == "artifact.field"
