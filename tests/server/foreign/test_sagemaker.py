"""SageMaker's variables, as settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from setsail.errors import SetsailError
from setsail.server.foreign.sagemaker import container
from setsail.server.settings import Settings


def read(base: Path, **variables: str) -> tuple[Settings, tuple[str, ...]]:
    found = container({"SAGEMAKER_BASE_DIR": str(base)} | variables)
    assert found is not None
    return Settings.read(found.settings), found.notes


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path


def test_without_the_platforms_folder_it_is_no_container(tmp_path: Path) -> None:
    assert container({"SAGEMAKER_BASE_DIR": str(tmp_path)}) is None


def test_the_model_is_served_where_the_platform_asks(base: Path) -> None:
    settings, notes = read(base)
    assert (settings.as_, settings.host, settings.port, settings.admin_port) == ("sagemaker", "0.0.0.0", 8080, -1)
    assert settings.drain_timeout < 30  # then it is killed
    assert notes == ()
    found = container({"SAGEMAKER_BASE_DIR": str(base)})
    assert found is not None
    assert found.paths == ((base / "model", None),)


@pytest.mark.parametrize(
    ("variable", "value", "setting", "becomes"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "9000", "port", 9000),
        ("SAGEMAKER_SAFE_PORT_RANGE", "21000-21100", "admin_port", 21000),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "3", "workers", 3),
        ("SAGEMAKER_MODEL_SERVER_WORKERS", "", "workers", 0),
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "100", "max_body", 100 << 20),
    ],
)
def test_a_variable_is_a_setting(base: Path, variable: str, value: str, setting: str, becomes: int) -> None:
    assert getattr(read(base, **{variable: value})[0], setting) == becomes


@pytest.mark.parametrize("variable", ["SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MODEL_SERVER_WORKERS"])
@pytest.mark.parametrize("value", ["many", "-1", "1.5", "9" * 12])
def test_a_variable_that_is_no_number_is_named(base: Path, variable: str, value: str) -> None:
    with pytest.raises(SetsailError) as caught:
        read(base, **{variable: value})
    assert (caught.value.code, caught.value.field) == ("setting.value", variable)


def test_models_that_come_and_go_are_taken_from_one_folder_alone(tmp_path: Path) -> None:
    found = container({"SAGEMAKER_BASE_DIR": str(tmp_path), "SAGEMAKER_MULTI_MODEL": "true"})
    assert found is not None
    settings: Mapping[str, object] = found.settings
    assert (settings["as_"], settings["model_store"]) == ("sagemaker-mme", str(tmp_path / "models"))
    assert found.paths == ()


def test_what_does_not_carry_over_is_said(base: Path) -> None:
    _, notes = read(base, SAGEMAKER_PROGRAM="inference.py", SAGEMAKER_MODEL_SERVER_TIMEOUT="60")
    assert [note.partition(" ")[0] for note in notes] == ["SAGEMAKER_PROGRAM", "SAGEMAKER_MODEL_SERVER_TIMEOUT"]
