"""Where a client's name for a model may lead, and where not."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from scaled import artifact

from setsail.errors import SetsailError
from setsail.serving.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store()
    (tmp_path / "store").mkdir()
    artifact(tmp_path / "store" / "a.setsail", name="a").close()
    artifact(tmp_path / "secret.setsail", name="secret").close()
    made.allow(tmp_path / "store")
    return made


def refused(store: Store, url: str) -> str:
    with pytest.raises(SetsailError) as caught:
        store.locate(url)
    return caught.value.code


def test_a_file_is_found_by_its_name_its_path_or_its_url(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "store" / "a.setsail"
    for url in ("a.setsail", "./a.setsail", str(file), file.as_uri(), f"file://localhost{file}"):
        found = store.locate(url)
        assert (found.name, found.version, found.path) == ("a", 1, str(file))


def test_names_are_the_askers_then_the_folders_then_the_files(store: Store, tmp_path: Path) -> None:
    artifact(tmp_path / "store" / "credit" / "3.setsail", name="other", version=9).close()
    artifact(tmp_path / "store" / "credit" / "4" / "any.setsail", name="other", version=9).close()
    assert store.locate("a.setsail", "mine", 7).name == "mine"
    assert store.locate("a.setsail", "mine", 7).version == 7
    for url, version in (("credit/3.setsail", 3), ("credit/4", 4)):
        found = store.locate(url)
        assert (found.name, found.version) == ("credit", version)


@pytest.mark.parametrize(
    "url",
    [
        "../secret.setsail", "x/../../secret.setsail", "..", "", ".", "/etc/passwd", "file:///etc/passwd", "a\0b",
        "file:///%2e%2e/secret.setsail", "https://models.example/a.mar", "s3://bucket/a.setsail", "file://host/a", "e://[",
        "file://[]",
    ],
)  # fmt: skip
def test_a_place_that_is_not_below_the_store_is_refused(store: Store, url: str) -> None:
    assert refused(store, url) == "store.outside"


def test_a_link_that_leads_out_is_refused_wherever_it_is(store: Store, tmp_path: Path) -> None:
    inside = tmp_path / "store"
    (inside / "link.setsail").symlink_to(tmp_path / "secret.setsail")
    (inside / "up").symlink_to(tmp_path)
    (inside / "model").mkdir()
    (inside / "model" / "weights").symlink_to(tmp_path / "secret.setsail")
    (inside / "loop").symlink_to(inside / "loop")
    for url in ("link.setsail", "up/secret.setsail", "model", str(inside / "up" / "secret.setsail")):
        assert refused(store, url) == "store.outside"
    assert refused(store, "loop") == "store.missing"


def test_a_link_that_stays_inside_is_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "store" / "current.setsail").symlink_to("a.setsail")
    assert store.locate("current.setsail").path == str(tmp_path / "store" / "a.setsail")


def test_what_is_not_there_is_missing_and_without_a_folder_nothing_is(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "store" / "pipe.setsail")
    assert refused(store, "pipe.setsail") == "store.missing"
    assert refused(store, "b.setsail") == "store.missing"
    assert refused(store, "x" * 5000) == "store.missing"
    assert refused(Store(), "a.setsail") == "store.none"


def test_a_source_is_packed_where_that_can_be_done(tmp_path: Path) -> None:
    artifact(tmp_path / "packed.setsail", name="packed").close()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "m.onnx").write_bytes(b"model")
    seen = []

    def pack(path: Path) -> Path:
        seen.append(path)
        return tmp_path / "packed.setsail"

    store, plain = Store(pack), Store()
    for one in (store, plain):
        one.allow(tmp_path / "store")
    assert store.locate("m.onnx").name == "packed"
    assert seen == [tmp_path / "store" / "m.onnx"]
    assert refused(plain, "m.onnx") == "store.source"


def test_an_archive_of_torchserve_is_refused_by_its_handlers_name(store: Store, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "store" / "dense.mar", "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", '{"model": {"handler": "my_handler.py", "serializedFile": "dense.pt"}}')
    with pytest.raises(SetsailError) as caught:
        store.locate("dense.mar")
    assert caught.value.code == "store.source"
    assert "'my_handler.py'" in str(caught.value)
    assert "setsail pack" in str(caught.value)
    assert "dense.pt" in str(caught.value)
    (tmp_path / "store" / "broken.mar").write_bytes(b"PK no zip")
    assert refused(store, "broken.mar") == "store.source"


def test_an_artifact_beside_an_archive_stands_for_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "store" / "a.mar").write_bytes(b"PK")
    assert store.locate("a.mar") == store.locate("a.setsail")
    assert refused(store, "../secret.mar") == "store.outside"


def test_base_paths_may_come_later_but_not_be_elsewhere(store: Store, tmp_path: Path) -> None:
    assert store.base(str(tmp_path / "store" / "later")) == tmp_path / "store" / "later"
    for path in ("/elsewhere", str(tmp_path), f"{tmp_path}/store/../x"):
        with pytest.raises(SetsailError) as caught:
            store.base(path)
        assert caught.value.code == "store.outside"
