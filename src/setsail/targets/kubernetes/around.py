"""What stands around the pods: how many there are, who reaches them, who watches them.

The names of metrics are those of `docs/metrics.md`; a test holds them against what a server exposes.
"""

from __future__ import annotations

from typing import Any, Final

from setsail.targets.kubernetes.objects import meta, selector
from setsail.targets.kubernetes.template import Condition, Text, Value, When

__all__ = ["METRICS", "QUEUE", "RATE", "REQUESTS", "adapter", "autoscaler", "budget", "monitor", "network"]

METRICS: Final = "/metrics"
QUEUE: Final = "setsail_queue_rows"
REQUESTS: Final = "setsail_requests_total"
RATE: Final = "setsail_requests_per_second"  # what the adapter makes of REQUESTS


def autoscaler() -> dict[str, Any]:
    """Scales on CPU, and on our metrics as Prometheus' adapter tells them: the highest answer wins.

    Up fast, down slowly: a new pod is of use within seconds, one too many costs little.
    """
    cpu = {"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": Value("autoscaling.cpu")}}}  # fmt: skip
    ours = [When(Condition(all=(key,)), {"type": "Pods", "pods": {
        "metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": Text(key)}}})
        for key, name in (("autoscaling.queueRows", QUEUE), ("autoscaling.requestsPerSecond", RATE))]  # fmt: skip
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": Value("name")},
            "minReplicas": Value("autoscaling.min"), "maxReplicas": Value("autoscaling.max"),
            "metrics": [cpu, *ours],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0,
                            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
                "scaleDown": {"stabilizationWindowSeconds": 300,
                              "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
            },
        },
    }  # fmt: skip


def budget() -> dict[str, Any]:
    """How many pods may be away while nodes are emptied; one that is not ready may always go."""
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta(),
        "spec": {"maxUnavailable": Value("disruption.maxUnavailable"), "unhealthyPodEvictionPolicy": "AlwaysAllow",
                 "selector": {"matchLabels": selector()}},
    }  # fmt: skip


def network() -> dict[str, Any]:
    """Everybody reaches the data port, one namespace the admin port, and a pod calls nobody unless that is set."""
    watching = {"namespaceSelector": {"matchLabels": {
        "kubernetes.io/metadata.name": Value("network.monitoringNamespace")}}}  # fmt: skip
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta(),
        "spec": {
            "podSelector": {"matchLabels": selector()},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": "data", "protocol": "TCP"}]},
                        {"from": [watching], "ports": [{"port": "admin", "protocol": "TCP"}]}],
            "egress": Value("network.egress"),
        },
    }  # fmt: skip


def monitor() -> dict[str, Any]:
    """Prometheus asks each pod's admin port, found behind the Service though the Service does not have it."""
    described = meta()
    described["labels"]["release"] = When(Condition(all=("monitor.release",)), Value("monitor.release"))
    return {
        "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": described,
        "spec": {"selector": {"matchLabels": selector()},
                 "endpoints": [{"targetPort": "admin", "path": METRICS, "interval": Value("monitor.interval")}]},
    }  # fmt: skip


def adapter() -> dict[str, Any]:
    """Rules for Prometheus' adapter (its chart's values), which tells the autoscaler our metrics."""

    def rule(name: str, query: str, as_: str = "") -> dict[str, Any]:
        found = {"seriesQuery": f'{name}{{namespace!="",pod!=""}}',
                 "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
                 "metricsQuery": f"sum({query}) by (<<.GroupBy>>)"}  # fmt: skip
        return found | ({"name": {"as": as_}} if as_ else {})

    series = "<<.Series>>{<<.LabelMatchers>>}"
    return {"rules": {"custom": [rule(QUEUE, series), rule(REQUESTS, f"rate({series}[1m])", RATE)]}}
