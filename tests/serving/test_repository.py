"""A directory of models: what is seen in it, what follows, and what must not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from scaled import artifact

from setsail.catalog import Index, Load, Status
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.serving.house import House
from setsail.serving.repository import Action, Found, Repository, plan, scan


def put(path: Path, scale: float = 2.0, **changes: object) -> Path:
    artifact(path, scale, **changes).close()  # type: ignore[arg-type]
    return path


def total(house: House, name: str = "scaled") -> float:
    return float(house.answer(Request(ModelRef(name), Rows([[1, 2]]), outputs=("total",))).outputs["total"][0])


def states(house: House) -> dict[tuple[str, int], str]:
    return {(s.name, s.version): s.state for s in house.answer(Index())}


# -- scan ----------------------------------------------------------------------------------------------------------


def test_every_layout_is_seen(tmp_path: Path) -> None:
    put(tmp_path / "credit" / "1" / "any-name.setsail")
    put(tmp_path / "credit" / "2.setsail")
    put(tmp_path / "alone.setsail")
    (tmp_path / "credit" / "README.md").write_text("not a version")
    (tmp_path / "credit" / "3").mkdir()  # empty: about to be filled
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "credit" / ".4.setsail.ab12.part").write_bytes(b"being written")
    seen = {str(place.relative_to(tmp_path)): (f.name, f.version) for place, f in scan(tmp_path).items()}
    assert seen == {"credit/1": ("credit", 1), "credit/2.setsail": ("credit", 2), "alone.setsail": (None, None)}


@pytest.mark.parametrize("version", ["latest", "0", "v2", "-1", "１"])
def test_a_version_must_be_a_positive_integer(tmp_path: Path, version: str) -> None:
    put(tmp_path / "credit" / version / "m.setsail")
    (found,) = scan(tmp_path).values()
    assert found.problem is not None
    assert found.problem.code == "repository.layout"


def test_a_version_holds_one_artifact(tmp_path: Path) -> None:
    put(tmp_path / "two" / "1" / "a.setsail")
    put(tmp_path / "two" / "1" / "b.setsail")
    (tmp_path / "none" / "1").mkdir(parents=True)
    (tmp_path / "none" / "1" / "model.onnx").write_bytes(b"onnx")
    assert [f.problem.code for f in scan(tmp_path).values() if f.problem] == ["repository.layout"] * 2
    packed = scan(tmp_path, packs=True)[tmp_path / "none" / "1"]
    assert (packed.problem, packed.source.name) == (None, "model.onnx")


def test_two_places_for_one_version_are_both_refused(tmp_path: Path) -> None:
    put(tmp_path / "credit" / "1.setsail")
    put(tmp_path / "credit" / "01" / "m.setsail")
    assert [f.problem.code for f in scan(tmp_path).values() if f.problem] == ["repository.layout"] * 2


# -- plan ----------------------------------------------------------------------------------------------------------

A, B = Path("a"), Path("b")


def found(size: int) -> Found:
    return Found(A, "m", 1, (("m.setsail", size, 0, 0),))


def test_the_first_look_believes_what_it_sees() -> None:
    assert plan({A: found(1)}, None, {}) == [Action(A, found(1))]


def test_a_file_counts_once_it_stands_still() -> None:
    assert plan({A: found(1)}, {}, {}) == []
    assert plan({A: found(2)}, {A: found(1)}, {}) == []
    assert plan({A: found(2)}, {A: found(2)}, {}) == [Action(A, found(2))]


def test_what_was_done_is_not_done_again_until_it_changes() -> None:
    known = {A: found(1).stamp}
    assert plan({A: found(1)}, {A: found(1)}, known) == []
    assert plan({A: found(2)}, {A: found(2)}, known) == [Action(A, found(2))]


def test_a_place_goes_when_it_was_missing_twice_and_after_the_loads() -> None:
    known = {A: found(1).stamp}
    assert plan({}, {A: found(1)}, known) == []
    assert plan({}, {}, known) == [Action(A, None)]
    assert plan({B: found(3)}, {B: found(3)}, known) == [Action(B, found(3)), Action(A, None)]


# -- the repository ------------------------------------------------------------------------------------------------


def test_opening_loads_what_is_there_and_tells_what_failed(house: House, tmp_path: Path) -> None:
    put(tmp_path / "credit" / "1" / "m.setsail", 2.0)
    put(tmp_path / "credit" / "2.setsail", 3.0)
    put(tmp_path / "alone.setsail", 4.0, name="alone", version=7)
    (tmp_path / "credit" / "3.setsail").write_bytes(b"nonsense")
    put(tmp_path / "credit" / "latest" / "m.setsail")
    faults = Repository(house, tmp_path).open()
    assert [(p.name, f.code) for p, f in faults] == [
        ("3.setsail", "artifact.format"),
        ("latest", "repository.layout"),
    ]
    assert states(house) == {
        ("alone", 7): "ready", ("credit", 1): "ready", ("credit", 2): "ready", ("credit", 3): "failed",
    }  # fmt: skip
    assert total(house, "credit") == 9
    assert total(house, "alone") == 12


def test_a_directory_without_models_is_refused_unless_some_may_come(house: House, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SetsailError) as caught:
            Repository(house, path).open()
        assert caught.value.code == "repository.empty"
    repository = Repository(house, tmp_path, poll=60)
    assert repository.open() == []
    repository.close()


def test_versions_come_change_and_go(house: House, tmp_path: Path) -> None:
    repository = Repository(house, tmp_path)
    put(tmp_path / "scaled" / "1.setsail", 2.0)
    repository.open()
    put(tmp_path / "scaled" / "2.setsail", 3.0)
    repository.look()
    assert total(house) == 6  # seen once
    repository.look()
    assert total(house) == 9
    put(tmp_path / "scaled" / "2.setsail", 4.0)
    repository.look()
    repository.look()
    assert total(house) == 12
    (tmp_path / "scaled" / "2.setsail").unlink()
    repository.look()
    assert total(house) == 12
    repository.look()
    assert total(house) == 6
    assert states(house) == {("scaled", 1): "ready", ("scaled", 2): "gone"}


def test_an_unreadable_new_version_leaves_the_serving_one_alone(house: House, tmp_path: Path) -> None:
    repository = Repository(house, tmp_path)
    put(tmp_path / "scaled" / "1.setsail", 2.0)
    repository.open()
    (tmp_path / "scaled" / "1.setsail").write_bytes(b"overwritten with nonsense")
    (tmp_path / "scaled" / "2.setsail").write_bytes(b"nonsense")
    repository.look()
    repository.look()
    assert total(house) == 6
    one, two = house.answer(Status(ModelRef("scaled")))
    assert (one.state, two.state) == ("ready", "failed")
    assert two.reason.startswith("[artifact.")
    put(tmp_path / "scaled" / "2.setsail", 3.0)  # mended
    repository.look()
    repository.look()
    assert total(house) == 9


def test_a_layout_problem_shows_as_failed(house: House, tmp_path: Path) -> None:
    put(tmp_path / "scaled" / "1.setsail")
    put(tmp_path / "scaled" / "2" / "a.setsail")
    put(tmp_path / "scaled" / "2" / "b.setsail")
    Repository(house, tmp_path).open()
    assert states(house) == {("scaled", 1): "ready", ("scaled", 2): "failed"}


def test_a_file_that_becomes_another_model_takes_its_old_name_away(house: House, tmp_path: Path) -> None:
    repository = Repository(house, tmp_path)
    put(tmp_path / "m.setsail", name="before")
    repository.open()
    put(tmp_path / "m.setsail", name="after")
    repository.look()
    repository.look()
    assert states(house) == {("after", 1): "ready", ("before", 1): "gone"}


def test_what_a_client_unloaded_stays_unloaded_until_it_is_loaded(house: House, tmp_path: Path) -> None:
    repository = Repository(house, tmp_path)
    put(tmp_path / "scaled" / "1.setsail", 2.0)
    repository.open()
    house.unload("scaled")
    repository.look()
    repository.look()
    assert states(house) == {("scaled", 1): "gone"}
    put(tmp_path / "scaled" / "2.setsail", 3.0)
    house.answer(Load("scaled"))  # finds the new one at once
    assert states(house) == {("scaled", 1): "ready", ("scaled", 2): "ready"}


def test_a_directory_that_is_away_for_a_moment_unloads_nothing(house: House, tmp_path: Path) -> None:
    root = tmp_path / "models"
    put(root / "scaled" / "1.setsail")
    repository = Repository(house, root, poll=0.01)
    repository.open()
    shutil.move(root, tmp_path / "away")
    assert not house.wait(lambda table: any(not e.ready for e in table), 0.1)
    repository.close()
    assert total(house) == 6


def test_models_are_packed_where_that_is_possible(house: House, tmp_path: Path) -> None:
    packed = put(tmp_path / "cache" / "made.setsail", name="whatever", version=9)
    (tmp_path / "models" / "credit" / "4").mkdir(parents=True)
    (tmp_path / "models" / "credit" / "4" / "model.ubj").write_bytes(b"a model")
    asked: list[Path] = []

    def pack(path: Path) -> Path:
        asked.append(path)
        return packed

    assert Repository(house, tmp_path / "models", pack=pack).open() == []
    assert [p.name for p in asked] == ["model.ubj"]
    assert states(house) == {("credit", 4): "ready"}
