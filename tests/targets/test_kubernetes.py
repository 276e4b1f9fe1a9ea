"""Manifests and a chart: one table of values, and every endpoint in them is asked of a server that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jsonschema
import kubernetes_tools
import pytest
import workshop
import yaml

import setsail
from setsail import targets
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.server.crew import GRACE
from setsail.server.settings import Settings
from setsail.targets.kubernetes import around, bundle, measured, objects
from setsail.targets.kubernetes.bundle import Bundle
from setsail.targets.kubernetes.values import ROWS

IMAGE = "registry.example/credit:1"
OWN = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}


@pytest.fixture(scope="module")
def credit(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    output = tmp_path_factory.mktemp("credit") / "credit-1.setsail"
    return setsail.pack(workshop.credit(), workshop.X, name="credit", output=output)


def bundle_of(opened: Artifact, *sets: str, **options: Any) -> Bundle:
    return bundle.plan(opened, {"image": IMAGE, "bench": None, "set": sets, **options})


def plain(found: Bundle) -> dict[str, Any]:
    """The objects that `kubectl apply -k plain` makes, by kind."""
    texts = found.texts
    names = yaml.safe_load(texts["plain/kustomization.yaml"])["resources"]
    made = [yaml.safe_load(texts[f"plain/{name}"]) for name in names]
    return {obj["kind"]: obj for obj in made}


def server_of(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


# -- what is written ---------------------------------------------------------------------------------------------------


def test_a_shipment_has_manifests_a_chart_and_kserve(credit: Artifact, tmp_path: Path) -> None:
    shipped = targets.ship(credit, "kubernetes", tmp_path / "out", {"image": IMAGE})
    assert {name.partition("/")[0] for name in shipped.files} == {
        "plain", "chart", "kserve", "prometheus-adapter.yaml", "README.md", targets.MARK,
    }  # fmt: skip
    assert shipped.proof.passed
    assert shipped.proof.checks[0].rows > 0
    assert "nothing was applied" in shipped.proof.how
    assert set(plain(bundle_of(credit))) == OWN


def test_the_same_artifact_gives_the_same_bytes(credit: Artifact) -> None:
    assert bundle_of(credit).texts == bundle_of(credit).texts


def test_what_is_switched_off_is_not_applied(credit: Artifact) -> None:
    less = bundle_of(credit, "autoscaling.enabled=false", "network.enabled=false", "replicas=3", "monitor.enabled=true")
    found = plain(less)
    assert set(found) == OWN - {"HorizontalPodAutoscaler", "NetworkPolicy"} | {"ServiceMonitor"}
    assert found["Deployment"]["spec"]["replicas"] == 3
    assert "replicas" not in plain(bundle_of(credit))["Deployment"]["spec"]  # the autoscaler's


def test_nothing_but_the_data_port_is_in_the_service(credit: Artifact) -> None:
    found = plain(bundle_of(credit))
    assert [p["targetPort"] for p in found["Service"]["spec"]["ports"]] == ["data"]
    open_to_all, watched = found["NetworkPolicy"]["spec"]["ingress"]
    assert (open_to_all["ports"][0]["port"], "from" in open_to_all) == ("data", False)
    assert watched["ports"][0]["port"] == "admin"
    assert watched["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert found["NetworkPolicy"]["spec"]["egress"] == []


def test_the_pod_may_do_little(credit: Artifact) -> None:
    pod = plain(bundle_of(credit))["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    inside = pod["containers"][0]["securityContext"]
    assert inside["readOnlyRootFilesystem"]
    assert not inside["allowPrivilegeEscalation"]
    assert inside["capabilities"] == {"drop": ["ALL"]}


def test_the_grace_period_is_longer_than_the_drain(credit: Artifact) -> None:
    pod = plain(bundle_of(credit, "drain.preStop=7", "drain.delay=3", "drain.timeout=40"))["Deployment"]["spec"]
    pod = pod["template"]["spec"]
    sleeping = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    settings = {item["name"]: item["value"] for item in pod["containers"][0]["env"]}
    drain = float(settings["SETSAIL_DRAIN_DELAY"]) + int(settings["SETSAIL_DRAIN_TIMEOUT"])
    assert (sleeping, drain) == (7, 43)
    assert pod["terminationGracePeriodSeconds"] > sleeping + drain + GRACE
    without = plain(bundle_of(credit, "drain.preStop=0"))["Deployment"]
    assert "lifecycle" not in server_of(without)


def test_under_kserve_the_server_itself_waits_before_it_drains(credit: Artifact) -> None:
    texts = bundle_of(credit, "kserve.storageUri=s3://models/credit").texts
    (server,) = yaml.safe_load(texts["kserve/serving-runtime.yaml"])["spec"]["containers"]
    assert {"name": "SETSAIL_DRAIN_DELAY", "value": "5"} in server["env"]
    assert "lifecycle" not in server  # Knative takes none, and one port only
    assert [p["name"] for p in server["ports"]] == ["http1"]
    assert server["args"] == ["serve", "/mnt/models"]
    model = yaml.safe_load(texts["kserve/inference-service.yaml"])["spec"]["predictor"]["model"]
    assert (model["storageUri"], model["runtime"]) == ("s3://models/credit", "credit")


def test_models_come_from_a_claim_where_one_is_named(credit: Artifact) -> None:
    pod = plain(bundle_of(credit, "models.claim=store"))["Deployment"]["spec"]["template"]["spec"]
    assert {"name": "models", "mountPath": "/opt/ml/model", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": "store", "readOnly": True}


def test_more_variables_come_after_ours(credit: Artifact) -> None:
    found = bundle_of(credit, 'env=[{"name": "SETSAIL_THREADS", "value": "2"}]')
    assert server_of(plain(found)["Deployment"])["env"][-1] == {"name": "SETSAIL_THREADS", "value": "2"}


@pytest.mark.parametrize(
    ("name", "expected"), [("credit", "credit"), ("Credit_Model.v2", "credit-model-v2"), ("7b", "model-7b"),
                           ("...", "model"), ("a" * 80, "a" * 63)],
)  # fmt: skip
def test_objects_have_names_that_kubernetes_takes(name: str, expected: str) -> None:
    assert bundle.dns_name(name) == expected


def test_the_chart_refuses_what_the_command_refuses(credit: Artifact) -> None:
    texts = bundle_of(credit).texts
    values, schema = yaml.safe_load(texts["chart/values.yaml"]), json.loads(texts["chart/values.schema.json"])
    jsonschema.validate(values, schema)
    for wrong in ({"drain": {"preStop": -1}}, {"drains": 1}, {"name": "Not A Name"}, {"replicas": "two"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, **wrong}, schema)


def test_every_value_is_explained_in_the_chart(credit: Artifact) -> None:
    text = bundle_of(credit).texts["chart/values.yaml"]
    for row in ROWS:
        assert f"# {row.help}\n" in text


def test_the_page_has_every_value() -> None:
    page = (Path(__file__).parents[2] / "docs/targets/kubernetes.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert f"| `{row.key}` |" in page, row.key
        assert row.help in page, row.key


def test_a_pod_runs_what_the_container_target_makes(credit: Artifact) -> None:
    image = pytest.importorskip("setsail.targets.container.image")
    found = plain(bundle_of(credit))["Deployment"]
    rules = found["spec"]["template"]["spec"]["securityContext"]
    assert f"{rules['runAsUser']}:{rules['runAsGroup']}" == image.USER
    assert tuple(server_of(found)["args"]) == image.COMMAND
    assert Path(image.ENTRYPOINT[0]).name == server_of(found)["command"][0]  # found on the image's PATH


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "code"),
    [("drain.preStop", "setting.value"), ("drains=1", "setting.unknown"), ("replicas=two", "setting.value"),
     ("replicas=0", "setting.value"), ("name=Not A Name", "setting.value"), ("autoscaling.max=1", "setting.value"),
     ("ports.admin=8080", "setting.value"), ("env={}", "setting.value"),
     ("models.path=/a\n  b: c", "setting.value"), ("resources.limits.cpu=much", "setting.value")],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused(credit: Artifact, sets: str, code: str) -> None:
    with pytest.raises(SetsailError) as refused:
        bundle_of(credit, sets)
    assert refused.value.code == code


@pytest.mark.parametrize("image", ["", "two words", "{{ .Values.name }}"])
def test_an_image_is_needed(credit: Artifact, image: str) -> None:
    with pytest.raises(SetsailError) as refused:
        bundle_of(credit, image=image)
    assert refused.value.code == "setting.value"


@pytest.mark.parametrize(
    ("image", "warned"),
    [("a/b", True), ("a:5000/b", True), ("b:latest", True), ("a:5000/b:1", False), ("a/b@sha256:00", False)],
)
def test_an_image_that_may_change_is_warned_of(credit: Artifact, image: str, warned: bool) -> None:
    assert any("fixed tag" in w for w in bundle_of(credit, image=image).warnings) == warned


# -- the size of a pod -------------------------------------------------------------------------------------------------

PHASE = {"kind": "closed", "requests_per_s": 5000.0, "server_cpu_s_per_1000": 0.15, "server_memory_mb": 100.0,
         "errors": {}, "unequal": 0}  # fmt: skip
REPORT = {"model": "credit", "workers": 1, "cores": 8, "best_rate_per_s": 4000.0, "phases": [PHASE]}


def test_a_pod_is_as_large_as_what_was_measured(credit: Artifact, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    values = bundle_of(credit, bench=tmp_path / "report.json").values
    assert values["resources.requests.cpu"] == "750m"  # 5,000 requests at 0.15 ms
    assert values["resources.limits.cpu"] == "1"
    assert (values["resources.requests.memory"], values["resources.limits.memory"]) == ("128Mi", "384Mi")
    assert values["autoscaling.requestsPerSecond"] == 2800  # 70 % of what kept the target
    typed = bundle_of(credit, "resources.limits.cpu=2", bench=tmp_path / "report.json").values
    assert typed["resources.limits.cpu"] == "2"


def test_several_processes_need_as_many_cores() -> None:
    found = measured.figures({**REPORT, "workers": 0})  # it chose: one a core
    assert (found["workers"], found["resources.limits.cpu"]) == (8, "8")


@pytest.mark.parametrize(
    "report",
    [{**REPORT, "phases": [{**PHASE, "server_cpu_s_per_1000": None}]}, {**REPORT, "model": "other"}, {"phases": 3}, [],
     {**REPORT, "phases": [{**PHASE, "errors": {"model.busy": 3}}]}, {**REPORT, "phases": [{**PHASE, "unequal": 1}]}],
)  # fmt: skip
def test_a_report_without_the_servers_figures_is_refused(credit: Artifact, tmp_path: Path, report: Any) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(SetsailError) as refused:
        bundle_of(credit, bench=tmp_path / "report.json")
    assert refused.value.code == "setting.value"


def test_a_large_artifact_gets_more_memory() -> None:
    assert measured.assumed(10_000)["resources.requests.memory"] == "320Mi"
    assert measured.assumed(1 << 30)["resources.requests.memory"] == "3328Mi"


# -- asked of a server that runs ---------------------------------------------------------------------------------------


@pytest.fixture
def pod(credit: Artifact, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any], dict[str, Any]]]:
    """The container of the manifest as a process: its command, its variables, with free ports; and a short drain."""
    container = server_of(plain(bundle_of(credit, "drain.delay=1", "drain.timeout=10", "workers=2"))["Deployment"])
    settings = {item["name"]: item["value"] for item in container["env"]}
    own = {"SETSAIL_PORT": "0", "SETSAIL_ADMIN_PORT": "0", "SETSAIL_CACHE": str(tmp_path / "cache")}
    assert container["command"] == ["setsail"]
    assert credit.path is not None
    command = [sys.executable, "-m", "setsail", container["args"][0], str(credit.path.parent), "--json"]
    process = subprocess.Popen(command, env={**os.environ, **settings, **own}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, container, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_every_probe_and_port_is_answered_and_the_end_fits_the_grace_period(
    credit: Artifact, pod: tuple[subprocess.Popen[str], dict[str, Any], dict[str, Any]]
) -> None:
    process, container, told = pod
    ports = {"data": int(told["url"].rpartition(":")[2]), "admin": int(told["admin_url"].rpartition(":")[2])}
    assert [p["name"] for p in container["ports"]] == list(ports)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert status(ports[asked["port"]], asked["path"]) == 200
    metrics = urlopen(f"http://127.0.0.1:{ports['admin']}{around.METRICS}", timeout=10).read().decode()
    watched = yaml.safe_load(bundle_of(credit).texts["plain/service-monitor.yaml"])["spec"]["endpoints"][0]
    assert (watched["targetPort"], watched["path"]) == ("admin", around.METRICS)
    for name in (around.QUEUE, around.REQUESTS):
        assert f"# TYPE {name} " in metrics
    began = time.monotonic()
    lost, asked_in_vain = ended_under_load(process, ports["data"])
    assert lost == 0
    assert asked_in_vain, "readiness said no before the end"
    settings = {item["name"]: item["value"] for item in container["env"]}
    drain = float(settings["SETSAIL_DRAIN_DELAY"]) + int(settings["SETSAIL_DRAIN_TIMEOUT"])
    assert time.monotonic() - began < drain + GRACE
    assert process.returncode == 0


def ended_under_load(process: subprocess.Popen[str], port: int) -> tuple[int, bool]:
    """Say SIGTERM while predictions run: how many were sent and not answered, and whether it was seen not ready."""
    lost, unready = 0, False

    def ask() -> None:
        nonlocal lost
        body = json.dumps({"input": workshop.X[:1].tolist()})
        while True:
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                connection.connect()
            except OSError:
                return  # the door is closed
            try:
                connection.request("POST", "/predict/credit", body)
                lost += connection.getresponse().status != 200
            except OSError:
                lost += 1
            finally:
                connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    for _ in range(8):
        time.sleep(0.1)
        unready |= status(port, objects.READY) == 503
        assert status(port, objects.LIVE) in (200, None)
    process.wait(30)
    asking.join(30)
    return lost, unready


def status(port: int, path: str) -> int | None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_the_settings_of_the_manifest_are_settings_of_the_server(
    credit: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in server_of(plain(bundle_of(credit))["Deployment"])["env"]:
        monkeypatch.setenv(item["name"], item["value"])
    monkeypatch.delenv("SETSAIL_CACHE")  # of the cache folder, not of the server
    read = Settings.read({})
    assert (read.host, read.port, read.admin_port, read.workers) == ("0.0.0.0", 8080, 8081, 1)
    assert (read.drain_timeout, read.max_inflight_bytes) == (30, 256 << 20)


# -- other people's tools ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "sets",
    [(), ("monitor.enabled=true", "monitor.release=prom", "models.claim=store", "drain.preStop=0"),
     ("autoscaling.enabled=false", "network.enabled=false", "replicas=4", "disruption.enabled=false"),
     ("autoscaling.requestsPerSecond=900", "autoscaling.queueRows=0", 'env=[{"name":"A","value":"{{ .Values.name }}"}]',
      'annotations={"a/b":"<c> & \\"d\\""}', 'nodeSelector={"disk":"ssd"}', 'tolerations=[{"operator":"Exists"}]',
      'network.egress=[{"ports":[{"port":4318}]}]'),
     ("kserve.enabled=true",), ("kserve.enabled=true", "kserve.storageUri=pvc://store/credit")],
)  # fmt: skip
def test_the_chart_renders_the_same_objects_as_the_manifests(
    credit: Artifact, tmp_path: Path, sets: tuple[str, ...]
) -> None:
    targets.ship(credit, "kubernetes", tmp_path / "out", {"image": IMAGE, "set": sets})
    folder = "kserve" if "kserve.enabled=true" in sets else "plain"
    manifests = list(yaml.safe_load_all(kubernetes_tools.told("kubectl", "kustomize", tmp_path / "out" / folder)))
    chart = list(yaml.safe_load_all(kubernetes_tools.told("helm", "template", "any", tmp_path / "out/chart")))
    by_kind = {obj["kind"]: obj for obj in chart}
    assert len(by_kind) == len(chart)
    assert by_kind == {obj["kind"]: obj for obj in manifests}
    # and with the values given to Helm, as `--set-json` takes them
    targets.ship(credit, "kubernetes", tmp_path / "default", {"image": IMAGE})
    given = [word for one in sets for word in ("--set-json", as_json(one))]
    told = kubernetes_tools.told("helm", "template", "any", tmp_path / "default/chart", *given)
    assert {obj["kind"]: obj for obj in yaml.safe_load_all(told)} == by_kind


def as_json(one: str) -> str:
    key, _, value = one.partition("=")
    kind = type(next(row.default for row in ROWS if row.key == key))
    return f"{key}={json.dumps(value) if kind is str else value}"


@pytest.mark.slow
def test_everything_has_the_form_that_kubernetes_1_37_asks_for(credit: Artifact, tmp_path: Path) -> None:
    sets = ("monitor.enabled=true", "models.claim=store", 'env=[{"name":"A","value":"b"}]', "replicas=3")
    for less in ((), ("autoscaling.enabled=false",)):
        found = plain(bundle_of(credit, *sets, *less))
        found.pop("ServiceMonitor")
        kubernetes_tools.hold_to_kubernetes(list(found.values()), tmp_path)
    found["Deployment"]["spec"]["replicas"] = "three"
    with pytest.raises(AssertionError, match="Deployment"):
        kubernetes_tools.hold_to_kubernetes(list(found.values()), tmp_path)


@pytest.mark.slow
def test_the_kserve_objects_have_fields_that_kserve_knows(credit: Artifact, tmp_path: Path) -> None:
    texts = bundle_of(credit, "kserve.storageUri=s3://a/b", "imagePullSecrets=[]").texts
    found = [yaml.safe_load(texts[f"kserve/{name}.yaml"]) for name in ("serving-runtime", "inference-service")]
    assert kubernetes_tools.hold_to_kserve(found, tmp_path) == ["V1alpha1ServingRuntime", "V1beta1InferenceService"]
    # what a pod is made of is Kubernetes' own, and its schema is stricter
    spec = found[0]["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
           "spec": {"containers": spec["containers"], "volumes": spec["volumes"]}}  # fmt: skip
    kubernetes_tools.hold_to_kubernetes([pod], tmp_path)
    found[0]["spec"]["supportedModelFormats"][0]["naem"] = "setsail"
    with pytest.raises(AssertionError, match="naem"):
        kubernetes_tools.hold_to_kserve(found, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not kubernetes_tools.has_node(), reason="the operator's validators need Node")
def test_the_service_monitor_has_the_form_that_the_operator_asks_for(credit: Artifact) -> None:
    found = yaml.safe_load(bundle_of(credit).texts["plain/service-monitor.yaml"])
    assert kubernetes_tools.hold_to_operator([found]) == "good"
    found["spec"]["endpoints"][0]["interval"] = 15
    assert "must be string" in kubernetes_tools.hold_to_operator([found])


@pytest.mark.slow
def test_helm_finds_nothing_to_say(credit: Artifact, tmp_path: Path) -> None:
    targets.ship(credit, "kubernetes", tmp_path / "out", {"image": IMAGE})
    assert "0 chart(s) failed" in kubernetes_tools.told("helm", "lint", "--strict", tmp_path / "out/chart")
    with pytest.raises(AssertionError, match="preStop"):
        kubernetes_tools.told("helm", "template", "any", tmp_path / "out/chart", "--set", "drain.preStop=-1")
