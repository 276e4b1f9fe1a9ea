"""A rows file as the example of a pack."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from setsail import rows
from setsail.errors import SetsailError


def test_csv_cells_get_the_narrowest_dtype_that_holds_all_of_a_column(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("i,f,b,t,m,id\n1,1,true,x,,1_0\n-2,,false,,2.5,07\n")
    got = rows.example(path)
    assert {n: a.dtype.kind for n, a in got.items()} == {"i": "i", "f": "f", "b": "b", "t": "O", "m": "f", "id": "O"}
    assert got["t"].tolist() == ["x", None]
    assert np.isnan(got["m"][0])
    assert got["i"].tolist() == [1, -2]


@pytest.mark.parametrize(
    ("body", "dtype", "shape"),
    [
        ([[1, 2], [3, 4]], "int64", (2, 2)),
        ([[1, 2.5], [3, 4]], "float64", (2, 2)),
        ([["a", 1], ["b", None]], "object", (2, 2)),
        (["one text", "another"], "object", (2,)),
    ],
)
def test_lists_of_rows_are_one_array(tmp_path: Path, body: Any, dtype: str, shape: tuple[int, ...]) -> None:
    (tmp_path / "x.json").write_text(json.dumps(body))
    got = rows.example(tmp_path / "x.json")
    assert (got.dtype, got.shape) == (np.dtype(dtype), shape)


def test_rows_with_names_and_columns_are_columns(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": null, "b": null}\n')
    (tmp_path / "y.json").write_text('{"a": [1, null], "b": ["x", null]}')
    for name in ("x.jsonl", "y.json"):
        got = rows.example(tmp_path / name)
        assert got["a"].dtype == np.float64
        assert got["b"].tolist() == ["x", None]


def test_numpy_files_keep_their_dtype_and_the_limit_holds(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((9, 2), dtype=np.float32))
    np.savez(tmp_path / "x.npz", a=np.zeros(9, dtype=np.int8))
    got = rows.example(tmp_path / "x.npy", limit=4)
    assert (got.dtype, got.shape) == (np.dtype("float32"), (4, 2))
    assert rows.example(tmp_path / "x.npz")["a"].dtype == np.int8


@pytest.mark.parametrize("text", ["[]", "[[1, 2], [3]]", '[{"a": 1}, {"b": 1}]', '[["a"], ["b", "c"]]'])
def test_rows_that_are_no_table_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SetsailError) as caught:
        rows.example(tmp_path / "x.json")
    assert caught.value.code == "rows.format"
