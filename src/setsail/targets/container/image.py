"""An OCI image: its configuration, its manifest, and the archive of both with the layers.

The archive is an OCI image layout in a tar, which podman, skopeo, buildah, crane and containerd read; it has a
`manifest.json` beside, with which `docker load` of any age reads it too. Source: opencontainers/image-spec v1.1.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from setsail.artifact import Artifact
from setsail.targets.container.base import Base
from setsail.targets.container.layers import Layer, epoch
from setsail.targets.container.registry import MANIFEST, Reference, Registry
from setsail.targets.container.runtime import HOME, LIBRARIES

__all__ = [
    "COMMAND",
    "CONFIG",
    "ENTRYPOINT",
    "HEALTH",
    "MODELS",
    "PORT",
    "USER",
    "VARIABLES",
    "Image",
    "image",
    "labels",
    "push",
    "variables",
]

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
MODELS: Final = "opt/ml/model"  # where SageMaker puts a model too: what it mounts there takes this one's place
PORT: Final = 8080
USER: Final = "10001:10001"  # a number, so that Kubernetes can see that it is not root
ENTRYPOINT: Final = (f"/{HOME}/bin/setsail",)
COMMAND: Final = ("serve", f"/{MODELS}")
HEALTH: Final = (f"/{HOME}/bin/python", "-IS", f"/{HOME}/healthy.py")
# Nothing may be written but below /tmp, where the caches are. No port here: SageMaker's own variable sets it.
VARIABLES: Final[Mapping[str, str]] = {
    "SETSAIL_HOST": "0.0.0.0", "SETSAIL_CACHE": "/tmp/setsail", "HOME": "/tmp", "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
}  # fmt: skip
_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Image:
    """A whole image: what is sent, and under which name."""

    name: str
    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        return _digest(self.manifest)

    @property
    def size(self) -> int:
        """Bytes that are sent to who has none of it."""
        return sum(layer.size for layer in self.layers) + len(self.config) + len(self.manifest)

    @property
    def unpacked(self) -> int:
        """Bytes on the disk of who runs it, about."""
        return sum(layer.unpacked for layer in self.layers)

    def write(self, path: Path) -> None:
        """The archive. The same image gives the same bytes."""
        blobs: dict[str, bytes | Path] = {_digest(self.config): self.config, self.digest: self.manifest}
        blobs |= {layer.digest: layer.path for layer in self.layers}
        members: dict[str, bytes | Path] = {f"blobs/sha256/{d.removeprefix('sha256:')}": b for d, b in blobs.items()}
        entry = {"mediaType": MANIFEST, "digest": self.digest, "size": len(self.manifest),
                 "platform": {k: v for k, v in json.loads(self.config).items() if k in ("os", "architecture")},
                 "annotations": {"org.opencontainers.image.ref.name": self.name.rpartition(":")[2],
                                 "io.containerd.image.name": self.name}}  # fmt: skip
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
        saved = [{"Config": _place(_digest(self.config)), "RepoTags": [self.name],
                  "Layers": [_place(layer.digest) for layer in self.layers]}]  # fmt: skip
        members |= {"index.json": _dump(index), "manifest.json": _dump(saved),
                    "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}  # fmt: skip
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(members, key=lambda n: (n.startswith("blobs"), n)):
                info, content = tarfile.TarInfo(name), members[name]
                info.mode, info.mtime = 0o644, epoch()
                if isinstance(content, bytes):
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                else:
                    info.size = content.stat().st_size
                    with content.open("rb") as file:
                        tar.addfile(info, file)


def labels(opened: Artifact, base: Base | None) -> dict[str, str]:
    """What an image says of itself, as labels and annotations. Source: image-spec, annotations.md."""
    named = {} if base is None else {"org.opencontainers.image.base.name": base.name,
                                     "org.opencontainers.image.base.digest": base.digest}  # fmt: skip
    return {
        "org.opencontainers.image.title": opened.name,
        "org.opencontainers.image.version": str(opened.version),
        "org.opencontainers.image.description": f"{opened.name} version {opened.version}, served by setsail",
        **{key: text for key, text in named.items() if text},
        "setsail.artifact": f"sha256:{opened.digest}",
        "setsail.framework": opened.framework,
        # what the platform may do with it: docs.aws.amazon.com/sagemaker, "bring your own container"
        "com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true",
        "com.amazonaws.sagemaker.capabilities.multi-models": "true",
    }


def variables(base: Base | None, libraries: bool = False) -> dict[str, str]:
    """The variables that an image sets beside PATH.

    Args:
        base: None where it is not known.
        libraries: whether libraries of the system are in a folder of ours; the base's own folders stay behind it.
    """
    if not libraries:
        return dict(VARIABLES)
    lines = ((base.config.get("config") or {}).get("Env") or ()) if base is not None else ()
    before = [text.partition("=")[2] for text in lines if text.startswith("LD_LIBRARY_PATH=")]
    return {**VARIABLES, "LD_LIBRARY_PATH": ":".join([f"/{LIBRARIES}", *filter(None, before)])}


def image(opened: Artifact, base: Base, ours: Sequence[Layer], name: str, told: Mapping[str, str]) -> Image:
    """Put layers on a base.

    Args:
        ours: the layers that are added.
        name: `NAME:TAG`.
        told: as `variables` gives them.
    """
    named = labels(opened, base)
    layers = (*base.layers, *ours)
    kept = base.config.get("config") or {}
    before = [text for text in kept.get("Env") or () if text.split("=")[0] not in (*told, "PATH")]
    lines = [f"PATH=/{HOME}/bin:{base.path}", *before, *(f"{k}={v}" for k, v in told.items())]
    config: dict[str, Any] = {
        "architecture": base.facts.architecture,
        "os": "linux",
        "config": {
            "User": USER, "ExposedPorts": {f"{PORT}/tcp": {}}, "Env": lines, "Entrypoint": list(ENTRYPOINT),
            "Cmd": list(COMMAND), "WorkingDir": "/", "Labels": {**(kept.get("Labels") or {}), **named},
            "StopSignal": "SIGTERM",
            # Docker's own extension of the format, which OCI's readers pass over
            "Healthcheck": {"Test": ["CMD", *HEALTH], "Interval": 30 * _SECOND, "Timeout": 5 * _SECOND,
                            "StartPeriod": 60 * _SECOND, "Retries": 3},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [*_history(base), *(_dated({"created_by": f"setsail ship: {la.what}"}) for la in ours)],
    }  # fmt: skip
    body = _dump(_dated(config))
    entries = [{"mediaType": la.media_type, "digest": la.digest, "size": la.size} for la in layers]
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": _digest(body), "size": len(body)},
        "layers": entries, "annotations": named,
    }  # fmt: skip
    return Image(name, layers, body, _dump(manifest))


def push(made: Image, to: Reference, documents: Mapping[str, bytes]) -> dict[str, int]:
    """Send an image to a registry, and documents (media type -> bytes) that refer to it.

    Returns:
        How many bytes of layers were sent, and how many were there already.

    Raises:
        SetsailError: `ship.fetch`, with what the registry says.
    """
    registry, sent, there = Registry(to), 0, 0
    for layer in dict.fromkeys(made.layers):
        if registry.push_blob(layer.digest, layer.size, layer.path):
            sent += layer.size
        else:
            there += layer.size
    registry.push_blob(_digest(made.config), len(made.config), made.config)
    registry.push_manifest(made.manifest, to.tag)
    empty = b"{}"
    for kind, document in documents.items():
        registry.push_blob(_digest(empty), len(empty), empty)
        registry.push_blob(_digest(document), len(document), document)
        referring = _dump({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": _digest(empty), "size": len(empty)},
            "layers": [{"mediaType": kind, "digest": _digest(document), "size": len(document)}],
            "subject": {"mediaType": MANIFEST, "digest": made.digest, "size": len(made.manifest)},
        })  # fmt: skip
        registry.push_manifest(referring, _digest(referring))
    return {"sent": sent, "there": there}


def _history(base: Base) -> list[dict[str, Any]]:
    """The base's own, else a line for each of its layers: there must be one for each layer that is not empty."""
    told = base.config.get("history") or []
    if sum(not line.get("empty_layer") for line in told) == len(base.layers):
        return list(told)
    return [_dated({"created_by": layer.what}) for layer in base.layers]


def _dated(body: dict[str, Any]) -> dict[str, Any]:
    """With SOURCE_DATE_EPOCH where it is set; without a time otherwise, so that the same input is the same image."""
    if not epoch():
        return body
    return {"created": datetime.fromtimestamp(epoch(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), **body}


def _dump(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _place(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
