"""Configured models: base paths, version policies, labels, and what a new configuration leaves alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scaled import artifact

from setsail.catalog import Configure, Index, ModelConfig, Policy, VersionStatus
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.serving.configured import chosen
from setsail.serving.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Versions 1 to 3 under `base`, which multiply by 1, 2 and 3."""
    for version in (1, 2, 3):
        artifact(tmp_path / "base" / str(version) / "model.setsail", float(version)).close()
    (tmp_path / "base" / "assets").mkdir()
    with House() as made:
        made.management.store.allow(tmp_path)
        yield made


def total(house: House, ref: ModelRef) -> float:
    return float(house.answer(Request(ref, Rows([[1, 2]]), outputs=("total",))).outputs["total"][0])


def ready(house: House) -> list[tuple[str, int]]:
    return [(s.name, s.version) for s in house.answer(Index(ready_only=True))]


def configure(house: House, *models: ModelConfig) -> tuple[VersionStatus, ...]:
    answer: tuple[VersionStatus, ...] = house.answer(Configure(models))
    return answer


@pytest.mark.parametrize(
    ("policy", "versions"),
    [(Policy(1), {9}), (Policy(2), {4, 9}), (Policy(8), {1, 4, 9}), (Policy(), {1, 4, 9}),
     (Policy(specific=(1, 5)), {1}), (Policy(specific=(5,)), set())],
)  # fmt: skip
def test_policies(policy: Policy, versions: set[int]) -> None:
    assert chosen([4, 9, 1], policy) == versions


def test_the_policy_says_which_versions_are_served(house: House, tmp_path: Path) -> None:
    base = str(tmp_path / "base")
    (told,) = configure(house, ModelConfig("m", base))
    assert (told.name, told.version, told.ready) == ("m", 3, True)
    configure(house, ModelConfig("m", base, Policy(specific=(1, 2))))
    assert ready(house) == [("m", 1), ("m", 2)]
    configure(house, ModelConfig("m", base, Policy()), ModelConfig("twin", base, Policy(latest=1)))
    assert ready(house) == [("m", 1), ("m", 2), ("m", 3), ("twin", 3)]
    configure(house)
    assert ready(house) == []


def test_labels_follow_the_configuration(house: House, tmp_path: Path) -> None:
    base, policy = str(tmp_path / "base"), Policy(latest=2)
    configure(house, ModelConfig("m", base, policy, {"stable": 2, "canary": 3}))
    assert total(house, ModelRef("m", label="stable")) == 6
    configure(house, ModelConfig("m", base, policy, {"stable": 3}))
    assert total(house, ModelRef("m", label="stable")) == 9
    with pytest.raises(SetsailError) as caught:
        total(house, ModelRef("m", label="canary"))
    assert caught.value.code == "model.label"


def test_another_base_path_takes_over_without_a_gap(house: House, tmp_path: Path) -> None:
    artifact(tmp_path / "new" / "3" / "model.setsail", 10.0).close()
    configure(house, ModelConfig("m", str(tmp_path / "base")))
    configure(house, ModelConfig("m", str(tmp_path / "new")))
    assert ready(house) == [("m", 3)]
    assert total(house, ModelRef("m")) == 30


def test_what_cannot_be_loaded_says_why_and_the_rest_is_served(house: House, tmp_path: Path) -> None:
    (tmp_path / "base" / "4").mkdir()
    (tmp_path / "base" / "4" / "model.setsail").write_bytes(b"PK\x03\x04")
    told = configure(house, ModelConfig("m", str(tmp_path / "base"), Policy(latest=2)))
    assert [(s.version, s.state) for s in told] == [(3, "ready"), (4, "failed")]
    assert "[artifact." in told[1].reason


@pytest.mark.parametrize(
    ("code", "models"),
    [
        ("store.outside", [{"name": "m", "base_path": "/elsewhere"}]),
        ("model.name", [{"name": "no spaces", "base_path": "{}"}]),
        ("model.label", [{"name": "m", "base_path": "{}", "labels": {"stable": 1}}]),
        ("request.form", [{"name": "m", "base_path": "{}"}, {"name": "m", "base_path": "{}"}]),
    ],
)
def test_a_configuration_that_is_refused_changes_nothing(
    house: House, tmp_path: Path, code: str, models: list[dict[str, Any]]
) -> None:
    base = str(tmp_path / "base")
    configure(house, ModelConfig("old", base))
    with pytest.raises(SetsailError) as caught:
        configure(house, *(ModelConfig(**{**m, "base_path": m["base_path"].format(base)}) for m in models))
    assert caught.value.code == code
    assert ready(house) == [("old", 3)]


def test_base_paths_are_looked_at_again(tmp_path: Path) -> None:
    with House(poll=0.02) as house:
        house.management.store.allow(tmp_path)
        assert configure(house, ModelConfig("m", str(tmp_path / "later"))) == ()
        artifact(tmp_path / "later" / "1.setsail", 4.0).close()
        assert house.wait(lambda table: any(e.ready for e in table), 20)
        assert total(house, ModelRef("m")) == 12
        shutil.rmtree(tmp_path / "later")
        (tmp_path / "later").mkdir()
        assert house.wait(lambda table: not any(e.ready for e in table), 20)
