"""Steps one after the other: names, what is kept between them, and packages that are not there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.runtime.steps import column, prepare
from setsail.steps import SCHEMAS, Step

PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


@pytest.mark.parametrize(("kind", "package"), [("image.decode", "PIL"), ("text.tokenize", "tokenizers")])
def test_a_package_that_is_not_there_is_told_with_the_line_that_installs_it(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith((f"{package}.", "setsail.runtime.steps."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # what import makes of a package that is not installed
    options = {"mode": "RGB"} if kind == "image.decode" else {"file": "t.json", "makes": ["ids"]}
    with pytest.raises(SetsailError) as caught:
        prepare([Step(kind, ("x",), (), options)], {"t.json": b""})
    assert caught.value.code == "dependency.missing"
    assert caught.value.facts["command"] == f'pip install "setsail[{SCHEMAS[kind].extra}]"'


def test_what_nobody_reads_of_images_is_let_go() -> None:
    steps = [
        Step("image.crop", ("photo",), ("small",), {"height": 1, "width": 1}),
        Step("image.stack", ("small",), ("pixels",), {"layout": "NHWC"}),
    ]
    photos = {"photo": column([PIXELS, PIXELS])}
    assert prepare(steps, {}, {"pixels"})(photos).keys() == {"photo", "small", "pixels"}  # the second step reads small
    scaled = [steps[0], Step("image.scale", ("small",), ("scaled",)), Step("image.stack", ("scaled",), (),
              {"layout": "NHWC"})]  # fmt: skip
    done = prepare(scaled, {}, {"scaled"})(photos)
    assert done.keys() == {"photo", "scaled"}
    assert done["scaled"].tolist() == [[[[0, 1, 2]]]] * 2
    assert prepare(scaled, {})(photos).keys() == {"photo", "small", "scaled"}


def test_several_images_a_row_keep_their_names_and_origins() -> None:
    steps = [
        Step("image.crop", ("left", "right"), (), {"height": 1, "width": 1}),
        Step("image.stack", ("right",), (), {"layout": "NHWC"}),
    ]
    done = prepare(steps, {})({"left": column([PIXELS]), "right": column([PIXELS[::-1]])})
    assert done["left"][0].tolist() == [[[0, 1, 2]]]
    assert done["right"].tolist() == [[[[6, 7, 8]]]]
    with pytest.raises(SetsailError) as caught:
        prepare(steps[1:], {})({"right": column([PIXELS, PIXELS[:1]])})
    assert (caught.value.code, caught.value.field, caught.value.facts["row"]) == ("input.media", "right", 1)


def test_the_input_at_fault_is_the_one_that_is_named() -> None:
    levels = Step("table.levels", ("first", "second"), ("a", "b"), {"levels": ["x"], "dtype": "int64"})
    again = Step("table.levels", ("a", "b"), (), {"levels": [7], "dtype": "int64"})
    for steps, texts in (([levels], ["x", "y"]), ([levels, again], ["x", "x"])):
        with pytest.raises(SetsailError) as caught:
            prepare(steps, {})({"first": column(["x", "x"]), "second": column(texts)})
        row = 1 if len(steps) == 1 else 0
        named = "second" if len(steps) == 1 else "first"
        assert (caught.value.code, caught.value.field, caught.value.facts["row"]) == ("input.category", named, row)
    third = Step("table.levels", ("b",), (), {"levels": [7], "dtype": "int64"})
    with pytest.raises(SetsailError) as caught:
        prepare([levels, third], {})({"first": column(["x"]), "second": column(["x"])})
    assert caught.value.field == "second"


def test_no_rows_give_no_images() -> None:
    done = prepare([Step("image.crop", ("photo",), (), {"height": 1, "width": 1})], {})({"photo": column([])})
    assert done["photo"].shape == (0,)
