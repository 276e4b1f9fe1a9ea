"""The real thing: an image on a Debian base, run in its own root and by podman, and pushed to a registry.

Everything here needs root, `debootstrap` and the network, and takes minutes the first time.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from client_envs import ask_client, client_python
from debian_base import debian_base
from sagemaker_platform import free_port
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

import setsail
from setsail import artifact, targets
from setsail.parity import compare
from setsail.targets.container import planning
from setsail.targets.container.room import Room
from setsail.targets.container.trial import ask

pytestmark = pytest.mark.slow

X, Y = load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Path]:
    folder, made = tmp_path_factory.mktemp("models"), {}
    for version in (1, 2):
        made[version] = folder / f"tumour-{version}.setsail"
        model = RandomForestClassifier(10, random_state=version).fit(X, Y)
        setsail.pack(model, X, name="tumour", version=version, output=made[version]).close()
    return made


@pytest.fixture(scope="module")
def shipped(models: Mapping[int, Path], tmp_path_factory: pytest.TempPathFactory) -> targets.Shipment:
    return ship(models[1], tmp_path_factory.mktemp("shipped") / "one")


def ship(path: Path, folder: Path, **options: Any) -> targets.Shipment:
    with artifact.read(path) as opened:
        return targets.ship(opened, "container", folder, {"base": str(debian_base("python3.11")), **options})


@pytest.fixture(scope="module")
def room(models: Mapping[int, Path]) -> Iterator[Room]:
    with artifact.read(models[1]) as opened:
        plan = planning.plan(opened, targets.options_of("container", {"base": str(debian_base("python3.11"))}))
        with Room(plan._image()) as made:
            yield made


def post(url: str, path: str, body: bytes, kind: str = "text/csv", seconds: float = 30.0) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=seconds)) as connection:
        connection.request("POST", path, body, {"Content-Type": kind, "Accept": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()


def test_it_is_small_and_answers_as_its_source_does(shipped: targets.Shipment) -> None:
    assert shipped.proof.how == "served from its own root, read-only, and ended by SIGTERM"
    (check,) = shipped.proof.checks
    assert check.passed
    assert check.rows > 0
    assert shipped.to_json()["image"]["unpacked"] <= 250e6


@pytest.mark.parametrize(("library", "also"), [("lightgbm", "libgomp"), ("xgboost", "xgboost-cpu")])
def test_boosters_that_run_themselves_are_small_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, also: str
) -> None:
    """Where no ONNX program agrees: of scipy only what they import, and LightGBM's OpenMP, which this base lacks."""
    module = pytest.importorskip(library)
    packing = import_module("setsail.packing.pack")
    whole = packing._choose
    last = lambda conversion, options: whole(replace(conversion, programs=conversion.programs[-1:]), options)  # noqa: E731
    monkeypatch.setattr(packing, "_choose", last)
    model = {"lightgbm": lambda: module.LGBMClassifier(n_estimators=5, num_leaves=7, n_jobs=1, verbosity=-1),
             "xgboost": lambda: module.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1)}[library]()  # fmt: skip
    setsail.pack(model.fit(X, Y), X, name="tumour", output=tmp_path / "m.setsail").close()
    done = ship(tmp_path / "m.setsail", tmp_path / "out")
    image = done.to_json()["image"]
    assert done.proof.checks[0].passed, done.proof.how
    assert also in image["layers"][2]["what"]
    assert image["unpacked"] <= 250e6
    assert done.warnings == ()


def test_shipping_again_is_the_same_and_a_new_version_one_layer(
    shipped: targets.Shipment, models: Mapping[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = ship(models[1], tmp_path / "again")
    assert again.to_json()["image"]["digest"] == shipped.to_json()["image"]["digest"]
    assert (tmp_path / "again/image.tar").read_bytes() == (shipped.folder / "image.tar").read_bytes()
    newer = ship(models[2], tmp_path / "newer")
    old, new = (s.to_json()["image"]["layers"] for s in (shipped, newer))
    assert old[:-1] == new[:-1]
    assert old[-1]["digest"] != new[-1]["digest"]
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))  # all layers are made anew
    anew = ship(models[1], tmp_path / "anew")
    assert [la["digest"] for la in anew.to_json()["image"]["layers"]] == [la["digest"] for la in old]


def test_root_cannot_be_written_and_nobody_is_root(room: Room) -> None:
    script = (
        "import os\n"
        "def writes(p):\n"
        "    try: open(p, 'w').close(); return True\n"
        "    except OSError as e: return e.strerror\n"
        "print(os.getuid(), os.getgid(), writes('/opt/setsail/x'), writes('/x'), writes('/tmp/x'))"
    )
    process = room.start(["-c", script], entrypoint=["/opt/setsail/bin/python"])
    assert process.stdout is not None
    said = process.stdout.read().split(" ", 2)
    room.stop()
    assert said[:2] == ["10001", "10001"]
    assert said[2].strip() == "Read-only file system Read-only file system True", said


def test_it_is_healthy_when_it_is(room: Room) -> None:
    port = free_port()
    healthy = {"entrypoint": ["/opt/setsail/bin/python"], "words": ["-IS", "/opt/setsail/healthy.py"]}
    before = room.start(variables={"SETSAIL_PORT": str(port)}, **healthy)
    assert before.wait(30) == 1
    room.serve(variables={"SETSAIL_PORT": str(port)})
    after = room.start(variables={"SETSAIL_PORT": str(port)}, **healthy)
    assert after.wait(30) == 0
    room.stop()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_loses_nothing(room: Room, workers: str) -> None:
    """Whoever was taken is answered; the others find the door closed.

    The image's user may attach no filter to the sockets on every kernel: then each worker takes who stands at its door
    as it closes it (`listeners.Doorway`).
    """
    url = room.serve(variables={"SETSAIL_WORKERS": workers})["url"]
    row = ",".join(map(str, X[0])).encode()
    answered: list[int] = []
    lost: list[str] = []
    ended = threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
                try:
                    connection.connect()
                except OSError:
                    return  # nobody took it
                try:
                    connection.request("POST", "/invocations", row, {"Content-Type": "text/csv"})
                    answered.append(connection.getresponse().status)
                except (OSError, http.client.HTTPException) as fault:
                    lost.append(repr(fault))

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answered) < 40:
        time.sleep(0.01)
    codes = room.stop()
    ended.set()
    for thread in threads:
        thread.join()
    assert (codes, lost, set(answered) - {200, 503}) == ([0], [], set())


def test_the_same_image_is_a_sagemaker_container(room: Room, models: Mapping[int, Path]) -> None:
    """The platform's argument is `serve` alone; the model lies in /opt/ml/model."""
    port = free_port()
    process = room.start(["serve"], {"SAGEMAKER_BIND_TO_PORT": str(port), "SETSAIL_HOST": "127.0.0.1"})
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, room.log()
        with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                break
        time.sleep(0.1)
    rows = "\n".join(",".join(map(repr, map(float, row))) for row in X[:20]).encode()
    status, body = post(url, "/invocations", rows)
    expected = RandomForestClassifier(10, random_state=1).fit(X, Y).predict(X[:20])
    assert status == 200, body
    assert json.loads(body) == expected.tolist()
    assert post(url, "/v2/models/tumour/infer", b"{}")[0] == 404  # only the contract's paths
    assert room.stop() == [0]


# -- other tools ------------------------------------------------------------------------------------------------------


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"apt-get install {name}")
    return found


def run(*words: str, seconds: int = 300) -> str:
    ended = subprocess.run(words, capture_output=True, text=True, timeout=seconds)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def test_skopeo_reads_both_forms(shipped: targets.Shipment) -> None:
    skopeo = tool("skopeo")
    told = json.loads(run(skopeo, "inspect", f"oci-archive:{shipped.folder}/image.tar"))
    assert told["Digest"] == shipped.to_json()["image"]["digest"]
    assert told["Labels"]["org.opencontainers.image.title"] == "tumour"
    assert len(json.loads(run(skopeo, "inspect", f"docker-archive:{shipped.folder}/image.tar"))["Layers"]) == 4


def test_a_registry_takes_it_and_gives_it_back(models: Mapping[int, Path], tmp_path: Path) -> None:
    """Debian's docker-registry, which is the reference implementation."""
    registry, port = tool("docker-registry"), free_port()
    config = tmp_path / "config.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path / 'store'}}}}}\n"
                      f"http: {{addr: '127.0.0.1:{port}'}}\n")  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([registry, "serve", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
                connection.request("GET", "/v2/")
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.1)
        name = f"127.0.0.1:{port}/team/tumour"
        first = ship(models[1], tmp_path / "one", push=f"{name}:1")
        second = ship(models[2], tmp_path / "two", push=f"{name}:2")
        digest = first.to_json()["image"]["digest"]
        told = json.loads(run(tool("skopeo"), "inspect", "--tls-verify=false", f"docker://{name}:1"))
        assert told["Digest"] == digest
        assert "0 KB there already" in first.proof.how
        assert "MB there already" in second.proof.how
        onto = ship(models[2], tmp_path / "onto", base=f"{name}:1")
        assert onto.proof.checks[0].passed
    finally:
        process.terminate()
        process.wait()


def test_podman_runs_it(shipped: targets.Shipment, models: Mapping[int, Path], tmp_path: Path) -> None:
    """With an engine's own read-only root, user and first process; `runc`, because `crun` refuses these cgroups."""
    podman, runc = tool("podman"), tool("runc")
    short = tempfile.mkdtemp(dir="/tmp")  # podman takes no place of more than 50 characters
    base = [podman, "--root", str(tmp_path / "s"), "--runroot", short, "--storage-driver", "vfs",
            "--cgroup-manager=cgroupfs", "--runtime", runc]  # fmt: skip
    loaded = run(*base, "load", "-i", str(shipped.folder / "image.tar")).strip().split()[-1]
    port = free_port()
    limits = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1024:1024"]
    started = subprocess.run(
        [*base, "run", "--detach", "--read-only", "--network", "host", *limits, "--env", f"SETSAIL_PORT={port}",
         "--env", "SETSAIL_ADMIN_PORT=-1", loaded],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if started.returncode:
        pytest.skip(f"podman: {started.stderr.strip().splitlines()[-1]}")
    name = started.stdout.strip()
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
                connection.request("GET", "/v2/health/ready")
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.2)
        with artifact.read(models[1]) as opened:
            sample = opened.samples("synthetic")
            assert sample is not None
            answers = ask(url, "tumour", opened.signature, sample[0])
            assert compare(opened.signature, sample[1], answers, what="synthetic").passed
        began = time.monotonic()
        run(*base, "stop", "--time", "30", name)
        assert time.monotonic() - began < 30
        assert run(*base, "inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
    finally:
        subprocess.run([*base, "rm", "--force", name], capture_output=True, timeout=120)
        shutil.rmtree(short, ignore_errors=True)


def test_buildah_builds_the_dockerfile(shipped: targets.Shipment, tmp_path: Path) -> None:
    """With Debian's Python and pip as the base; what comes out serves and is compared."""
    buildah = tool("buildah")
    root = debian_base("python3", "python3-pip")
    base = [buildah, "--root", str(tmp_path / "s"), "--runroot", str(tmp_path / "r"), "--storage-driver", "vfs"]
    folder = tmp_path / "base"
    folder.mkdir()
    shutil.copy(root, folder / "root.tar")
    (folder / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n")
    run(*base, "bud", "-t", "localhost/base:1", str(folder), seconds=580)
    run(*base, "bud", "--isolation", "chroot", "--network", "host", "--build-arg", "BASE=localhost/base:1", "-t",
        "localhost/built:1", str(shipped.folder), seconds=580)  # fmt: skip
    run(*base, "push", "localhost/built:1", f"oci-archive:{tmp_path}/built.tar")
    told = json.loads(run(tool("skopeo"), "inspect", "--config", f"oci-archive:{tmp_path}/built.tar"))["config"]
    assert (told["User"], told["Entrypoint"], told["Cmd"]) == (
        "10001:10001", ["/opt/setsail/bin/setsail"], ["serve", "/opt/ml/model"]
    )  # fmt: skip
    work = run(*base, "from", "localhost/built:1").strip()
    answer = run(*base, "run", "--isolation", "chroot", "--user", "10001:10001", work, "--", "/opt/setsail/bin/setsail",
                 "verify", "/opt/ml/model/tumour-1.setsail", "--json")  # fmt: skip
    assert json.loads(answer)["passed"] is True


def test_the_bill_of_materials_is_cyclonedx(shipped: targets.Shipment) -> None:
    python = client_python("cyclonedx", "cyclonedx-python-lib[json-validation]==11.12.0")
    script = (
        "import json, sys\n"
        "from cyclonedx.schema import SchemaVersion\n"
        "from cyclonedx.validation.json import JsonStrictValidator\n"
        "fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\n"
        "print(json.dumps(str(fault) if fault else None))"
    )
    bill = shipped.folder / "sbom.cdx.json"
    assert ask_client(python, script, str(bill)).json() is None
    found = json.loads(bill.read_text())["components"]
    python_packages = [c for c in found if c.get("purl", "").startswith("pkg:pypi/")]
    assert {"numpy", "onnxruntime", "setsail"} <= {c["name"] for c in python_packages}
    assert all(c["licenses"] for c in python_packages)
    assert sum(c.get("purl", "").startswith("pkg:deb/debian/") for c in found) > 50
    assert [c["name"] for c in found if c["type"] == "machine-learning-model"] == ["tumour"]
    assert os.environ.get("HOSTNAME", "no host") not in bill.read_text()
