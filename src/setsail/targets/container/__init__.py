"""An image for Docker, podman, Kubernetes and SageMaker, written without a daemon, and the context to build it with."""

from __future__ import annotations

from setsail.targets import Option
from setsail.targets.container.planning import plan

__all__ = ["OPTIONS", "SUMMARY", "plan"]

SUMMARY = "an OCI image (written without a daemon) and the Dockerfile and context that make the same one"

OPTIONS = (
    Option("base", "What the image stands on, with Python: an image of a registry, an archive or layout of one, or "
           "the tar or folder of a root file system. Docker's slim Python where it is not given."),
    Option("image", "NAME:TAG of the image; the model's name and version where it is not given."),
    Option("push", "HOST/NAME:TAG of a registry to send the image to, when it has answered as its source does."),
    Option("architecture", "Which of a registry's images is taken; this machine's where it is not given.",
           choices=("amd64", "arm64")),
)  # fmt: skip
