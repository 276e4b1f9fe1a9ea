"""How a client names a model."""

import pytest

from setsail.messages import ModelRef


@pytest.mark.parametrize(
    ("ref", "text"),
    [(ModelRef("iris"), "iris"), (ModelRef("iris", 3), "iris/3"), (ModelRef("iris", label="stable"), "iris@stable")],
)
def test_a_reference_as_text(ref: ModelRef, text: str) -> None:
    assert str(ref) == text
