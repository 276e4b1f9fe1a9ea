"""One JSON value, one spelling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.artifact.canonical import decode, encode, spelled
from setsail.errors import SetsailError

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_round_trip(value: object) -> None:
    data = encode(value)
    assert decode(data, "it", depth=40) == value
    assert encode(decode(data, "it", depth=40)) == data


def test_one_spelling() -> None:
    assert encode({"b": [1, 1.0, 0.1], "a": "Æ\n"}) == '{"a":"Æ\\n","b":[1,1.0,0.1]}'.encode()


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a":1} ', '{"b":1,"a":1}', '{"a":1,"a":1}', "[1, 2]", "1e0", "-0", "01", "NaN", "-Infinity", "1e999",
     '"\\u0061"', '"\\/"', '"\\ud800"', "[" * 41 + "]" * 41, "9" * 5000, "'a'", "\ufeff1"],
)  # fmt: skip
def test_other_spellings(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        decode(text.encode("utf-8", "surrogatepass"), "it", depth=40)
    assert caught.value.code == "artifact.json"


def test_depth_counts_brackets_outside_of_text_only() -> None:
    assert decode(encode("[" * 500 + '"\\'), "it", depth=4) == "[" * 500 + '"\\'
    with pytest.raises(SetsailError) as caught:
        decode(encode([[[[[1]]]]]), "it", depth=4)
    assert caught.value.code == "artifact.json"


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), "\ud800", b"bytes", {1, 2}])
def test_what_has_no_spelling(value: object) -> None:
    with pytest.raises(SetsailError) as caught:
        encode(value)
    assert caught.value.code == "artifact.json"


def test_hyperparameters_become_json() -> None:
    class Kernel:
        pass

    given = {"missing": float("nan"), "shape": (1, np.int64(2)), "alpha": np.float32(0.5), "kernel": Kernel(), 3: None}
    assert spelled(given) == {"missing": "nan", "shape": [1, 2], "alpha": 0.5, "kernel": "Kernel", "3": None}
