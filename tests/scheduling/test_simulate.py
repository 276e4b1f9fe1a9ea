"""The simulator's promises on short runs: it drives the server's own scheduler in virtual time."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def simulate():
    name = "benchmarks_simulate"
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks/simulate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.fixture(scope="module")
def found(simulate):
    rows = simulate.table(seconds=0.4, seed=7)
    assert simulate.broken(rows, 0.4, 7) == []
    return {(row.load, row.work, row.policy): row for row in rows}


def test_alone_it_is_as_fast_as_batch_1(found):
    for work in ("tiny", "trees", "encoder", "slow"):
        assert found["closed 1", work, "setsail"].p50 <= found["closed 1", work, "batch 1"].p50 * 1.001


def test_under_load_batches_form_by_themselves(found):
    for work, gain in (("tiny", 1.5), ("trees", 1.7), ("encoder", 2.5)):
        assert found["closed 64", work, "setsail"].rate > gain * found["closed 64", work, "batch 1"].rate
    for load, work, policy in found:
        if policy == "setsail" and load in ("poisson", "bursts"):
            assert found[load, work, policy].p99 <= 1.05 * found[load, work, "batch 1"].p99


def test_short_runs_are_inline_and_long_ones_never(found):
    assert found["closed 64", "tiny", "setsail"].inline == 1.0
    assert found["closed 1", "encoder", "setsail"].inline == 0.0


@pytest.mark.parametrize("work", ["encoder", "slow"])
def test_ten_times_too_much_leaves_nine_tenths_of_the_peak_in_time(simulate, found, work):
    row = found["flood", work, "setsail"]
    peak = simulate._peak(simulate.WORKS[work], "setsail", 0.4, 7)
    budget = 1e3 * simulate.budget(simulate.WORKS[work])
    assert row.goodput >= 0.9 * peak
    assert row.p99 <= 3 * budget
    assert row.after <= budget
    assert row.refused > 0.5


def test_same_seed_same_table(simulate):
    assert simulate.table(0.05, 3, "poisson") == simulate.table(0.05, 3, "poisson")


def test_it_prints_a_table_or_json(simulate, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["simulate.py", "--seconds", "0.05", "--load", "closed 1", "--json"])
    assert simulate.main() == 0
    told = json.loads(capsys.readouterr().out)
    assert told["broken"] == []
    assert len(told["rows"]) == 12
    monkeypatch.setattr(sys, "argv", ["simulate.py", "--seconds", "0.05", "--load", "closed 1"])
    assert simulate.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 13


def test_a_broken_promise_is_named(simulate):
    rows = simulate.table(0.05, 3, "closed 1")
    slow = [
        simulate.Row(**{**simulate.asdict(row), "p50": row.p50 * 2}) if row.policy == "setsail" else row for row in rows
    ]
    assert len(simulate.broken(slow, 0.05, 3)) == 4
