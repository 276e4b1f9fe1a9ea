"""Management on a real house: registering, scaling, default versions, unregistering, describing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scaled import artifact

from setsail.catalog import (
    ALL,
    Describe,
    Index,
    IsReady,
    Load,
    Register,
    Registered,
    Scale,
    SetDefault,
    Terms,
    Unload,
    Unregister,
)
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.serving.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose store holds versions 1 to 3 of `scaled`, which multiply by 1, 2 and 3."""
    for version in (1, 2, 3):
        artifact(tmp_path / f"v{version}.setsail", float(version), version=version).close()
    with House() as made:
        made.management.store.allow(tmp_path)
        yield made


def total(house: House, version: int | None = None) -> float:
    """3 for the version that multiplies by 1."""
    request = Request(ModelRef("scaled", version), Rows([[1, 2]]), outputs=("total",))
    return float(house.answer(request).outputs["total"][0])


def code(house: House, ask: Any, **how: Any) -> str:
    with pytest.raises(SetsailError) as caught:
        house.answer(ask, **how)
    return caught.value.code


def states(house: House) -> dict[int, str]:
    return {s.version: s.state for s in house.answer(Index())}


def test_a_registered_model_answers_and_an_unregistered_one_is_unknown(house: House, tmp_path: Path) -> None:
    assert house.answer(Register("v1.setsail")) == Registered("scaled", 1, str(tmp_path / "v1.setsail"))
    assert total(house) == 3
    assert house.answer(Unregister("scaled")) is False
    assert states(house) == {}
    assert code(house, Unregister("scaled")) == "model.unknown"
    with pytest.raises(SetsailError) as caught:
        total(house)
    assert caught.value.code == "model.unknown"
    house.answer(Register("v1.setsail"))
    assert total(house) == 3


def test_a_version_is_registered_once(house: House) -> None:
    house.answer(Register("v1.setsail"))
    assert code(house, Register("v1.setsail")) == "model.exists"
    house.answer(Unload("scaled"))
    assert code(house, Register("v1.setsail")) == "model.exists"  # unloaded is still known


def test_what_cannot_be_loaded_is_not_registered(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "wrong.setsail", 2.0, stored=5.0, version=8).close()
    (tmp_path / "half.setsail").write_bytes(b"PK\x03\x04")
    assert code(house, Register("wrong.setsail")) == "model.failed"
    assert code(house, Register("half.setsail")).startswith("artifact.")
    assert code(house, Register("v1.setsail", "no spaces")) == "model.name"
    assert states(house) == {}
    assert house.answer(Describe()) == ()


def test_registering_without_waiting_tells_by_states(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "wrong.setsail", 2.0, stored=5.0, version=8).close()
    house.answer(Register("v1.setsail", wait=False))
    house.answer(Register("wrong.setsail", wait=False))
    assert house.wait(lambda table: all(e.state in ("ready", "failed") for e in table), 20)
    assert states(house) == {1: "ready", 8: "failed"}
    told = {one.version: one for one in house.answer(Describe("scaled", ALL))}
    assert "[model.failed]" in told[8].reason
    assert not told[8].processes


def test_bare_requests_go_to_the_highest_version_unless_a_default_is_set(house: House) -> None:
    for version in (1, 2, 3):
        house.answer(Register(f"v{version}.setsail"))
    assert total(house) == 9
    house.answer(SetDefault("scaled", 2))
    assert total(house) == 6
    assert [s.version for s in house.answer(Index()) if s.default] == [2]
    house.answer(Unregister("scaled", 2))
    assert total(house) == 9
    assert code(house, SetDefault("scaled", 2)) == "model.version"
    assert code(house, SetDefault("other", 2)) == "model.unknown"


def test_a_settled_registration_leaves_bare_requests_where_they_go(house: House) -> None:
    house.answer(Register("v2.setsail", settled=True))
    house.answer(Register("v3.setsail", settled=True))
    house.answer(Register("v1.setsail", settled=True))
    assert total(house) == 6
    assert total(house, 3) == 9


def test_a_sole_unregistration_spares_the_default_of_several(house: House) -> None:
    house.answer(Register("v1.setsail", settled=True))
    house.answer(Register("v2.setsail", settled=True))
    assert code(house, Unregister("scaled", None, True)) == "model.default"
    assert code(house, Unregister("scaled", 1, True)) == "model.default"
    house.answer(Unregister("scaled", 2, True))
    house.answer(Unregister("scaled", None, True))
    assert states(house) == {}


def test_without_workers_a_version_is_known_and_does_not_answer(house: House) -> None:
    house.answer(Register("v1.setsail", terms=Terms(min_workers=0, max_workers=0)))
    assert states(house) == {1: "parked"}
    assert house.answer(IsReady())  # nobody wants it to be ready
    with pytest.raises(SetsailError) as caught:
        total(house)
    assert caught.value.code == "model.not_ready"
    told = house.answer(Scale("scaled", None, 2))
    assert (told.state, told.terms.min_workers, told.terms.max_workers) == ("ready", 2, 2)
    assert total(house) == 3
    assert house.answer(Scale("scaled", 1, 0)).state == "parked"
    assert house.answer(Scale("scaled", 1, 0, 4)).state == "parked"
    house.answer(Load("scaled"))
    assert total(house) == 3
    assert code(house, Scale("scaled", 5)) == "model.version"


def test_what_is_scaled_down_and_up_again_at_once_is_up(house: House) -> None:
    house.answer(Register("v1.setsail"))
    entry = house.table.get("scaled", 1)
    assert entry is not None
    assert entry.loaded is not None
    entry.loaded.acquire()  # a request that runs
    house.answer(Scale("scaled", 1, 0, wait=False))
    assert house.wait(lambda table: states(house) == {1: "draining"}, 20)
    house.answer(Scale("scaled", 1, 1, wait=False))
    entry.loaded.release()
    assert house.answer(Scale("scaled", 1, 1)).state in ("ready", "parked", "gone")
    assert house.wait(lambda table: states(house) == {1: "ready"}, 20)
    assert total(house) == 3


def test_scaling_waits_for_a_version_that_is_on_its_way(house: House) -> None:
    house.answer(Register("v1.setsail", wait=False))
    assert house.answer(Scale("scaled", 1)).state == "ready"


def test_a_parked_version_can_be_unregistered_and_comes_again(house: House) -> None:
    parked = Register("v1.setsail", terms=Terms(min_workers=0))
    for _ in range(2):
        house.answer(parked)
        house.answer(Unregister("scaled", 1))
        assert states(house) == {}


def test_a_description_tells_what_is_known_of_a_version(house: House, tmp_path: Path) -> None:
    house.load(tmp_path / "v1.setsail")
    terms = Terms(min_workers=2, max_workers=3, batch_size=8, max_delay_ms=50)
    house.answer(Register("v2.setsail", terms=terms, settled=True))
    house.label("scaled", "stable", 2)
    one, two = house.answer(Describe("scaled", ALL))
    assert (one.source, one.at_start, one.default, one.terms) == ("v1.setsail", True, True, Terms())
    assert (two.source, two.at_start, two.default, two.terms) == ("v2.setsail", False, False, terms)
    assert (two.state, two.framework, two.labels) == ("ready", "onnx 1.0", ("stable",))
    (process,) = two.processes
    assert process.pid == os.getpid()
    assert process.started > 1e9
    assert process.memory > 1 << 20
    for ask in (Describe(), Describe("scaled"), Describe("scaled", 1)):
        assert [(one.name, one.version) for one in house.answer(ask)] == [("scaled", 1)]
    assert code(house, Describe("scaled", 9)) == "model.version"
    assert code(house, Describe("other")) == "model.unknown"


def test_models_of_the_start_are_unregistered_too(house: House, tmp_path: Path) -> None:
    house.load(tmp_path / "v1.setsail")
    assert house.answer(Unregister("scaled", 1)) is True
    assert states(house) == {}


@pytest.mark.parametrize(
    "ask", [Register("v1.setsail"), Unregister("scaled"), SetDefault("scaled", 1), Scale("scaled")], ids=repr
)
def test_changes_need_control_and_looks_do_not(house: House, ask: Any) -> None:
    assert code(house, ask, control=False) == "control.refused"
    assert house.answer(Describe(), control=False) == ()


def test_a_version_unregistered_before_it_was_loaded_does_not_come_back(house: House) -> None:
    house.answer(Register("v1.setsail", wait=False))
    house.answer(Unregister("scaled", 1))
    house.answer(Register("v2.setsail"))  # after all that was queued before
    assert states(house) == {2: "ready"}
