"""The settings of what is written, once: key, default, help. `--set`, `values.yaml` and its schema follow from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from setsail.errors import SetsailError

__all__ = ["ROWS", "Row", "chosen", "kinds", "nested", "notes", "schema"]

_MI: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One setting.

    Attributes:
        key: dotted; in `values.yaml` a tree.
        pattern: that a text must match as a whole.
        least: of a number.
    """

    key: str
    default: Any
    help: str
    pattern: str = ""
    least: int = 0


_QUANTITY: Final = r"[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?"
_NAME: Final = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
_IMAGE: Final = r"[A-Za-z0-9][A-Za-z0-9._/:@-]*"
_PATH: Final = r"/[A-Za-z0-9._/-]*"

# fmt: off
ROWS: Final[tuple[Row, ...]] = (
    Row("name", "", "Name of every object; two in one namespace need two names.", _NAME),
    Row("version", "", "The model's version, as a label.", r"[0-9]+"),
    Row("image", "", "Image with setsail, its command on PATH, and, unless models.claim is set, the artifact.", _IMAGE),
    Row("imagePullPolicy", "IfNotPresent", "When a node fetches the image.", "IfNotPresent|Always|Never"),
    Row("imagePullSecrets", [], "Secrets of the registry: [{name: …}]."),
    Row("models.path", "/opt/ml/model", "Folder that is served: of the image, or where the claim is mounted.", _PATH),
    Row("models.claim", "", "PersistentVolumeClaim with the artifacts, mounted read-only; empty: they are in the image.", rf"({_NAME})?"),
    Row("ports.data", 8080, "Every wire, REST and gRPC.", least=1024),
    Row("ports.admin", 8081, "Metrics and management; in no Service.", least=1024),
    Row("replicas", 2, "Pods, where autoscaling is off.", least=1),
    Row("workers", 1, "Processes of a pod; resources.limits.cpu should be as many cores.", least=1),
    Row("inflightBytes", 256 * _MI, "Most bytes of request bodies that one process holds; part of resources.limits.memory.", least=_MI),
    Row("user", 10001, "User and group that the server runs as, by number.", least=1),
    Row("resources.requests.cpu", "500m", "CPU that is set aside; autoscaling.cpu is a share of it.", _QUANTITY),
    Row("resources.requests.memory", "384Mi", "Memory that is set aside.", _QUANTITY),
    Row("resources.limits.cpu", "1", "Most CPU.", _QUANTITY),
    Row("resources.limits.memory", "768Mi", "Most memory; a pod that needs more is killed.", _QUANTITY),
    Row("drain.preStop", 5, "Seconds between a pod's leaving the Service and SIGTERM, in which it still answers all."),
    Row("drain.delay", 0, "Seconds after SIGTERM in which it answers all, not ready (--drain-delay)."),
    Row("drain.timeout", 30, "Seconds that running requests get then (--drain-timeout)."),
    Row("startup.seconds", 120, "Seconds that loading the models may take before a pod is restarted.", least=2),
    Row("service.type", "ClusterIP", "Kind of the Service.", "ClusterIP|NodePort|LoadBalancer"),
    Row("autoscaling.enabled", True, "Whether there is a HorizontalPodAutoscaler."),
    Row("autoscaling.min", 2, "Fewest pods.", least=1),
    Row("autoscaling.max", 10, "Most pods.", least=1),
    Row("autoscaling.cpu", 70, "Percent of the requested CPU to keep to.", least=1),
    Row("autoscaling.queueRows", 100, "Rows that wait in a pod to keep to (setsail_queue_rows); 0: not looked at."),
    Row("autoscaling.requestsPerSecond", 0, "Requests a second and pod to keep to (from setsail_requests_total); 0: not looked at."),
    Row("disruption.enabled", True, "Whether there is a PodDisruptionBudget."),
    Row("disruption.maxUnavailable", 1, "Pods that may be away when nodes are emptied.", least=1),
    Row("network.enabled", True, "Whether there is a NetworkPolicy."),
    Row("network.monitoringNamespace", "monitoring", "Namespace whose pods alone reach the admin port.", _NAME),
    Row("network.egress", [], "What pods may call, as egress rules; nothing by default."),
    Row("monitor.enabled", False, "Whether there is a ServiceMonitor (needs the Prometheus Operator)."),
    Row("monitor.interval", "15s", "Time between two looks at the metrics.", r"[0-9]+(ms|s|m)"),
    Row("monitor.release", "", "Label `release` of the ServiceMonitor: many a Prometheus selects by it.", rf"({_NAME})?"),
    Row("kserve.enabled", False, "KServe's objects instead of a Deployment and what belongs to it (needs KServe)."),
    Row("kserve.storageUri", "", "Where KServe fetches the artifact from (s3://, gs://, pvc://, https://); empty: it is in the image.", r"([a-z0-9+-]+://.+)?"),
    Row("env", [], "More environment variables: [{name: …, value: …}]."),
    Row("annotations", {}, "Annotations of the pods."),
    Row("nodeSelector", {}, "Labels of the nodes to run on."),
    Row("tolerations", [], "Taints of nodes that are tolerated."),
    Row("affinity", {}, "Affinity of the pods."),
)
# fmt: on

_TYPES: Final[Mapping[type, str]] = {
    str: "string", int: "integer", bool: "boolean", list: "array", dict: "object",
}  # fmt: skip


def kinds() -> dict[str, type]:
    """The type of every key's value."""
    return {row.key: type(row.default) for row in ROWS}


def notes() -> dict[str, str]:
    return {row.key: row.help for row in ROWS}


def chosen(given: Mapping[str, Any], sets: tuple[str, ...]) -> dict[str, Any]:
    """Every key's value.

    Args:
        given: by key, what the artifact and the measurements say.
        sets: `KEY=VALUE` as typed, which beat them; the value of what is not a text is JSON.

    Raises:
        SetsailError: `setting.unknown`, `setting.value`.
    """
    values = {row.key: given.get(row.key, row.default) for row in ROWS}
    rows = {row.key: row for row in ROWS}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise _refused("set", text, "KEY=VALUE")
        if key not in rows:
            raise SetsailError("setting.unknown", f"there is no value {key!r}", field="--set", value=text,
                               expected=", ".join(rows), todo="see docs/targets/kubernetes.md")  # fmt: skip
        values[key] = _parsed(rows[key], value)
    for row in ROWS:
        _check(row, values[row.key])
    fewest, most = values["autoscaling.min"], values["autoscaling.max"]
    if fewest > most:
        raise _refused("autoscaling.max", most, f"autoscaling.min ({fewest}) or more")
    if values["ports.data"] == values["ports.admin"]:
        raise _refused("ports.admin", values["ports.admin"], "another port than ports.data")
    return values


def _parsed(row: Row, text: str) -> Any:
    if isinstance(row.default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if type(value) is not type(row.default):
        raise _refused(row.key, text, f"{_TYPES[type(row.default)]} (JSON)")
    return value


def _check(row: Row, value: Any) -> None:
    if isinstance(value, str) and row.pattern and not re.fullmatch(row.pattern, value):
        raise _refused(row.key, value, row.pattern)
    if type(value) is int and value < row.least:
        raise _refused(row.key, value, f"{row.least} or more")


def _refused(key: str, value: Any, expected: str) -> SetsailError:
    return SetsailError("setting.value", f"{key} has a value that it cannot have", field=f"--set {key}", value=value,
                        expected=expected, todo="see docs/targets/kubernetes.md")  # fmt: skip


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key as the tree that a chart's `values.yaml` is."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *folders, last = key.split(".")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return tree


def schema() -> dict[str, Any]:
    """JSON Schema of that tree, by which Helm refuses what `--set` refuses here."""
    top = _closed()
    top["properties"]["global"] = {"type": "object"}  # Helm's own
    for row in ROWS:
        *folders, last = row.key.split(".")
        place = top
        for folder in folders:
            place = place["properties"].setdefault(folder, _closed())
        one: dict[str, Any] = {"type": _TYPES[type(row.default)], "description": row.help}
        if row.pattern:
            one["pattern"] = f"^({row.pattern})$"
        if type(row.default) is int:
            one["minimum"] = row.least
        place["properties"][last] = one
    return {"$schema": "http://json-schema.org/draft-07/schema#", **top}


def _closed() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}
