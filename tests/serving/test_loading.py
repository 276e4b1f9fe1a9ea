"""What a version is loaded with: shared weights where they are right, and what was learned of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import heavy
import numpy as np
import pytest
from scaled import artifact as scaled

from setsail.messages import ModelRef, Request, Tensor, Tensors
from setsail.serving.house import House
from setsail.serving.leases import Loaded
from setsail.tensors import Array


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    heavy.artifact(tmp_path / "heavy.setsail").close()
    return tmp_path / "heavy.setsail"


def loaded(house: House) -> Loaded:
    (entry,) = house.table
    assert entry.loaded is not None
    return entry.loaded


def answer(house: House) -> Array:
    (entry,) = house.table
    body = Tensors((Tensor("x", heavy.ROWS),))
    return house.predict(Request(ModelRef(entry.name), body)).outputs["y"]


def test_large_weights_are_shared_and_the_facts_say_where(house: House, model: Path) -> None:
    house.load(model)
    facts = loaded(house).facts
    assert Path(facts.weights).name == "weights.bin"
    assert Path(facts.weights).is_file()
    np.testing.assert_allclose(answer(house), heavy.answers(heavy.ROWS)["y"], atol=1e-5)


def test_sharing_can_be_switched_off(model: Path, cache: Path) -> None:
    with House(share_weights=False) as house:
        house.load(model)
        assert loaded(house).facts.weights == ""
    assert not (cache / "weights").exists()


def test_weights_damaged_without_a_trace_are_found_by_the_sample_and_made_again(
    house: House, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Size and time of the file are as they were: only its answers are wrong."""
    house.load(model)
    path = Path(loaded(house).facts.weights)
    house.unload("heavy")
    before = path.stat().st_mtime_ns
    path.write_bytes(bytes(path.stat().st_size))
    os.utime(path, ns=(before, before))
    with caplog.at_level(logging.WARNING, "setsail.serving"):
        house.load(model)
    assert "are wrong and are removed" in caplog.text
    assert loaded(house).facts.weights == ""
    np.testing.assert_allclose(answer(house), heavy.answers(heavy.ROWS)["y"], atol=1e-5)
    house.load(model)
    assert loaded(house).facts.weights == str(path)


def test_a_small_model_has_nothing_to_share_and_is_timed(house: House, tmp_path: Path, cache: Path) -> None:
    scaled(tmp_path / "a.setsail").close()
    house.load(tmp_path / "a.setsail")
    facts = loaded(house).facts
    assert facts.weights == ""
    assert not (cache / "weights").exists()
    assert facts.invariant
    assert {1, 2, 4} <= set(facts.ladder)
    assert all(seconds > 0 for seconds in facts.ladder.values())


def test_a_model_without_stored_rows_is_timed_on_drawn_ones(house: House, tmp_path: Path) -> None:
    scaled(tmp_path / "a.setsail", samples="none").close()
    house.load(tmp_path / "a.setsail")
    assert loaded(house).facts.invariant
    assert loaded(house).facts.ladder


def test_a_program_of_one_row_at_once_is_never_batched(house: House, tmp_path: Path) -> None:
    scaled(tmp_path / "a.setsail", max_batch=1).close()
    house.load(tmp_path / "a.setsail")
    facts = loaded(house).facts
    assert (set(facts.ladder), facts.invariant) == ({1}, False)
