"""Hostile files of Keras and TensorFlow: refused before anything of them is loaded, and nothing of them runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from client_envs import ask_client
from tensorflow_env import tensorflow_python
from tensorflow_files import ATTACKS, LIVE_ATTACKS

from setsail import isolation
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_file_is_refused_before_it_is_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "call", None)  # whoever starts a child fails with another error
    monkeypatch.chdir(tmp_path)
    code, make = ATTACKS[name]
    path = make(tmp_path)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(SetsailError) as caught:
        pack(path, Intent(), PackOptions(name="x", output=tmp_path / "x.setsail"))
    assert caught.value.code == code, str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert "canary" not in os.listdir(tmp_path)


@pytest.mark.slow
def test_what_only_its_own_library_can_see_is_refused_in_the_child(tmp_path: Path) -> None:
    told = ask_client(
        tensorflow_python(), LIVE_ATTACKS, str(tmp_path), seconds=400, env={"SETSAIL_CACHE": str(tmp_path / "cache")}
    ).json()
    attacks = ("spelt_otherwise", "weights_elsewhere", "archive_elsewhere", "writes", "calls")
    assert told == {attack: ["source.trust", False] for attack in attacks}
