"""An artifact as text."""

import json

import pytest
from drafts import small

from setsail.artifact import rendering
from setsail.artifact.write import assemble
from setsail.signature import Signature, TensorSpec
from setsail.steps import NONE
from setsail.tensors import BY_NAME


def test_the_card_says_what_the_manifest_says() -> None:
    card = assemble(small())["card.md"].decode()
    assert card.startswith("# credit version 3\n")
    for part in ("age:float32[N]", "text.normalize on city", "scikit-learn 1.9.0", "a note"):
        assert part in card


def test_many_inputs_are_cut_in_the_terminal_and_whole_in_the_card() -> None:
    inputs = tuple(TensorSpec(f"c{i}", BY_NAME["float64"], ("N",)) for i in range(40))
    members = assemble(
        small(signature=Signature(inputs, small().signature.outputs, ("prediction",)), processing=NONE, samples={})
    )
    text = rendering.terminal(json.loads(members["manifest.json"]), "0" * 64, 1, None)
    assert "… and 28 more" in text
    assert "c39:float64[N]" in members["card.md"].decode()


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert rendering.bytes_text(size) == text


def test_control_characters_are_shown_not_sent() -> None:
    assert rendering.printable("a\x1b[31mb\nÆ") == "a\\x1b[31mb\\nÆ"
