"""Doors: which ports a server has, by its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from setsail.errors import SetsailError
from setsail.server.doors import about, admin_port, doors
from setsail.server.settings import Settings


def made(**settings: Any) -> list[tuple[str | None, str, int]]:
    """Flavour, role and number of every door."""
    return [
        (door.flavour.name if door.flavour else None, door.role, door.port) for door in doors(Settings.read(settings))
    ]


def test_one_door_is_the_rule() -> None:
    assert made(port=8090) == [(None, "data", 8090)]


def test_a_flavour_puts_its_ports_in_the_place_of_the_data_port() -> None:
    assert made(as_="tfserving") == [("tfserving", "data", 8501), ("tfserving", "grpc", 8500)]
    triton = [("triton", "data", 8000), ("triton", "grpc", 8001), ("triton", "metrics", 8002)]
    assert made(as_="triton") == triton


def test_listen_adds_doors() -> None:
    assert made(port=1, listen=["8501=tfserving", "8000=triton"]) == [
        (None, "data", 1), ("tfserving", "data", 8501), ("triton", "data", 8000),
    ]  # fmt: skip
    assert made(as_="kserve", listen="9=triton")[-1] == ("triton", "data", 9)


def test_other_numbers() -> None:
    numbers = lambda **settings: [port for _, _, port in made(as_="triton", **settings)]  # noqa: E731
    assert numbers(port=0) == [0, 0, 0]
    assert numbers(port=9000) == [9000, 8001, 8002]
    assert numbers(ports="8001=9001,8002=0") == [8000, 9001, 0]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"listen": "8080=kserve"}, "--listen"),
        ({"as_": "triton", "ports": "8001=8000"}, "--ports"),
        ({"as_": "tfserving", "listen": "8500=triton"}, "--listen"),
    ],
)
def test_a_number_given_twice(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(SetsailError, match="twice") as caught:
        doors(Settings.read(settings))
    assert (caught.value.code, caught.value.field) == ("setting.value", field)


def test_the_admin_port_makes_room() -> None:
    settings = Settings.read({"as_": "mlserver"})
    assert admin_port(settings, [door.port for door in doors(settings)]) == 8083
    assert admin_port(Settings(), [8080]) == 8081
    assert admin_port(Settings(admin_port=-1), [8080]) == -1
    assert admin_port(Settings(admin_port=0), [0]) == 0


def test_where_models_come_and_go_strangers_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = Settings(as_="sagemaker-mme", host="0.0.0.0")
    with pytest.raises(SetsailError, match="change what is served") as caught:
        doors(everywhere)
    assert (caught.value.code, caught.value.field) == ("setting.value", "--host")
    (tmp_path / "keys").write_text("k\n")
    assert doors(Settings(as_="sagemaker-mme", host="0.0.0.0", api_key_file=str(tmp_path / "keys")))[0].control
    assert doors(Settings(as_="sagemaker-mme"))[0].control
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    assert doors(everywhere)[0].control
    assert not doors(Settings(as_="sagemaker"))[0].control


def test_how_the_ready_line_lists_them() -> None:
    settings = Settings(as_="tfserving", host="0.0.0.0")
    assert about(doors(settings), [1, 2], settings) == [
        {"flavour": "tfserving", "role": "data", "port": 1, "url": "http://127.0.0.1:1"},
        {"flavour": "tfserving", "role": "grpc", "port": 2, "url": "127.0.0.1:2"},
    ]
