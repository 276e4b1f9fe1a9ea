"""The Kubernetes objects around one model, with holes for what is set (`template.py`).

Which endpoint answers which probe, and why:

- *startup* and *liveness* ask `/v2/health/live`: it answers once the server does, whatever its models do. A model that
  cannot be loaded is no reason to restart a process that tells people so.
- *readiness* asks `/v2/health/ready`: every model is ready, every worker lives, nobody has asked it to end.

The end of a pod, in this order: it leaves the Service's endpoints while `preStop` sleeps, since that takes a moment to
reach every node; then SIGTERM, on which the server drains as `docs/operations.md` says. The grace period is longer than
all of it by what a supervisor waits for its workers (5 s) and as much again.

Sources: Kubernetes API reference v1.37 (apps/v1, autoscaling/v2, policy/v1, networking.k8s.io/v1); the restricted
profile of the Pod Security Standards.
"""

from __future__ import annotations

from typing import Any, Final

from setsail.targets.kubernetes.template import Choice, Condition, Spread, Sum, Text, Value, When

__all__ = ["LIVE", "READY", "container", "deployment", "grace", "meta", "pod_rules", "selector", "service", "volumes"]

LIVE: Final = "/v2/health/live"
READY: Final = "/v2/health/ready"
_AROUND: Final = 10  # seconds of the grace period beyond the drain

_PORTS: Final = [
    {"name": name, "containerPort": Value(f"ports.{name}"), "protocol": "TCP"} for name in ("data", "admin")
]
_CLAIM: Final = Condition(all=("models.claim",))


def _labels() -> dict[str, Any]:
    return {**selector(), "app.kubernetes.io/version": Text("version"), "app.kubernetes.io/component": "model-server"}


def selector() -> dict[str, Any]:
    return {"app.kubernetes.io/name": "setsail", "app.kubernetes.io/instance": Value("name")}


def meta() -> dict[str, Any]:
    return {"name": Value("name"), "labels": _labels()}


def grace() -> Sum:
    """Seconds from the decision to end a pod to SIGKILL."""
    return Sum(("drain.preStop", "drain.delay", "drain.timeout"), _AROUND)


def deployment() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(),
        "spec": {
            # the autoscaler's number is not to be set back by every apply
            "replicas": When(Condition(none=("autoscaling.enabled",)), Value("replicas")),
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": selector()},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": _labels(), "annotations": Value("annotations")}, "spec": _pod()},
        },
    }  # fmt: skip


def _pod() -> dict[str, Any]:
    stop = {"preStop": {"sleep": {"seconds": Value("drain.preStop")}}}
    server = container("setsail", Value("models.path"), _PORTS, "data", Text("drain.delay"))
    server["volumeMounts"].append(When(_CLAIM, {"name": "models", "mountPath": Value("models.path"), "readOnly": True}))
    server["lifecycle"] = When(Condition(all=("drain.preStop",)), stop)
    claim = {"name": "models", "persistentVolumeClaim": {"claimName": Value("models.claim"), "readOnly": True}}
    return {
        **pod_rules(),
        "imagePullSecrets": Value("imagePullSecrets"),
        "terminationGracePeriodSeconds": grace(),
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector()},
        }],
        "containers": [server],
        "volumes": [*volumes(), When(_CLAIM, claim)],
        **{key: Value(key) for key in ("nodeSelector", "tolerations", "affinity")},
    }  # fmt: skip


def pod_rules() -> dict[str, Any]:
    """What a pod may not do: nothing of the cluster's API, no root, no system call beyond the runtime's list."""
    user = Value("user")
    return {
        "automountServiceAccountToken": False, "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
                            "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip


def volumes() -> list[Any]:
    """The one place that may be written to: what the server can make again, weights that its processes share."""
    return [{"name": "scratch", "emptyDir": {}}]


def container(
    name: str, models: Value | Choice, ports: list[Any], asked: str | Value, delay: Text | Sum
) -> dict[str, Any]:
    """The server. Settings are variables, so that another one is a line of `env` and not a changed command.

    Args:
        models: the folder that is served.
        ports: those that are told to Kubernetes; `asked` is the one that probes ask, by name or number.
        delay: seconds in which the server answers all after SIGTERM, not ready.
    """
    return {
        "name": name,
        "image": Value("image"), "imagePullPolicy": Value("imagePullPolicy"),
        "command": ["setsail"], "args": ["serve", models],
        "env": _env(delay),
        "ports": ports,
        "startupProbe": {**_probe(LIVE, asked, 1), "failureThreshold": Value("startup.seconds")},
        "livenessProbe": {**_probe(LIVE, asked, 10), "failureThreshold": 3},
        "readinessProbe": {**_probe(READY, asked, 2), "failureThreshold": 2},
        "resources": {kind: {what: Value(f"resources.{kind}.{what}") for what in ("cpu", "memory")}
                      for kind in ("requests", "limits")},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
                            "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }  # fmt: skip


def _probe(path: str, port: str | Value, period: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": period, "timeoutSeconds": 2}


def _env(delay: Text | Sum) -> list[Any]:
    named = {
        "HOST": "0.0.0.0", "PORT": Text("ports.data"), "ADMIN_HOST": "0.0.0.0", "ADMIN_PORT": Text("ports.admin"),
        "WORKERS": Text("workers"), "MAX_INFLIGHT_BYTES": Text("inflightBytes"),
        "DRAIN_DELAY": delay, "DRAIN_TIMEOUT": Text("drain.timeout"), "CACHE": "/tmp/setsail",
    }  # fmt: skip
    return [*({"name": f"SETSAIL_{name}", "value": value} for name, value in named.items()), Spread("env")]


def service() -> dict[str, Any]:
    """The data port, and no other: HTTP/1.1, HTTP/2 without TLS and gRPC are told apart by their first bytes."""
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": meta(),
        "spec": {"type": Value("service.type"), "selector": selector(),
                 "ports": [{"name": "data", "port": Value("ports.data"), "targetPort": "data", "protocol": "TCP"}]},
    }  # fmt: skip
