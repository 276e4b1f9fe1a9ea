"""`repository.toml`: default versions, labels and policies, which hold while the directory changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scaled import artifact

from setsail.catalog import Policy
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.serving.declared import FILE, Declared, merge, read
from setsail.serving.house import House
from setsail.serving.repository import Repository


@pytest.fixture
def house() -> Iterator[House]:
    opened = House(threads=1)
    yield opened
    opened.close(1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version in (1, 2, 3):
        put(tmp_path, version)
    return tmp_path


def put(root: Path, version: int) -> None:
    (root / "m").mkdir(exist_ok=True)
    artifact(root / "m" / f"{version}.setsail", float(version), name="m", version=version).close()


def labels(house: House) -> dict[str, int]:
    return dict(house.table.models["m"].labels)


def default(house: House) -> int | None:
    return house.table.models["m"].default


def ready(house: House) -> list[int]:
    return [one.version for one in house.table.status(ModelRef("m")) if one.state == "ready"]


def test_a_default_version_and_labels(house: House, root: Path) -> None:
    (root / FILE).write_text("[models.m]\ndefault = 2\nlabels = { stable = 1, next = 3 }\n")
    assert Repository(house, root).open() == []
    assert (default(house), labels(house), ready(house)) == (2, {"stable": 1, "next": 3}, [1, 2, 3])
    assert house.table.find(ModelRef("m", label="stable")).version == 1


@pytest.mark.parametrize(("policy", "served"), [("latest = 2", [2, 3]), ("only = [1, 3, 9]", [1, 3]), ("", [1, 2, 3])])
def test_which_versions_are_served(policy: str, served: list[int], house: House, root: Path) -> None:
    (root / FILE).write_text(f"[models.m]\n{policy}\n")
    Repository(house, root).open()
    assert ready(house) == served


def test_the_file_holds_again_when_it_changes_and_when_versions_do(house: House, root: Path) -> None:
    (root / FILE).write_text("[models.m]\ndefault = 1\nlabels = { stable = 1, new = 4 }\n")
    repository = Repository(house, root)
    ((place, fault),) = repository.open()
    assert (place.name, fault.code) == (FILE, "model.version")  # of a version that is not there yet
    assert labels(house) == {}
    put(root, 4)
    repository.look(at_once=True)
    assert (default(house), labels(house)) == (1, {"stable": 1, "new": 4})
    house.swap(lambda table: table.labelled("m", "mine", 2))
    (root / FILE).write_text("[models.m]\nlabels = { stable = 2 }\n")
    repository.look()
    assert (default(house), labels(house)) == (4, {"stable": 2, "mine": 2})  # whose it is not, stays
    (root / FILE).unlink()
    repository.look()
    assert labels(house) == {"mine": 2}


def test_a_file_that_cannot_be_read_changes_nothing(house: House, root: Path) -> None:
    (root / FILE).write_text("[models.m]\nlabels = { stable = 1 }\n")
    repository = Repository(house, root)
    repository.open()
    (root / FILE).write_text("[models.m]\nlabels = { stable = 2")
    ((_, fault),) = repository.look()
    assert (fault.code, labels(house)) == ("repository.layout", {"stable": 1})
    assert repository.look() == []  # said once


@pytest.mark.parametrize(
    "text",
    ["models = 3", "[other.m]\n", "[models.m]\nlabel = 1", "[models.m]\ndefault = 0", "[models.m]\ndefault = true",
     "[models.m]\nlabels = 3", "[models.m]\nonly = 3", "[models.m]\nlatest = 1\nonly = [1]",
     "[models]\nm = 1"],
)  # fmt: skip
def test_what_nobody_means_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SetsailError) as caught:
        read(tmp_path)
    assert (caught.value.code, caught.value.field) == ("repository.layout", FILE)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    told = {
        "a.b": Declared(3, {"stable": 1, 'quoted "x"\\é': 2}),
        "c": Declared(policy=Policy(latest=2)), "d": Declared(policy=Policy(specific=(1, 5))),
    }  # fmt: skip
    merge(tmp_path, told)
    assert read(tmp_path) == told
    merge(tmp_path, {"c": Declared(1)})
    assert read(tmp_path) == told | {"c": Declared(1)}
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_any_label_is_written_so_that_it_is_read(tmp_path: Path) -> None:
    labels = {'"quoted\\': 1, "tab\tand\x7fdel": 2, "größer": 3, "🚀": 4}
    merge(tmp_path, {"m": Declared(labels=labels)})
    assert read(tmp_path)["m"].labels == labels
