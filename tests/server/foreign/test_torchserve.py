"""config.properties: what becomes of every key, and a server started with one."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import requests
from archived import archive
from scaled import artifact
from shell import process

from setsail.catalog import Register, SetDefault, Terms
from setsail.errors import SetsailError
from setsail.server.foreign.configuration import Foreign
from setsail.server.foreign.torchserve import KEYS, read
from setsail.server.settings import rows


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "model_store"
    for name in ("noop", "dense"):
        artifact(folder / f"{name}.setsail", 3.0, name=name).close()
    (folder / "dense.mar").write_bytes(b"PK")
    archive(folder / "lonely.mar")
    archive(folder / "text.mar", "text_classifier", {})
    return folder


def config(tmp_path: Path, text: str) -> Foreign:
    path = tmp_path / "config.properties"
    path.write_text(text)
    return read(path)


def refused(tmp_path: Path, text: str) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        config(tmp_path, text)
    assert caught.value.code == "setting.value"
    return caught.value


def test_a_file_of_the_documentation(tmp_path: Path, store: Path) -> None:
    found = config(tmp_path, f"""
        inference_address=http://0.0.0.0:9080
        management_address=http://127.0.0.1:9081
        metrics_address=http://0.0.0.0:8082
        grpc_inference_port=7070
        grpc_management_port=9999
        model_store={store}
        load_models=noop=noop.setsail, dense.mar
        max_request_size=655350000
        cors_allowed_origin=https://yourdomain.com
        number_of_netty_threads=32
        job_queue_size=1000
        disable_token_authorization=true
        enable_model_api=true
    """)  # fmt: skip
    assert found.settings == {
        "ports": "8080=9080,8081=9081,7071=9999", "host": "0.0.0.0", "admin_host": "127.0.0.1",
        "model_store": str(store), "max_body": 655350000, "cors_origins": "https://yourdomain.com",
    }  # fmt: skip
    assert found.asks == (
        Register("noop.setsail", "noop", settled=True),
        Register("dense.setsail", "", settled=True),
    )
    assert [note.partition(":")[0] for note in found.notes] == ["job_queue_size", "load_models"]
    assert "dense.setsail is loaded in place of dense.mar" in found.notes[1]


def test_all_models_of_the_store_and_what_becomes_of_archives(tmp_path: Path, store: Path) -> None:
    found = config(tmp_path, f"model_store={store}\nload_models=all\ndisable_token_authorization=true")
    urls = [ask.url for ask in found.asks if isinstance(ask, Register)]
    assert urls == ["dense.setsail", "lonely.mar", "noop.setsail"]
    lonely, text = found.notes
    assert "lonely.mar: its own code, in a process of its own; needs --trust mar" in lonely
    assert "text.mar: refused: [convert.unsupported]" in text
    assert config(tmp_path, f"model_store={store}\nload_models=none").asks == ()
    refused(tmp_path, "model_store=/nowhere/at/all\nload_models=all")


def test_what_models_says_of_a_version_is_asked_for(tmp_path: Path, store: Path) -> None:
    found = config(tmp_path, f"""
        model_store={store}
        load_models=noop.setsail
        default_response_timeout=60
        models={{\\
          "noop": {{\\
            "1.0": {{"defaultVersion": true, "marName": "noop.mar", "minWorkers": 2, "maxWorkers": 4,\\
                     "batchSize": 8, "maxBatchDelay": 50, "startupTimeout": 9}}\\
          }}\\
        }}
    """)  # fmt: skip
    assert found.asks == (Register("noop.setsail", "", None, Terms(2, 4, 8, 50, 60, 9), settled=True),)


def test_a_snapshot_has_versions_and_their_default(tmp_path: Path, store: Path) -> None:
    row = {"marName": "noop.mar", "minWorkers": 1, "maxWorkers": 1}
    versions = {"1.0": row, "2.0": row | {"defaultVersion": True}}
    snapshot = json.dumps({"name": "s.cfg", "modelCount": 1, "models": {"noop": versions}})
    found = config(tmp_path, f"model_store={store}\nmodel_snapshot={snapshot}")
    assert found.asks == (
        Register("noop.setsail", "noop", 1, Terms(), settled=True),
        Register("noop.setsail", "noop", 2, Terms(), settled=True),
        SetDefault("noop", 2),
    )
    refused(tmp_path, 'model_snapshot={"models": {"m": {"1.5": {}}}}')


def test_tokens_are_asked_for_when_the_file_says_so(tmp_path: Path) -> None:
    found = config(tmp_path, "disable_token_authorization=false\ntoken_expiration_min=30")
    assert found.settings == {"token_file": "key_file.json", "token_minutes": 30}
    (note,) = config(tmp_path, "").notes
    assert note.startswith("tokens are not asked for")


def test_an_encrypted_port_is_not_opened_plain(tmp_path: Path) -> None:
    files = "certificate_file=mycert.pem\nprivate_key_file=mykey.key\n"
    found = config(tmp_path, files + "inference_address=https://127.0.0.1\nmanagement_address=https://127.0.0.1:8444")
    assert (found.settings["tls_cert"], found.settings["tls_key"]) == ("mycert.pem", "mykey.key")
    assert found.settings["ports"] == "8080=443,8081=8444"
    assert any("only the inference port is encrypted" in note for note in found.notes)
    fault = refused(tmp_path, "inference_address=https://127.0.0.1:8443\nkeystore=keystore.p12")
    assert fault.field == "inference_address"


def test_variables_of_the_environment_are_asked_where_the_file_says_so(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TS_MAX_REQUEST_SIZE", "77")
    monkeypatch.setenv("STORE", str(store))
    assert "max_body" not in config(tmp_path, "max_response_size=1").settings
    found = config(tmp_path, "enable_envvars_config=true\nmax_request_size=1\nmodel_store=$$STORE$$")
    assert found.settings == {"max_body": 77, "model_store": str(store)}
    refused(tmp_path, "model_store=$$NOT_SET_ANYWHERE$$")


def test_nothing_is_dropped_in_silence(tmp_path: Path) -> None:
    found = config(tmp_path, "modelstore=/x\nnumber_of_gpu=1\ninstall_py_dep_per_model=true\nservice_envelope=kserve")
    assert [note.partition(":")[0] for note in found.notes[:4]] == [
        "modelstore", "number_of_gpu", "install_py_dep_per_model", "service_envelope",
    ]  # fmt: skip
    assert "no such key" in found.notes[0]


@pytest.mark.parametrize(
    "line",
    [
        "inference_address=unix:/tmp/s", "inference_address=http://h:port", "management_address=http://[",
        "grpc_inference_port=x", "max_request_size=-1", "models={",
        'models={"m": {"1.0": {"minWorkers": "two"}}}', "model_snapshot=[]",
        "default_response_timeout=soon\nload_models=a.setsail",
    ],
)  # fmt: skip
def test_values_that_cannot_be(tmp_path: Path, line: str) -> None:
    fault = refused(tmp_path, line)
    assert fault.field in KEYS


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        read(tmp_path / "none.properties")
    assert caught.value.code == "setting.value"


def test_every_setting_that_is_named_exists(tmp_path: Path) -> None:
    text = "".join(f"{key}=1\n" for key, row in KEYS.items() if not isinstance(row, str) and "address" not in key)
    assert set(config(tmp_path, text).settings) <= {row.name for row in rows()}


def test_a_server_starts_as_its_file_says(tmp_path: Path, store: Path) -> None:
    inference, management, metrics, grpc, grpc_management = _free(5)
    (tmp_path / "config.properties").write_text(f"""
        inference_address=http://127.0.0.1:{inference}
        management_address=http://127.0.0.1:{management}
        metrics_address=http://127.0.0.1:{metrics}
        grpc_inference_port={grpc}
        grpc_management_port={grpc_management}
        model_store={store}
        load_models=dense.mar
        default_workers_per_model=2
    """)
    flags = ("--workers", 1, "--admin-port", 0, "--json")
    with process("serve", "--config", tmp_path / "config.properties", *flags) as server:
        assert server.stdout is not None
        ready: dict[str, Any] = json.loads(server.stdout.readline())
        assert [door["port"] for door in ready["doors"]] == [inference, management, metrics, grpc, grpc_management]
        rows = requests.post(f"http://127.0.0.1:{inference}/predictions/dense", json=[[1, 2]], timeout=20).json()
        assert rows == [[3.0, 6.0]]
        (told,) = requests.get(f"http://127.0.0.1:{management}/models/dense", timeout=20).json()
        assert (told["modelUrl"], told["loadedAtStartup"]) == ("dense.setsail", True)
        reply = requests.post(f"http://127.0.0.1:{management}/models?url=noop.setsail&initial_workers=1", timeout=20)
        server.terminate()
        _, notes = server.communicate(timeout=30)
        assert reply.ok
        assert "default_workers_per_model: processes serve all models" in notes


def _free(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
