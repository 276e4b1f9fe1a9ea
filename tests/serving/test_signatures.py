"""A version of several signatures: loaded, leased, queued and closed as one, each with a runner of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from several_signatures import ANSWERS, conversion, packed

from setsail.artifact import read
from setsail.catalog import Metadata
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.serving import loading
from setsail.serving.house import House
from setsail.serving.leases import Loaded
from setsail.serving.predict import begin

REF = ModelRef("two")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETSAIL_CACHE", str(folder / "cache"))
        packed(folder / "two.setsail").close()
        yield folder / "two.setsail"


@pytest.fixture
def house(file: Path) -> Iterator[House]:
    with House() as made:
        made.load(file)
        yield made


def loaded(house: House) -> Loaded:
    (entry,) = house.table
    assert entry.loaded is not None
    return entry.loaded


def closings(version: Loaded) -> list[str]:
    """The names of the signatures whose runners are closed, from now on."""
    ended: list[str] = []
    names = {id(one): name for name, one in {**version.others, "serving_default": version}.items()}
    for one in version.signatures:
        name = names[id(one)].replace("sort", "classify")

        def close(name: str = name, real: object = one.runner.close) -> None:
            ended.append(name)
            real()  # type: ignore[operator]

        one.runner.close = close  # type: ignore[method-assign]
    return ended


def test_each_has_a_runner_facts_and_limits_of_its_own(house: House) -> None:
    version = loaded(house)
    assert sorted(version.others) == ["classify", "prediction", "serve", "single", "sort"]
    assert version.others["serve"] is version
    assert version.others["sort"] is version.others["classify"]
    assert version.runner.max_batch is None
    assert version.others["single"].runner.max_batch == 1
    assert set(version.others["single"].facts.ladder) == {1}
    assert version.others["classify"].facts.example.keys() == {"z"}
    assert version.others["classify"].facts.ladder  # it was warmed up


def test_more_rows_than_a_program_takes_are_split(house: House) -> None:
    told = house.predict(Request(REF, Rows([[1, 2, 3], [4, 5, 6]]), None, "single"))
    assert told.outputs["twice"].tolist() == [[2, 4, 6], [8, 10, 12]]


def test_outputs_are_those_of_the_signature(house: House) -> None:
    told = house.predict(Request(REF, Rows([[1, 2]]), ("scores",), "classify"))
    np.testing.assert_array_equal(told.outputs["scores"], ANSWERS["classify"](np.array([[1, 2]]))["scores"])
    with pytest.raises(SetsailError) as caught:
        house.predict(Request(REF, Rows([[1, 2]]), ("prediction",), "classify"))
    assert caught.value.code == "output.unknown"


def test_a_request_of_any_signature_keeps_the_version(house: House) -> None:
    version = loaded(house)
    ended = closings(version)
    held = begin(lambda: house.table, Request(REF, Rows([[1, 2]]), None, "classify"), 0.0)
    house.unload("two")
    assert not held.loaded.acquire()
    assert ended == []
    assert [entry.state for entry in house.table] == ["draining"]
    held.loaded.release()
    assert sorted(ended) == ["classify", "prediction", "serving_default", "single"]
    assert [entry.state for entry in house.table] == ["gone"]


def test_an_unknown_signature_leaves_no_lease(house: House) -> None:
    with pytest.raises(SetsailError) as caught:
        begin(lambda: house.table, Request(REF, Rows([[1]]), None, "nothing"), 0.0)
    assert caught.value.code == "model.signature"
    assert caught.value.expected == "serving_default, classify, prediction, single, serve, sort"
    house.unload("two")
    assert [entry.state for entry in house.table] == ["gone"]


def test_a_version_is_ready_only_when_every_signature_answers_as_it_did(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that answers wrongly keeps all of them from being served, and closes what was open."""
    ended: list[list[str]] = []
    real = loading.open_runner

    def wrong(*args: object, **options: object) -> Loaded:
        version = real(*args, **options)  # type: ignore[arg-type]
        ended.append(closings(version))
        runner = version.others["classify"].runner
        run = runner.run
        runner.run = lambda *how: {n: a + 1 for n, a in run(*how).items()}  # type: ignore[method-assign]
        return version

    monkeypatch.setattr(loading, "open_runner", wrong)
    with House() as made, pytest.raises(SetsailError) as caught:
        made.load(file)
    assert caught.value.code == "model.failed"
    assert sorted(ended[0]) == ["classify", "prediction", "serving_default", "single"]


def test_metadata_tells_each(house: House) -> None:
    told = house.answer(Metadata(REF))
    assert sorted(told.others) == ["classify", "prediction", "serve", "single", "sort"]
    assert told.others["serve"].signature == told.signature
    assert not told.others["serve"].others
    assert told.others["single"].max_batch == 1
    assert told.others["classify"].signature == conversion().others["classify"].signature


def test_an_artifact_may_be_closed_before_its_signatures_are_used(file: Path) -> None:
    with read(file) as opened:
        others = opened.others
    with pytest.raises(ValueError, match="closed"):
        others["classify"].files("onnx")
