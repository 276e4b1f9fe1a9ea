"""Every format gives the same rows, in batches; every fault names file, line and column."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail import rows
from setsail.errors import SetsailError
from setsail.messages import Cells, Columns, Rows


def read(path: Path, size: int = 2) -> list[Any]:
    """All batches as plain values."""
    with rows.open_rows(path, batch_size=size) as batches:
        return [b.columns if isinstance(b, Columns) else list(b.rows) for b in batches]


def fault(path: Path) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        read(path)
    assert caught.value.code == "rows.format"
    assert path.name in caught.value.what or caught.value.field == str(path)
    return caught.value


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_streams_cells_whatever_its_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "r.csv"
    text = f'\ufeffa{delimiter}b\n1{delimiter}"x\ny"\n\n2{delimiter}\n3{delimiter}z\n'
    path.write_text(text, encoding="utf-8")
    with rows.open_rows(path, batch_size=2) as batches:
        bodies = list(batches)
        assert batches.rows == 3
    assert all(isinstance(b, Cells) and b.header == ("a", "b") for b in bodies)
    assert read(path) == [[["1", "x\ny"], ["2", ""]], [["3", "z"]]]


@pytest.mark.parametrize(
    ("name", "text", "batches"),
    [
        ("list.json", "[[1, 2], [3, 4],\n [5, 6]]", [[[1, 2], [3, 4]], [[5, 6]]]),
        ("records.json", '[{"a": 1}, {"a": null}]', [[{"a": 1}, {"a": None}]]),
        ("empty.json", " [ ] ", []),
        ("instances.json", '{"instances": [1, 2, 3]}', [[1, 2], [3]]),
        ("inputs.json", '{"inputs": {"a": [1, 2, 3]}}', [{"a": [1, 2]}, {"a": [3]}]),
        ("bare.json", '{"signature_name": "s", "inputs": [1, 2, 3]}', [[1, 2], [3]]),
        ("columns.json", '{"a": [1, 2, 3], "b": ["x", "y", null]}',
         [{"a": [1, 2], "b": ["x", "y"]}, {"a": [3], "b": [None]}]),
        ("lines.jsonl", '[1, 2]\n\n{"a": 1}\n3', [[[1, 2], {"a": 1}], [3]]),
        ("lines.ndjson", "1\n", [[1]]),
    ],
)  # fmt: skip
def test_json_in_all_its_forms(tmp_path: Path, name: str, text: str, batches: list[Any]) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read(path) == batches


@pytest.mark.parametrize("chunk", [3, 7, 64])
def test_a_json_list_is_read_in_pieces_wherever_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    values = [[123456, -1.5e-7, True], {"ä": 'a\\"b\u20ac', "n": None}, 17, "x" * 50, [[], {}]]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1), encoding="utf-8")
    monkeypatch.setattr("setsail.rows.reading._CHUNK", chunk)
    assert [row for batch in read(path) for row in batch] == values


@given(st.lists(st.recursive(st.none() | st.integers() | st.text() | st.booleans(), st.lists), max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_json_list_comes_back(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    path = tmp_path_factory.mktemp("any") / "r.json"
    path.write_text(json.dumps(values))
    assert [row for batch in read(path) for row in batch] == values


def test_numpy_files_are_read_with_their_values_free_of_dtype(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "r.npy", array)
    np.savez(tmp_path / "r.npz", x=array, t=np.array(["a", "b", "c"]))
    with rows.open_rows(tmp_path / "r.npy", batch_size=2) as batches:
        assert batches.total == 3
        assert batches.fraction == 0
        next(batches)
        assert batches.fraction == pytest.approx(2 / 3)
    assert read(tmp_path / "r.npy") == [[[0, 1], [2, 3]], [[4, 5]]]
    assert read(tmp_path / "r.npz", 3) == [{"x": array.tolist(), "t": ["a", "b", "c"]}]


def test_parquet_keeps_nulls(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"a": [1, None, 3], "t": ["x", "y", None]}), tmp_path / "r.parquet")
    with rows.open_rows(tmp_path / "r.parquet", batch_size=2) as batches:
        assert batches.total == 3
    assert read(tmp_path / "r.parquet") == [{"a": [1, None], "t": ["x", "y"]}, {"a": [3], "t": [None]}]


def test_progress_of_a_text_file_is_counted_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("a\n" + "1\n" * 200_000)
    with rows.open_rows(path, batch_size=1000) as batches:
        assert batches.total is None
        next(batches)
        assert 0 < batches.fraction < 0.5
        assert sum(1 for _ in batches) == 199
        assert batches.fraction == 1


FAULTS: list[tuple[str, bytes, str]] = [
    ("cells.csv", b"a,b\n1,2\n3\n", "line 3"),
    ("twice.csv", b"a,a\n1,2\n", "line 1"),
    ("none.csv", b"", "header"),
    ("latin.csv", b"a\nx\n\xe4\n", "line 3, column 1"),
    ("quote.csv", b'a,b\n"1"x,2\n', "line 2"),
    ("bad.jsonl", b'1\n{"a": }\n', "line 2, column 7"),
    ("bad.json", b'[1,\n2,\n{"a": x}]' + b" " * 40, "line 3, column 7"),
    ("open.json", b"[1,\n2", "line 2"),
    ("gap.json", b"[1\n 2]", "line 2"),
    ("tail.json", b"[1] 2", "follows"),
    ("number.json", b"3", "neither"),
    ("broken.json", b'{"a": [1}', "line 1, column 9"),
    ("lengths.json", b'{"a": [1], "b": [1, 2]}', "equally long"),
    ("scalar.json", b'{"a": 1}', "no column"),
    ("latin.json", b'["\xe4"]', "UTF-8"),
    ("no.npy", b"hello", "numpy"),
    ("empty.npy", b"", "empty"),
    ("no.npz", b"hello", "numpy"),
    ("rows.xlsx", b"", "extension"),
]


@pytest.mark.parametrize(("name", "data", "says"), FAULTS, ids=[f[0] for f in FAULTS])
def test_a_fault_says_where_it_is(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert says in str(fault(path))


def test_deep_json_is_refused(tmp_path: Path) -> None:
    for name in ("deep.json", "deep.jsonl"):
        path = tmp_path / name
        path.write_text("[" * 100_000)
        assert "deep" in str(fault(path))


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


def test_a_numpy_file_with_a_pickle_in_it_is_refused_without_loading_it(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    np.save(tmp_path / "r.npy", np.array([Bomb(target)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "r.npz", x=np.array([Bomb(target)], dtype=object))
    fault(tmp_path / "r.npy")
    fault(tmp_path / "r.npz")
    assert not target.exists()


def test_a_scalar_array_has_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "r.npy", np.float64(1))
    assert "no rows" in str(fault(tmp_path / "r.npy"))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "r.parquet").write_bytes(b"PAR1 not really")
    assert "Parquet" in str(fault(tmp_path / "r.parquet"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        rows.open_rows(tmp_path / "no.csv", batch_size=1)
    assert caught.value.code == "rows.missing"


def test_rows_and_columns_bodies_bind_like_a_request(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("1\n")
    assert isinstance(next(rows.open_rows(tmp_path / "r.jsonl", batch_size=1)), Rows)
