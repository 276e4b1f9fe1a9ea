"""Answers become files that read back as they were."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from setsail import rows
from setsail.errors import SetsailError
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME, NULL, Array

SPECS = (
    TensorSpec("label", BY_NAME["string"], ("N",)),
    TensorSpec("probabilities", BY_NAME["float64"], ("N", 2), labels=("no", "yes")),
)


def batches() -> Iterator[dict[str, Array]]:
    for start in (0.1, 0.3):
        yield {
            "label": np.array(["a,b", NULL], dtype=object),
            "probabilities": np.array([[start, 1 - start], [np.nan, 1.0]]),
            "small": np.array([start, 2], dtype=np.float32),
        }


def test_csv_names_columns_by_label_and_writes_shortest_numbers(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    assert rows.write_rows(path, batches(), SPECS) == 4
    assert path.read_text().splitlines() == [
        "label,probabilities_no,probabilities_yes,small",
        '"a,b",0.1,0.9,0.1', ",nan,1.0,2.0", '"a,b",0.3,0.7,0.3', ",nan,1.0,2.0",
    ]  # fmt: skip


def test_csv_can_be_streamed_while_answers_come() -> None:
    file, seen = io.StringIO(), []

    def watched() -> Iterator[dict[str, Array]]:
        for batch in batches():
            seen.append(file.getvalue().count("\n"))
            yield batch

    assert rows.stream_csv(file, watched(), SPECS) == 4
    assert seen == [0, 3]
    assert file.getvalue().splitlines()[1] == '"a,b",0.1,0.9,0.1'


def test_json_and_jsonl_hold_the_same_rows_with_null_for_what_json_lacks(tmp_path: Path) -> None:
    rows.write_rows(tmp_path / "o.json", batches())
    rows.write_rows(tmp_path / "o.jsonl", batches())
    whole = json.loads((tmp_path / "o.json").read_text())
    assert whole == [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert whole[1] == {"label": None, "probabilities": [None, 1.0], "small": 2.0}


def test_json_keeps_a_float32_short_and_says_which_infinity(tmp_path: Path) -> None:
    rows.write_rows(tmp_path / "o.jsonl", [{"p": np.array([0.1, np.inf, -np.inf, np.nan], np.float32)}])
    lines = (tmp_path / "o.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"p": 0.1}, {"p": "Infinity"}, {"p": "-Infinity"}, {"p": None}]


def test_no_answers_are_an_empty_file_of_the_format(tmp_path: Path) -> None:
    assert rows.write_rows(tmp_path / "o.json", iter(())) == 0
    assert json.loads((tmp_path / "o.json").read_text()) == []


def test_numpy_files_keep_dtypes_and_need_no_pickle(tmp_path: Path) -> None:
    rows.write_rows(tmp_path / "o.npz", batches())
    with np.load(tmp_path / "o.npz", allow_pickle=False) as made:
        assert made["small"].dtype == np.float32
        assert made["label"].tolist() == ["a,b", "", "a,b", ""]
        assert made["probabilities"].shape == (4, 2)
    rows.write_rows(tmp_path / "o.npy", ({"y": b["small"]} for b in batches()))
    assert np.load(tmp_path / "o.npy", allow_pickle=False).shape == (4,)


def test_npy_takes_one_output(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        rows.write_rows(tmp_path / "o.npy", batches())
    assert caught.value.code == "rows.format"
    assert list(tmp_path.iterdir()) == []


def test_parquet_numbers_columns_without_labels(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows.write_rows(tmp_path / "o.parquet", batches())
    table = parquet.read_table(tmp_path / "o.parquet").to_pydict()
    assert list(table) == ["label", "probabilities_0", "probabilities_1", "small"]
    assert table["label"] == ["a,b", None, "a,b", None]


def test_a_failure_half_way_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    path.write_text("before")

    def failing() -> Iterator[dict[str, Array]]:
        yield from batches()
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError):
        rows.write_rows(path, failing())
    assert [p.name for p in tmp_path.iterdir()] == ["o.csv"]
    assert path.read_text() == "before"
