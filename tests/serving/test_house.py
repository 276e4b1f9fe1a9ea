"""The house on real artifacts: loading, failing, reloading, unloading, and every ask."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import xgboost as xgb
from scaled import ROWS, artifact, program

from setsail.catalog import Card, Index, IsLive, IsReady, Load, Metadata, ServerInfo, Status, Unload
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.serving.house import House
from setsail.variants import Variant


def total(house: House, ref: ModelRef | None = None) -> float:
    request = Request(ref or ModelRef("scaled"), Rows([[1, 2]]), outputs=("total",))
    return float(house.answer(request).outputs["total"][0])


def states(house: House) -> list[tuple[str, int, str]]:
    return [(s.name, s.version, s.state) for s in house.answer(Index())]


def test_an_artifact_is_loaded_asked_and_unloaded(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail").close()
    assert house.load(tmp_path / "a.setsail") == ModelRef("scaled", 1)
    assert total(house) == 6
    assert house.answer(IsLive())
    assert house.answer(IsReady())
    assert house.answer(IsReady(ModelRef("scaled", 1)))
    assert house.answer(ServerInfo()) is None
    meta = house.answer(Metadata(ModelRef("scaled")))
    assert (meta.name, meta.version, meta.versions, meta.framework) == ("scaled", 1, (1,), "onnx 1.0")
    assert meta.example == {"x": ROWS[0].tolist()}
    card = dict(house.answer(Card(ModelRef("scaled"))))
    assert card["variants"] == ("onnx (onnx, float32)",)
    assert card["parity"][0] == "parity of onnx (float32): passed"
    house.unload("scaled")
    assert states(house) == [("scaled", 1, "gone")]
    assert not house.answer(IsReady(ModelRef("scaled")))
    assert not house.answer(IsReady(ModelRef("nobody"), lenient=True))
    with pytest.raises(SetsailError) as caught:
        total(house)
    assert caught.value.code == "model.not_ready"


def test_given_names_and_versions_beat_the_manifest(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail").close()
    assert house.load(str(tmp_path / "a.setsail"), "other", 5) == ModelRef("other", 5)
    assert total(house, ModelRef("other", 5)) == 6
    for name, version, code in (("no spaces", 1, "model.name"), ("m", 0, "repository.layout")):
        with pytest.raises(SetsailError) as caught:
            house.load(tmp_path / "a.setsail", name, version)
        assert caught.value.code == code


def test_an_opened_artifact_can_be_loaded_and_stays_open(house: House, tmp_path: Path) -> None:
    with artifact(tmp_path / "a.setsail") as opened:
        house.load(opened)
        assert opened.member("manifest.json") is not None
    assert total(house) == 6


def test_two_files_that_claim_one_version_are_refused(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail", 2.0).close()
    artifact(tmp_path / "b.setsail", 3.0).close()
    house.load(tmp_path / "a.setsail")
    with pytest.raises(SetsailError) as caught:
        house.load(tmp_path / "b.setsail")
    assert caught.value.code == "repository.layout"
    assert total(house) == 6


def test_a_damaged_version_fails_with_its_reason_and_the_other_answers_on(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "1.setsail").close()
    (tmp_path / "2.setsail").write_bytes(b"PK\x03\x04 half")
    house.load(tmp_path / "1.setsail", "scaled", 1)
    with pytest.raises(SetsailError):
        house.load(tmp_path / "2.setsail", "scaled", 2)
    one, two = house.answer(Status(ModelRef("scaled")))
    assert (one.state, one.default, two.state) == ("ready", True, "failed")
    assert two.reason.startswith("[artifact.")
    assert total(house) == 6
    assert house.answer(IsReady())
    with pytest.raises(SetsailError) as caught:
        total(house, ModelRef("scaled", 2))
    assert caught.value.code == "model.failed"


def test_a_model_that_answers_otherwise_than_when_packed_is_not_served(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail", 2.0, stored=2.5).close()
    with pytest.raises(SetsailError) as caught:
        house.load(tmp_path / "a.setsail")
    assert caught.value.code == "model.failed"
    (status,) = house.answer(Status(ModelRef("scaled")))
    assert status.state == "failed"
    assert "3 of 3 stored rows differ" in status.reason
    assert not house.answer(IsReady())


def test_loading_again_takes_the_new_file_and_keeps_the_old_runner_if_it_is_bad(house: House, tmp_path: Path) -> None:
    path = tmp_path / "a.setsail"
    artifact(path, 2.0).close()
    house.load(path)
    artifact(path, 3.0).close()
    house.answer(Load("scaled"))
    assert total(house) == 9
    artifact(path, 4.0, stored=5.0).close()
    with pytest.raises(SetsailError) as caught:
        house.answer(Load("scaled"))
    assert caught.value.code == "model.failed"
    assert total(house) == 9
    assert states(house) == [("scaled", 1, "ready")]


def test_what_was_unloaded_or_failed_can_be_loaded_again(house: House, tmp_path: Path) -> None:
    path = tmp_path / "a.setsail"
    artifact(path).close()
    house.load(path)
    house.answer(Unload("scaled"))
    assert states(house) == [("scaled", 1, "gone")]
    path.write_bytes(b"")
    with pytest.raises(SetsailError):
        house.answer(Load("scaled"))
    artifact(path, 3.0).close()
    house.answer(Load("scaled"))
    assert total(house) == 9


def test_loading_and_unloading_need_control(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail").close()
    house.load(tmp_path / "a.setsail")
    for ask in (Load("scaled"), Unload("scaled")):
        with pytest.raises(SetsailError) as caught:
            house.answer(ask, control=False)
        assert caught.value.code == "control.refused"
    for unknown in (Load("other"), Unload("other")):
        with pytest.raises(SetsailError) as caught:
            house.answer(unknown)
        assert caught.value.code == "model.unknown"


def test_a_later_variant_runs_where_the_first_does_not(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail", programs=(b"not a program", program(2.0))).close()
    house.load(tmp_path / "a.setsail")
    assert total(house) == 6


def test_with_no_variant_that_runs_every_reason_is_given(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail", programs=(b"not a program", b"nor this")).close()
    with pytest.raises(SetsailError) as caught:
        house.load(tmp_path / "a.setsail")
    assert caught.value.code == "model.failed"
    assert "no variant" in str(caught.value)


def test_a_native_file_that_crashes_its_library_fails_in_its_trial(house: House, tmp_path: Path) -> None:
    """Half an XGBoost file ends the process that reads it; here it ends the child's."""
    rows = xgb.DMatrix(ROWS, label=[0.0, 1.0, 0.0], nthread=1)
    half = bytes(xgb.train({"nthread": 1}, rows, 2).save_raw("ubj"))[:200]
    variant = Variant("xgboost", "xgboost-ubj", "float32", "m.ubj", {"form": "value", "margin": False, "rounds": 2})
    artifact(tmp_path / "a.setsail", native=(variant, half)).close()
    with pytest.raises(SetsailError) as caught:
        house.load(tmp_path / "a.setsail")
    assert caught.value.code == "program.trial"
    assert states(house) == [("scaled", 1, "failed")]


def test_a_fixed_batch_is_split(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail", max_batch=1).close()
    house.load(tmp_path / "a.setsail")
    response = house.answer(Request(ModelRef("scaled"), Rows([[1, 2], [3, 4], [5, 6]])))
    assert response.outputs["total"].tolist() == [6, 14, 22]


@pytest.mark.parametrize("samples", ["example", "none"])
def test_rows_of_a_person_are_never_shown(house: House, tmp_path: Path, samples: str) -> None:
    artifact(tmp_path / "a.setsail", samples=samples).close()
    house.load(tmp_path / "a.setsail")
    assert house.answer(Metadata(ModelRef("scaled"))).example == {"x": [0.0, 0.0]}


def test_labels_are_followed(house: House, tmp_path: Path) -> None:
    for version in (1, 2):
        artifact(tmp_path / f"{version}.setsail", float(version), version=version).close()
        house.load(tmp_path / f"{version}.setsail")
    house.label("scaled", "stable", 1)
    assert total(house, ModelRef("scaled", label="stable")) == 3
    assert total(house) == 6
    house.label("scaled", "stable", None)
    with pytest.raises(SetsailError) as caught:
        total(house, ModelRef("scaled", label="stable"))
    assert caught.value.code == "model.label"


def test_an_unloaded_version_drains_until_its_last_request_ends(tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()
    with House() as house:
        artifact(tmp_path / "a.setsail").close()
        house.load(tmp_path / "a.setsail")
        (entry,) = house.table
        assert entry.loaded is not None
        run = entry.loaded.runner.run

        def waiting(inputs: object) -> object:
            inside.set()
            leave.wait(10)
            return run(inputs)  # type: ignore[arg-type]

        entry.loaded.runner.run = waiting  # type: ignore[method-assign,assignment]
        answers: list[float] = []
        request = threading.Thread(target=lambda: answers.append(total(house)))
        request.start()
        assert inside.wait(10)
        house.unload("scaled")
        assert states(house) == [("scaled", 1, "draining")]
        assert not house.wait(lambda table: all(e.state == "gone" for e in table), 0.05)
        leave.set()
        request.join()
        assert house.wait(lambda table: all(e.state == "gone" for e in table), 10)
        assert answers == [6]


def test_a_load_that_nobody_waits_for_shows_in_the_states(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail").close()
    assert house.load(tmp_path / "a.setsail", "scaled", 1, wait=False) is None
    assert states(house)[0][2] in ("queued", "loading", "warming", "ready")
    assert house.wait(lambda table: all(e.ready for e in table), 30)


def test_a_closed_house_takes_no_loads(tmp_path: Path) -> None:
    artifact(tmp_path / "a.setsail").close()
    house = House()
    house.load(tmp_path / "a.setsail")
    assert house.close()
    assert house.close()
    assert states(house) == [("scaled", 1, "gone")]
    with pytest.raises(SetsailError) as caught:
        house.load(tmp_path / "a.setsail")
    assert caught.value.code == "model.not_ready"
