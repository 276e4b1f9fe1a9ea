"""The promise: versions come and go under load without one failed request."""

from __future__ import annotations

import threading
from pathlib import Path

from scaled import artifact

from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Rows
from setsail.serving.house import House
from setsail.serving.observers import Finished
from setsail.serving.repository import Repository

REQUEST = Request(ModelRef("scaled"), Rows([[1, 2]]))


class Load:
    """Threads that ask without pause; every answer must be one of a version that was there."""

    def __init__(self, house: House, threads: int = 3) -> None:
        self._house, self._stop = house, threading.Event()
        self.versions: set[int] = set()
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                response = self._house.answer(REQUEST)
            except SetsailError as fault:
                self.wrong.append(str(fault))
                return
            self.versions.add(response.version)
            if response.outputs["total"].tolist() != [3.0 * response.version]:
                self.wrong.append(f"version {response.version} answered {response.outputs}")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_polled_repository_changes_versions_under_load(tmp_path: Path) -> None:
    seen: list[Finished] = []
    with House(observers=[seen.append]) as house:
        artifact(tmp_path / "scaled" / "1.setsail", 1.0).close()
        repository = Repository(house, tmp_path, poll=0.02)
        repository.open()
        with Load(house) as load:
            for version in range(2, 7):
                artifact(tmp_path / "scaled" / f"{version}.setsail", float(version)).close()
                assert house.wait(lambda table, v=version: table.models["scaled"].default == v, 30)  # type: ignore[misc]
                (tmp_path / "scaled" / f"{version - 1}.setsail").unlink()
            assert house.wait(lambda table: [e.version for e in table if e.state != "gone"] == [6], 30)
        repository.close()
    assert load.wrong == []
    assert load.versions == {1, 2, 3, 4, 5, 6}
    assert [e for e in seen if e.error is not None] == []


def test_a_version_is_replaced_in_place_under_load(tmp_path: Path) -> None:
    path = tmp_path / "a.setsail"
    artifact(path, 1.0).close()
    with House() as house:
        house.load(path)
        with Load(house) as load:
            for _ in range(30):
                house.load(path)
    assert load.wrong == []


def test_bad_versions_under_load_touch_nothing(tmp_path: Path) -> None:
    with House() as house:
        artifact(tmp_path / "scaled" / "1.setsail", 1.0).close()
        repository = Repository(house, tmp_path, poll=0.02)
        repository.open()
        whole = (tmp_path / "scaled" / "1.setsail").read_bytes()
        with Load(house) as load:
            for version in range(2, 6):
                (tmp_path / "scaled" / f"{version}.setsail").write_bytes(whole[: len(whole) * version // 7])
            assert house.wait(lambda table: sum(e.state == "failed" for e in table) == 4, 30)
        repository.close()
    assert (load.wrong, load.versions) == ([], {1})
