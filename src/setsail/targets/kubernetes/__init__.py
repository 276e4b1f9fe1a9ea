"""Kubernetes: plain manifests, a Helm chart of the same objects, and KServe's."""

from __future__ import annotations

from pathlib import Path

from setsail.targets import Option
from setsail.targets.kubernetes.bundle import plan

__all__ = ["OPTIONS", "SUMMARY", "plan"]

SUMMARY = "manifests (kustomize), a Helm chart and KServe objects for an image that holds the artifact"

OPTIONS = (
    Option("image", "The image that pods run: setsail and the artifact, e.g. what --to container makes."),
    Option("bench", "A report of `setsail bench FILE --workers 1 --json`, to size a pod by.", None, Path),
    Option("set", "A value of the chart, KEY=VALUE, as docs/targets/kubernetes.md lists them.", (), many=True),
)
