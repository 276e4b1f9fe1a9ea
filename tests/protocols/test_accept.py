"""Accept, and the forms of an answer."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.protocols.accept import FORMS, chosen
from setsail.signature import Signature
from setsail.tensors import NULL, Array

NOTHING = Signature((), (), ())


def written(accept: str, *arrays: Array, wrapped: bool = False) -> bytes:
    outputs = {f"y{i}": array for i, array in enumerate(arrays)}
    return chosen(accept).write(Response("m", 1, outputs, tuple(outputs), NOTHING), wrapped).body


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"), ("*/*", "application/json"), ("text/*", "text/csv"),
        ("Text/CSV; charset=utf-8", "text/csv"), ("image/png, text/csv", "text/csv"),
        ("application/json;q=0.2, application/x-npy;q=0.9", "application/x-npy"),
        ("text/csv;q=0, */*", "application/json"), ("text/csv;q=odd, application/jsonlines", "application/jsonlines"),
    ],
)  # fmt: skip
def test_the_form_that_is_wanted_most(accept: str, kind: str) -> None:
    assert dict(chosen(accept).headers)["content-type"] == kind


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", ""])
def test_none_of_ours(accept: str) -> None:
    with pytest.raises(SetsailError) as caught:
        chosen(accept)
    assert caught.value.code == "request.media_type"


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, np.nan, np.inf, -np.inf], np.float32), np.array([[1, -2], [3, 4]], np.int64),
        np.array([True, False]), np.array(['a,"b"', "c\nd", "", NULL], object), np.array([["x", "y"]], object),
    ],
    ids=["floats", "table", "truth", "text", "texts"],
)  # fmt: skip
def test_csv_reads_back_as_it_was(array: Array) -> None:
    cells = list(csv.reader(StringIO(written("text/csv", array).decode(), newline="")))
    rows = [[value] for value in array.tolist()] if array.ndim == 1 else array.tolist()
    if array.dtype.kind == "f":
        np.testing.assert_array_equal(np.array(cells, np.float32).ravel(), array)
    elif array.dtype.kind == "b":
        assert cells == [["true"], ["false"]]
    else:
        expected = [["" if value == NULL else str(value) for value in row] for row in rows]
        assert [row or [""] for row in cells] == expected


@pytest.mark.parametrize("array", [np.array([["a", "é"]], object), np.arange(6.0).reshape(2, 3), np.array(True)])
def test_npy_reads_back_as_it_was_and_holds_no_objects(array: Array) -> None:
    loaded = np.load(BytesIO(written("application/x-npy", array)), allow_pickle=False)
    assert (loaded.tolist(), loaded.shape) == (array.tolist(), array.shape)


def test_outputs_side_by_side() -> None:
    labels, scores = np.array(["a", "b"], object), np.array([[0.25, 0.75], [1.0, 0.0]])
    assert written("text/csv", labels, scores) == b"a,0.25,0.75\nb,1.0,0.0\n"
    assert written("application/jsonlines", labels, scores) == (
        b'{"y0":"a","y1":[0.25,0.75]}\n{"y0":"b","y1":[1.0,0.0]}\n'
    )
    assert written("application/json", labels, wrapped=True) == b'{"predictions":["a","b"]}'


@pytest.mark.parametrize("kind", [kind for kind in FORMS if "json" not in kind and "*" not in kind])
def test_what_is_no_table_has_no_form_but_json(kind: str) -> None:
    arrays = (np.zeros((2, 2, 2)), np.zeros(3))
    with pytest.raises(SetsailError) as caught:
        written(kind, *arrays)
    assert caught.value.code == "request.media_type"
    assert written("application/json", *arrays).startswith(b'{"y0":[[[0.0,')
    with pytest.raises(SetsailError):
        written("application/jsonlines", *arrays)
