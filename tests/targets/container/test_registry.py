"""The client of a registry: names, tokens, and that a secret goes nowhere else."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from image_registry import ImageRegistry

from setsail.errors import SetsailError
from setsail.targets.container.registry import Reference, Registry

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "name", "tag"),
    [
        ("python", "docker.io", "library/python", "latest"),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim"),
        ("team/credit:7", "docker.io", "team/credit", "7"),
        ("localhost:5000/credit", "localhost:5000", "credit", "latest"),
        ("ghcr.io/a/b_c/d-e:v1.0", "ghcr.io", "a/b_c/d-e", "v1.0"),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, host: str, name: str, tag: str) -> None:
    assert Reference.parse(text) == Reference(host, name, tag)


def test_a_digest_beats_a_tag() -> None:
    assert Reference.parse(f"ghcr.io/a/b:1@{DIGEST}").wanted == DIGEST


@pytest.mark.parametrize("text", ["", "Upper/Case:1", "a b", "x:", "http://host/x", "a//b", "x@sha256:12"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(SetsailError) as fault:
        Reference.parse(text)
    assert fault.value.code == "setting.value"


@pytest.fixture
def logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    return tmp_path / "config.json"


def test_a_token_is_taken_with_what_logging_in_left(logged_in: Path) -> None:
    with ImageRegistry(secret="me:s3cret") as server:
        logged_in.write_text(json.dumps({"auths": {server.host: {"auth": base64.b64encode(b"me:s3cret").decode()}}}))
        registry = Registry(Reference.parse(f"{server.host}/x:1"))
        body = b"layer"
        digest = "sha256:8a8d9b2e" + "0" * 56
        with pytest.raises(SetsailError) as fault:  # the registry looks at what it was sent
            registry.push_blob(digest, len(body), body)
        assert "400" in fault.value.what
        assert registry.push_manifest(b"{}", "1") in server.manifests
        assert registry.manifest("1")[1] == {}


@pytest.mark.parametrize("auths", [{}, {"another.example": {"auth": "bWU6czNjcmV0"}}])
def test_without_a_secret_of_its_own_a_registry_refuses(logged_in: Path, auths: object) -> None:
    logged_in.write_text(json.dumps({"auths": auths}))
    with ImageRegistry(secret="me:s3cret") as server, pytest.raises(SetsailError) as fault:
        Registry(Reference.parse(f"{server.host}/x:1")).manifest("1")
    assert (fault.value.code, "docker login" in fault.value.todo) == ("ship.fetch", True)


def test_a_manifest_with_other_bytes_than_its_digest_is_refused(logged_in: Path) -> None:
    with ImageRegistry() as server:
        server.manifests[DIGEST] = ("application/vnd.oci.image.manifest.v1+json", b"{}")
        registry = Registry(Reference.parse(f"{server.host}/x:1"))
        with pytest.raises(SetsailError) as fault:
            registry.manifest(DIGEST)
    assert "digest" in fault.value.what


def test_a_registry_that_is_not_there_is_told(logged_in: Path) -> None:
    with pytest.raises(SetsailError) as fault:
        Registry(Reference.parse("127.0.0.1:1/x:1")).manifest("1")
    assert fault.value.code == "ship.fetch"
    assert "does not answer" in fault.value.what


def test_a_helper_program_is_asked(logged_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-safe"
    helper.write_text('#!/bin/sh\nread host\necho "{\\"Username\\": \\"me\\", \\"Secret\\": \\"s3cret\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    logged_in.write_text(json.dumps({"credsStore": "safe"}))
    with ImageRegistry(secret="me:s3cret") as server:
        assert Registry(Reference.parse(f"{server.host}/x:1")).push_manifest(b"{}", "1") in server.manifests
