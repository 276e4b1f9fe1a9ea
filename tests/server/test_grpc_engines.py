"""The fallback engine's port, its start and its end. What it answers: `tests/contracts/test_grpc.py`."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest
from fakehouse import gallery

from setsail.errors import SetsailError
from setsail.monitor.meter import Meter
from setsail.server.dispatch import Desk
from setsail.server.grpc_engines import ENGINES, grpc_engine
from setsail.server.run import Server
from setsail.server.settings import Settings

grpc = pytest.importorskip("grpc")


def settings(**changes: Any) -> Settings:
    return Settings(**{"port": 0, "admin_port": -1, "grpc_engine": "grpcio", "grpc_port": 0} | changes)


def test_our_engine_is_no_other() -> None:
    assert grpc_engine("own") is None
    assert grpc_engine("grpcio").__name__ == "GrpcioEngine"


def test_every_engine_of_the_settings_is_there() -> None:
    with pytest.raises(SetsailError) as caught:
        Settings(grpc_engine="other")
    assert caught.value.code == "setting.value"
    assert all(Settings(grpc_engine=name) for name in ENGINES)


def test_without_grpcio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "setsail.server.grpcio_engine", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(SetsailError) as caught:
        Server(settings()).start()
    assert caught.value.code == "dependency.missing"
    assert 'pip install "setsail[grpcio]"' in str(caught.value)


def test_a_taken_port_ends_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SetsailError) as caught:
        Server(settings(grpc_port=taken.getsockname()[1])).start()
    assert caught.value.code == "port.in_use"
    assert "--grpc-port" in str(caught.value)


def desk() -> Desk:
    return Desk(gallery(), meter=Meter(), max_body=1 << 20)


def test_processes_share_a_port_that_is_named() -> None:
    engine = grpc_engine("grpcio")
    with pytest.raises(SetsailError) as caught:
        engine(desk(), settings(), shared=True)
    assert caught.value.code == "setting.value"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def both() -> list[str]:
        engines = [engine(desk(), settings(grpc_port=port), shared=True) for _ in range(2)]
        for one in engines:
            await one.start()
        targets = [one.target for one in engines]
        assert [await one.drain(5) for one in engines] == [True, True]
        return targets

    assert asyncio.run(both()) == [f"127.0.0.1:{port}"] * 2
