"""Who may do what on which door: pages of a browser, keys, TLS; and SageMaker's platform, whose door changes models."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests
from scaled import artifact

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.server.supervisor import Supervisor

spawning = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="one process where none can be spawned so")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    artifact(folder / "twice.setsail", 2.0, name="twice").close()
    return folder


def settings(store: Path, **more: Any) -> Settings:
    return Settings.read({"port": 0, "admin_port": -1, "model_store": str(store)} | more)


def urls(server: Any) -> dict[str, str]:
    """Addresses of the doors by their roles."""
    return {door["role"]: door["url"] for door in server.describe()["doors"]}


def test_a_page_on_another_site_registers_nothing(store: Path) -> None:
    with Server(settings(store, as_="torchserve", cors_origins="https://ours.example")) as server:
        at = urls(server.start())
        for origin in ("https://evil.example", "https://ours.example", "null"):
            reply = requests.post(at["management"] + "/models?url=twice.setsail", headers={"origin": origin}, timeout=9)
            assert (reply.status_code, reply.headers["x-setsail-error"]) == (
                405,
                "control.refused",
            )  # as where it is off
            assert "access-control-allow-origin" not in reply.headers
        assert requests.get(at["management"] + "/models", timeout=9).json()["models"] == []


def test_a_key_opens_every_door_but_those_for_health(store: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("open sesame\n")
    key = {"authorization": "Bearer open sesame"}
    with Server(settings(store, as_="torchserve", api_key_file=str(tmp_path / "keys"))) as server:
        at = urls(server.start())
        assert requests.get(at["data"] + "/ping", timeout=9).status_code == 200
        for place in (at["data"] + "/predictions/twice", at["management"] + "/models", at["metrics"] + "/metrics"):
            assert requests.get(place, timeout=9).headers["x-setsail-error"] == "request.key"
            assert requests.get(place, headers=key, timeout=9).headers.get("x-setsail-error") != "request.key"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_doors_for_clients_have_tls_and_those_of_this_machine_have_not(store: Path, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    with Server(settings(store, as_="torchserve", tls_cert=str(cert), tls_key=str(key))) as server:
        at = urls(server.start())
        assert {role: url.partition("://")[0] for role, url in at.items() if "grpc" not in role} == {
            "data": "https", "management": "http", "metrics": "https",
        }  # fmt: skip
        for place in (at["data"] + "/ping", at["metrics"] + "/metrics", at["management"] + "/models"):
            assert requests.get(place, verify=str(cert), timeout=9).status_code == 200
        host, _, port = at["grpc"].partition(":")
        assert "CERTIFICATE" in ssl.get_server_certificate((host, int(port)))


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=spawning)])
def test_models_come_and_go_on_sagemakers_door_in_every_worker(store: Path, count: int) -> None:
    asked = settings(store, as_="sagemaker-mme")
    with Server(asked) if count == 1 else Supervisor(asked, count) as server:
        at = urls(server.start())["data"]
        load = {"model_name": "abc", "url": str(store / "twice.setsail")}
        assert requests.post(at + "/models", json=load, timeout=60).status_code == 200
        assert requests.post(at + "/models", json=load, timeout=60).status_code == 409
        for _ in range(8):  # a connection each: any worker
            reply = requests.post(at + "/models/abc/invoke", json=[[1, 2]], timeout=9)
            assert reply.status_code == 200, reply.text
        assert requests.delete(at + "/models/abc", timeout=60).status_code == 200
        assert requests.post(at + "/models/abc/invoke", json=[[1, 2]], timeout=9).status_code == 404
