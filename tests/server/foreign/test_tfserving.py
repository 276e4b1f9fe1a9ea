"""`models.config` as settings, and a server started from one."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from scaled import artifact

from setsail.catalog import Configure, ModelConfig, Policy
from setsail.errors import SetsailError
from setsail.server.foreign import configuration
from setsail.server.run import Server
from setsail.server.settings import Settings

TEXT = """
model_config_list {{
  config {{ name: "twice" base_path: "{}/twice" model_platform: "tensorflow"
           model_version_policy {{ specific {{ versions: 1 versions: 3 }} }}
           version_labels {{ key: "stable" value: 1 }} }}
  config {{ name: "other" base_path: "{}/other" logging_config {{}} }}
}}
"""


def written(folder: Path, text: str = TEXT) -> Path:
    path = folder / "models.config"
    path.write_text(text.format(folder, folder))
    return path


def test_a_file_in_our_terms(tmp_path: Path) -> None:
    found = configuration.read(written(tmp_path))
    assert found is not None
    assert found.settings == {"as_": "tfserving", "model_store": f"{tmp_path}/twice,{tmp_path}/other"}
    assert found.asks == (
        Configure((
            ModelConfig("twice", f"{tmp_path}/twice", Policy(specific=(1, 3)), {"stable": 1}),
            ModelConfig("other", f"{tmp_path}/other"),
        )),
    )  # fmt: skip
    assert found.notes == ("logging_config of other does not carry over.",)


@pytest.mark.parametrize(
    "text",
    [
        "nothing of this",
        'model_config_list {{ config {{ name: "m" base_path: "models/m" }} }}',
        'model_config_list {{ config {{ name: "m" base_path: "gs://bucket/m" }} }}',
        'model_config_list {{ config {{ name: "m" base_path: "/a,b" }} }}',
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        configuration.read(written(tmp_path, text))
    assert caught.value.code == "setting.value"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.config", tmp_path / "odd.config"):
        (tmp_path / "odd.config").write_bytes(b"\xff")
        with pytest.raises(SetsailError) as caught:
            configuration.read(path)
        assert caught.value.code == "setting.value"


def test_the_versions_that_its_policy_chooses_are_served(tmp_path: Path) -> None:
    for model, version in (("twice", 1), ("twice", 2), ("twice", 3), ("other", 4), ("other", 5)):
        folder = tmp_path / model
        folder.mkdir(exist_ok=True)
        artifact(folder / f"{version}.setsail", float(version), name=model).close()
    found = configuration.read(written(tmp_path))
    assert found is not None
    settings = Settings(port=0, admin_port=-1, model_store=found.settings["model_store"])
    with Server(settings) as server:
        for ask in found.asks:
            server.do(ask)
        server.start()

        def states(model: str) -> dict[str, str]:
            with urllib.request.urlopen(f"{server.url}/v1/models/{model}", timeout=10) as reply:
                rows = json.load(reply)["model_version_status"]
            return {row["version"]: row["state"] for row in rows}

        assert states("twice") == {"1": "AVAILABLE", "3": "AVAILABLE"}
        assert states("other") == {"5": "AVAILABLE"}
        assert states("twice/labels/stable")["1"] == "AVAILABLE"
        with urllib.request.urlopen(f"{server.url}/v1/models/twice/labels/stable/metadata", timeout=10) as reply:
            assert json.load(reply)["model_spec"]["version"] == "1"
