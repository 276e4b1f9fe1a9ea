"""`setsail predict`: files of rows in, answers out, mistakes found in the whole file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shell import run

import setsail

Given = Callable[..., None]


def test_csv_to_the_terminal_is_what_the_model_answers(given: Given) -> None:
    given("iris-1.setsail", "rows.csv", "rows.npy")
    found = run("predict", "iris-1.setsail", "-i", "rows.csv")
    assert (found.code, found.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(found.out)))
    assert list(rows[0]) == ["label", "probabilities_0", "probabilities_1", "probabilities_2"]
    with setsail.load("iris-1.setsail") as model:
        expected = model.predict({"input": np.load("rows.npy")})
    ours = np.array([[row[f"probabilities_{i}"] for i in range(3)] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(ours, expected["probabilities"])
    assert [int(row["label"]) for row in rows] == expected["label"].tolist()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_batch_size_changes_nothing(given: Given, size: int) -> None:
    given("iris-1.setsail", "rows.csv")
    found = run("predict", "iris-1.setsail", "-i", "rows.csv", "--batch-size", size, "--json").document
    assert (found["model"], found["version"], found["rows"]) == ("iris", 1, 150)
    assert [row["label"] for row in found["predictions"]].count(0) == 50


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "npy", "npz", "parquet"])
def test_to_a_file_of_any_format(given: Given, suffix: str) -> None:
    given("iris-1.setsail", "rows.npy")
    found = run("predict", "iris-1.setsail", "-i", "rows.npy", "-o", f"out.{suffix}")
    assert (found.code, found.out) == (0, f"out.{suffix}\n"), found.err
    assert "150 rows answered" in found.err
    assert Path(f"out.{suffix}").stat().st_size > 0
    if suffix == "npy":
        assert np.load("out.npy").shape == (150,)  # the default output


def test_an_output_is_not_overwritten_without_force(given: Given) -> None:
    given("iris-1.setsail", "rows.csv")
    found = run("predict", "iris-1.setsail", "-i", "rows.csv", "-o", "rows.csv", "--json")
    assert (found.code, found.error["code"]) == (1, "artifact.exists")
    Path("out.csv").write_text("old")
    found = run("predict", "iris-1.setsail", "-i", "rows.csv", "-o", "out.csv", "--force", "--json")
    assert found.document == {"model": "iris", "version": 1, "rows": 150, "output": "out.csv"}
    assert len(Path("out.csv").read_text().splitlines()) == 151


def test_a_model_that_was_not_packed_is_packed_into_the_cache(given: Given) -> None:
    given("iris.ubj", "rows.csv")
    found = run("predict", "iris.ubj", "-i", "rows.csv")
    assert found.code == 0
    assert "iris.ubj: packed into the cache" in found.err
    assert "iris.ubj: found in the cache" in run("predict", "iris.ubj", "-i", "rows.csv").err


def test_a_wrong_value_is_found_in_the_whole_file(given: Given) -> None:
    given("iris-1.setsail", "rows.csv")
    lines = Path("rows.csv").read_text().splitlines()
    lines[1 + 101] = "5.1,3.5,many,0.2"
    Path("rows.csv").write_text("\n".join(lines) + "\n")
    found = run("predict", "iris-1.setsail", "-i", "rows.csv", "-o", "out.csv", "--batch-size", 10, "--json")
    assert found.code == 1
    assert found.error["code"] == "input.dtype"
    assert "rows.csv: input 'petal_length', row 101," in found.error["message"]
    assert (found.error["row"], found.error["value"]) == (101, "'many'")
    assert not Path("out.csv").exists()


def test_wrong_files_are_refused_before_anything_is_loaded(given: Given) -> None:
    given("iris-1.setsail", "rows.csv")

    def code(*args: str) -> str:
        found = run("predict", "iris-1.setsail", *args, "--json")
        assert found.code in (1, 2)
        return str(found.error["code"])

    assert code("-i", "none.csv") == "rows.missing"
    assert code("-i", "iris-1.setsail") == "rows.format"
    assert code("-i", "rows.csv", "-o", "out.xls") == "rows.format"
    assert code("-i", "rows.csv", "-o", "no/such/folder/out.csv") == "command.usage"
    Path("other.csv").write_text("sepal_length,colour\n1,2\n")
    assert code("-i", "other.csv") in ("input.unknown", "input.missing")
