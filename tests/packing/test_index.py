"""What a package index has of recorded versions: a stand-in on this machine answers, or does not."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from package_index import index, wheel
from sklearn.linear_model import Ridge

from setsail.artifact import Artifact
from setsail.packing import verify
from setsail.packing.index import address, ask

Pack = Callable[..., Artifact]
FILES = {
    "numpy": [wheel("numpy", "2.0"), wheel("numpy", "2.1", yanked="wrong \x1b[31mresults"), wheel("numpy", "2.2")],
    "scikit-learn": [{"filename": "scikit-learn-1.9.0.tar.gz"}, {"filename": "scikit_learn-1.8.0.zip"}],
    "torch": [wheel("torch", "2.13.0")],
    "twice": [wheel("twice", "1.0", yanked=True), wheel("twice", "1.0"), {"filename": "twice-1.0.exe"}, "no object"],
}


def states(packages: dict[str, str], url: str) -> dict[str, str]:
    return {fate.name: fate.state for fate in ask(packages, {"PIP_INDEX_URL": url}).fates}


def test_each_version_is_there_yanked_gone_or_unlisted() -> None:
    packages = {"numpy": "2.1", "scikit-learn": "1.9.0", "torch": "2.13.0+cpu", "twice": "1.0", "own": "1"}
    with index(FILES) as (url, asked):
        found = ask(packages, {"PIP_INDEX_URL": url})
        assert states({"numpy": "2.9", "scikit-learn": "1.8.0"}, url) == {"numpy": "gone", "scikit-learn": "there"}
    assert {fate.name: fate.state for fate in found.fates} == {
        "numpy": "yanked", "scikit-learn": "there", "torch": "there", "twice": "there", "own": "unlisted",
    }  # fmt: skip
    assert ("/simple/scikit-learn/", None) in asked
    lines = str(found).splitlines()
    assert lines[0] == f"{url} has 3 of 5 recorded versions"
    assert lines[1] == f"  {'numpy':<20} 2.1  was yanked: wrong  [31mresults"
    assert lines[2] == f"  {'own':<20} 1  is of a package that is not on this index"
    assert found.to_json()["reachable"] is True


def test_nobody_there_is_said_and_asked_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = ask({"numpy": "2.0", "torch": "1"}, {"PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple"})
    assert found.fates == ()
    assert str(found).startswith("the package index was not asked: [Errno")
    assert found.to_json()["reachable"] is False


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"status": 500, "body": b"{}"}, "answers 500"), ({"form": "text/html", "body": b"<a>"}, "PEP 691"),
        ({"body": b"{"}, "Expecting property name"), ({"body": b'{"files": 1}'}, "something else"),
    ],
)  # fmt: skip
def test_an_index_that_answers_otherwise(options: Any, why: str) -> None:
    with index(FILES, **options) as (url, asked):
        found = ask({"numpy": "2.0", "torch": "1"}, {"PIP_INDEX_URL": url})
    assert (found.fates, why in found.fault, len(asked)) == ((), True, 1)


def test_some_answers_are_better_than_none() -> None:
    with index({"a": [wheel("a", "1")], "b": None}) as (url, _):  # type: ignore[dict-item]
        found = ask({"a": "1", "b": "1"}, {"PIP_INDEX_URL": url})
    assert [(fate.name, fate.state) for fate in found.fates] == [("a", "there"), ("b", "unlisted")]


def test_credentials_are_sent_and_not_shown() -> None:
    with index(FILES) as (url, asked):
        secret = url.replace("http://", "http://me:s%40cret@")
        found = ask({"numpy": "2.0"}, {"PIP_INDEX_URL": secret})
    assert found.url == url
    assert asked == [("/simple/numpy/", "Basic bWU6c0BjcmV0")]
    assert "cret" not in f"{found} {found.to_json()}"


def test_the_index_is_pips_own(tmp_path: Path) -> None:
    nowhere = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    assert address(nowhere).endswith("/simple")
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://one/simple/\n[install]\nindex-url = http://two/simple\n")
    assert address({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(file)}) == "http://two/simple"
    file.write_text("not a configuration")
    assert address({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(file), "PIP_INDEX_URL": "http://x/"}) == "http://x"
    assert "says not to" in str(ask({"numpy": "1"}, {"PIP_NO_INDEX": "1"}))
    assert "no index of the web" in str(ask({"numpy": "1"}, {"PIP_INDEX_URL": "file:///etc"}))
    assert "no packages" in str(ask({}, {"PIP_INDEX_URL": "http://x"}))


def test_verify_tells_the_record_and_the_index(
    packed: Pack, ridge: Ridge, diabetes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = packed(ridge, diabetes[0])
    assert made.path is not None
    with index(FILES) as (url, _):
        monkeypatch.setenv("PIP_INDEX_URL", url)
        found = verify(made.path, environment=True)
    assert found.passed
    assert found.environment is not None
    assert found.environment.differences == ()
    body = found.to_json()
    states = {one["name"]: one["state"] for one in body["index"]["versions"]}
    assert (states["numpy"], states["onnx"]) == ("gone", "unlisted")
    assert "packages are as they were" in str(found)
    assert "is there no longer" in str(found)
    assert set(verify(made.path).to_json()) == {"path", "digest", "members", "passed", "replays"}
