"""Shipping to a container with a base of a few kilobytes: what is written, and that it is the same every time."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from image_registry import ImageRegistry

from setsail import artifact, targets
from setsail.errors import SetsailError
from setsail.targets.container import planning

Ship = Callable[..., targets.Shipment]


def archive(folder: Path) -> dict[str, bytes]:
    """The members of the image's archive, each blob held against its name."""
    with tarfile.open(folder / "image.tar") as tar:
        found = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    for name, data in found.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    return found


def told(files: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest and the configuration."""
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
    return manifest, json.loads(files[f"blobs/sha256/{manifest['config']['digest'][7:]}"])


def members(layer: bytes, folder: Path) -> dict[str, tarfile.TarInfo]:
    (folder / "layer").write_bytes(layer)
    with tarfile.open(folder / "layer") as tar:
        return {info.name: info for info in tar}


def test_the_archive_is_an_oci_layout_that_docker_loads_too(ship: Ship, tmp_path: Path) -> None:
    ship(tmp_path / "out")
    files = archive(tmp_path / "out")
    manifest, config = told(files)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (saved,) = json.loads(files["manifest.json"])
    assert saved["RepoTags"] == ["line:1"]
    assert saved["Layers"] == [f"blobs/sha256/{la['digest'][7:]}" for la in manifest["layers"]]
    assert len(config["rootfs"]["diff_ids"]) == len(config["history"]) == len(manifest["layers"]) == 4
    assert "created" not in config


def test_the_configuration_is_that_of_a_guarded_server(ship: Ship, tmp_path: Path) -> None:
    ship(tmp_path / "out")
    _, config = told(archive(tmp_path / "out"))
    inner = config["config"]
    assert inner["User"] == "10001:10001"
    assert inner["Entrypoint"] == ["/opt/setsail/bin/setsail"]
    assert inner["Cmd"] == ["serve", "/opt/ml/model"]
    assert inner["StopSignal"] == "SIGTERM"
    assert inner["Healthcheck"]["Test"] == ["CMD", "/opt/setsail/bin/python", "-IS", "/opt/setsail/healthy.py"]
    assert inner["ExposedPorts"] == {"8080/tcp": {}}
    assert "SETSAIL_HOST=0.0.0.0" in inner["Env"]
    assert not any(line.startswith("SETSAIL_PORT") for line in inner["Env"])  # it would beat SageMaker's
    assert inner["Labels"]["org.opencontainers.image.title"] == "Line"
    assert inner["Labels"]["org.opencontainers.image.version"] == "1"
    assert inner["Labels"]["setsail.artifact"].startswith("sha256:")
    assert (config["architecture"], config["os"]) == ("amd64", "linux")


def test_the_same_shipment_twice_is_the_same_bytes(ship: Ship, tmp_path: Path) -> None:
    ship(tmp_path / "one")
    ship(tmp_path / "two")
    found = [{p.relative_to(tmp_path / n).as_posix(): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
             for n in ("one", "two")]  # fmt: skip
    assert found[0] == found[1]


def test_layers_made_anew_are_the_same_too(ship: Ship, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(tmp_path / "one")
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "another"))
    ship(tmp_path / "two")
    assert (tmp_path / "one/image.tar").read_bytes() == (tmp_path / "two/image.tar").read_bytes()


def test_a_kept_layer_that_was_changed_is_made_again(ship: Ship, tmp_path: Path) -> None:
    ship(tmp_path / "one")
    for kept in (tmp_path / "cache/layers").glob("*.tar.gz"):
        kept.write_bytes(kept.read_bytes() + b"!")
    ship(tmp_path / "two")
    assert (tmp_path / "one/image.tar").read_bytes() == (tmp_path / "two/image.tar").read_bytes()


def test_a_new_version_changes_the_last_layer_only(ship: Ship, tmp_path: Path) -> None:
    ship(tmp_path / "one")
    ship(tmp_path / "two", version=2)
    one, two = (told(archive(tmp_path / n))[0]["layers"] for n in ("one", "two"))
    assert one[:-1] == two[:-1]
    assert one[-1] != two[-1]


def test_the_models_layer_holds_the_artifact_alone(ship: Ship, tmp_path: Path, packed: Mapping[int, Path]) -> None:
    ship(tmp_path / "out")
    files = archive(tmp_path / "out")
    last = files[f"blobs/sha256/{told(files)[0]['layers'][-1]['digest'][7:]}"]
    found = members(last, tmp_path)
    assert list(found) == ["opt", "opt/ml", "opt/ml/model", "opt/ml/model/Line-1.setsail"]
    assert {(i.uid, i.gid, i.mtime) for i in found.values()} == {(0, 0, 0)}
    assert found["opt/ml/model/Line-1.setsail"].mode == 0o644
    with tarfile.open(tmp_path / "layer") as tar:
        stream = tar.extractfile("opt/ml/model/Line-1.setsail")
        assert stream is not None
        assert stream.read() == packed[1].read_bytes()


def test_the_runtime_is_a_virtual_environment_without_tools(ship: Ship, tmp_path: Path) -> None:
    ship(tmp_path / "out")
    files = archive(tmp_path / "out")
    names: dict[str, tarfile.TarInfo] = {}
    for layer in told(files)[0]["layers"][1:3]:
        names |= members(files[f"blobs/sha256/{layer['digest'][7:]}"], tmp_path)
    assert names["opt/setsail/bin/python"].linkname == "/usr/bin/python3.11"
    assert names["opt/setsail/bin/setsail"].mode == 0o755
    assert sorted(n for n in names if n.startswith("opt/setsail/bin/")) == [
        "opt/setsail/bin/python", "opt/setsail/bin/python3", "opt/setsail/bin/setsail",
    ]  # fmt: skip
    assert "opt/setsail/lib/python3.11/site-packages/setsail/server/run.py" in names
    assert "opt/setsail/lib/python3.11/site-packages/onnxruntime/__init__.py" in names
    assert not any("/pip/" in n or "/rich/" in n or "/onnx/" in n for n in names)


def test_source_date_epoch_is_the_time_of_everything(
    ship: Ship, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    ship(tmp_path / "out")
    files = archive(tmp_path / "out")
    manifest, config = told(files)
    assert config["created"] == "2023-11-14T22:13:20Z"
    last = members(files[f"blobs/sha256/{manifest['layers'][-1]['digest'][7:]}"], tmp_path)
    assert {info.mtime for info in last.values()} == {1_700_000_000}


def test_the_dockerfile_says_the_same_as_the_image(ship: Ship, tmp_path: Path) -> None:
    ship(tmp_path / "out")
    text = (tmp_path / "out/Dockerfile").read_text()
    for line in ("USER 10001:10001", "STOPSIGNAL SIGTERM", 'ENTRYPOINT ["/opt/setsail/bin/setsail"]',
                 'CMD ["serve", "/opt/ml/model"]', "ARG BASE=docker.io/library/python:3.11-slim-bookworm",
                 "COPY model /opt/ml/model"):  # fmt: skip
        assert line in text.splitlines()
    assert '"--require-hashes"' in text
    assert text.index("COPY --from=packages") < text.index("COPY model")
    requirements = (tmp_path / "out/requirements.txt").read_text().splitlines()
    for requirement in requirements:
        pin, _, digest = requirement.partition(" --hash=sha256:")
        name, _, version = pin.partition("==")
        (wheel,) = (tmp_path / "out/wheels").glob(f"{name.replace('-', '_')}-{version}-*.whl")
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() == digest
    assert "*\n!requirements.txt\n" in (tmp_path / "out/.dockerignore").read_text()


def test_what_is_told_of_it(ship: Ship, tmp_path: Path) -> None:
    shipped = ship(tmp_path / "out", image="registry.example/team/line:v7")
    body = shipped.to_json()
    assert body["proof"] == {"how": "not run: its base is none", "compared": False, "passed": True, "checks": []}
    assert body["image"]["name"] == "registry.example/team/line:v7"
    assert [layer["what"].split(" ")[0] for layer in body["image"]["layers"]] == ["the", "packages", "setsail", "the"]
    assert body["image"]["digest"].startswith("sha256:")
    assert shipped.next[0] == f"docker load -i {tmp_path / 'out'}/image.tar"
    assert any("starts slower" in line for line in shipped.warnings)


def test_without_a_base_that_can_be_had_it_is_the_context_alone(
    ship: Ship, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(given: str, architecture: str) -> None:
        raise SetsailError("ship.fetch", "docker.io: it does not answer")

    monkeypatch.setattr(planning, "open_base", nobody)
    shipped = ship(tmp_path / "out", base=None)
    assert not (tmp_path / "out/image.tar").exists()
    assert (tmp_path / "out/Dockerfile").is_file()
    assert "docker.io: it does not answer" in shipped.warnings[0]
    assert shipped.next[0] == f"docker build -t line:1 {tmp_path / 'out'}"
    assert shipped.to_json()["image"] is None
    with pytest.raises(SetsailError) as fault:  # there would be nothing to push
        ship(tmp_path / "pushed", base=None, push="127.0.0.1:1/line:1")
    assert fault.value.code == "ship.fetch"


def test_pushing_sends_what_is_not_there(ship: Ship, tmp_path: Path) -> None:
    with ImageRegistry() as registry:
        shipped = ship(tmp_path / "one", push=f"{registry.host}/team/line:1")
        assert "0 KB there already" in shipped.proof.how
        before = set(registry.blobs)
        again = ship(tmp_path / "two", version=2, push=f"{registry.host}/team/line:2")
        sent = set(registry.blobs) - before
    manifest, _ = told(archive(tmp_path / "two"))
    assert manifest["layers"][-1]["digest"] in sent
    assert not {layer["digest"] for layer in manifest["layers"][:-1]} & sent
    assert f"pushed to {registry.host}/team/line:2" in again.proof.how
    digest = again.to_json()["image"]["digest"]
    assert digest in registry.manifests
    referring = [json.loads(body) for _, body in registry.manifests.values() if b'"subject"' in body]
    assert digest in {found["subject"]["digest"] for found in referring}
    assert {found["artifactType"] for found in referring} == {"application/vnd.cyclonedx+json"}


def test_what_was_pushed_is_a_base(ship: Ship, tmp_path: Path) -> None:
    """A round trip: the image of one model under the next one."""
    with ImageRegistry() as registry:
        ship(tmp_path / "one", push=f"{registry.host}/line:1")
        shipped = ship(tmp_path / "two", base=f"{registry.host}/line:1")
    assert shipped.to_json()["base"] == f"{registry.host}/line:1"
    files = archive(tmp_path / "two")
    assert told(files)[1]["config"]["Labels"]["org.opencontainers.image.base.name"] == f"{registry.host}/line:1"


def test_a_name_that_no_registry_takes_is_refused_before_anything_is_made(
    packed: Mapping[int, Path], tmp_path: Path, fetched: list[list[str]]
) -> None:
    with artifact.read(packed[1]) as opened, pytest.raises(SetsailError) as fault:
        targets.ship(opened, "container", tmp_path / "out", {"image": "No Such:Name"})
    assert (fault.value.code, fetched) == ("setting.value", [])


def test_what_is_kept_between_shipments_has_a_bound(
    ship: Ship, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this shipment uses stays; what none has used for hours goes."""
    ship(tmp_path / "one")
    homes = [tmp_path / "cache" / kind for kind in planning.KEPT]
    for home in homes:
        home.mkdir(exist_ok=True)
        (home / "old").write_bytes(b"x" * 1000)
        os.utime(home / "old", (1, 1))
    ship(tmp_path / "two")
    assert all((home / "old").is_file() for home in homes)
    monkeypatch.setattr(planning, "KEPT_BYTES", 500)
    before = {path for home in homes for path in home.rglob("*") if path.is_file() and path.name != "old"}
    ship(tmp_path / "three")
    assert {path for home in homes for path in home.rglob("*") if path.is_file()} == before
