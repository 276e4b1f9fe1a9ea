"""KServe's two objects: how this server runs (ServingRuntime), and one model that it serves (InferenceService).

KServe makes the Deployment, Service and autoscaler itself. It passes a container on to Knative where it is set up so,
which takes one port, named by its protocol, and no `lifecycle`: here the seconds before the end, in which a pod still
answers all, are the server's own delay and no `preStop`.

Source: KServe 0.21, serving.kserve.io/v1alpha1 ServingRuntime and v1beta1 InferenceService.
"""

from __future__ import annotations

from typing import Any, Final

from setsail.targets.kubernetes.around import METRICS
from setsail.targets.kubernetes.objects import container, grace, meta, pod_rules, volumes
from setsail.targets.kubernetes.template import Choice, Condition, Sum, Text, Value, When

__all__ = ["inference_service", "serving_runtime"]

_FETCHED: Final = "/mnt/models"  # where KServe's storage initializer puts what it fetches
_CONTAINER: Final = "kserve-container"  # the name that KServe looks for


def serving_runtime() -> dict[str, Any]:
    port = Value("ports.data")
    server = container(
        _CONTAINER, Choice("kserve.storageUri", _FETCHED, "models.path"),
        [{"name": "http1", "containerPort": port, "protocol": "TCP"}], port,
        Sum(("drain.preStop", "drain.delay"), text=True),
    )  # fmt: skip
    return {
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": meta(),
        "spec": {
            "annotations": {"prometheus.kserve.io/port": Text("ports.admin"), "prometheus.kserve.io/path": METRICS},
            "supportedModelFormats": [{"name": "setsail", "version": "1", "autoSelect": True, "priority": 1}],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "imagePullSecrets": Value("imagePullSecrets"),
            "containers": [server],
            "volumes": volumes(),
            **{key: Value(key) for key in ("nodeSelector", "tolerations", "affinity")},
        },
    }  # fmt: skip


def inference_service() -> dict[str, Any]:
    stored = When(Condition(all=("kserve.storageUri",)), Value("kserve.storageUri"))
    return {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": meta(),
        "spec": {"predictor": {
            **pod_rules(),
            "terminationGracePeriodSeconds": grace(),
            "minReplicas": Value("autoscaling.min"), "maxReplicas": Value("autoscaling.max"),
            "scaleMetric": "cpu", "scaleTarget": Value("autoscaling.cpu"),
            "annotations": Value("annotations"),
            "model": {"modelFormat": {"name": "setsail", "version": "1"}, "runtime": Value("name"),
                      "protocolVersion": "v2", "storageUri": stored},
        }},
    }  # fmt: skip
