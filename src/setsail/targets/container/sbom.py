"""The bill of materials: CycloneDX 1.6 in JSON (ECMA-424, cyclonedx.org/docs/1.6/json).

Every Python package with the digest of its wheel and its licence, every package of the base's Debian, and the model
with the digest of its artifact. No time and no random number is in it, so that the same image has the same bill: its
serial number is made of its content.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from setsail import __version__
from setsail.artifact import Artifact
from setsail.targets.container.base import Facts
from setsail.targets.container.libraries import Library
from setsail.targets.container.wheels import Wheel

__all__ = ["MEDIA_TYPE", "bill"]

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
_NAMESPACE: Final = uuid.UUID("6f6a3b0e-6d0b-5f0c-9d5e-0d7c6a2f4c11")  # of our serial numbers; any would do


def bill(facts: Facts | None, wheels: Sequence[Wheel], opened: Artifact | None = None,
         libraries: Sequence[Library] = ()) -> bytes:  # fmt: skip
    """The document.

    Args:
        facts: of the base; None where it is not known.
        libraries: of the system, that were added to it.
        opened: the model, where the bill is of a whole image and not of what it runs on.
    """
    components = [*map(_python, wheels), *map(_library, libraries)]
    if facts is not None:
        components += [_debian(*row, facts.system) for row in facts.packages]
        components.append({"type": "platform", "bom-ref": "python", "name": "cpython",
                           "version": ".".join(map(str, facts.version))})  # fmt: skip
    whole: dict[str, Any] = {"type": "container", "bom-ref": "image", "name": "setsail-runtime", "version": __version__}
    if opened is not None:
        whole |= {"name": opened.name, "version": str(opened.version)}
        components.append(_model(opened))
    components.sort(key=lambda c: str(c["bom-ref"]))
    body: dict[str, Any] = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "component": whole,
            "tools": {"components": [{"type": "application", "name": "setsail", "version": __version__}]},
        },
        "components": components,
        "dependencies": [{"ref": "image", "dependsOn": [c["bom-ref"] for c in components]}],
    }  # fmt: skip
    content = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    serial = f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"
    return (json.dumps({"$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "serialNumber": serial, **body},
                       indent=1, ensure_ascii=False) + "\n").encode()  # fmt: skip


def _python(wheel: Wheel) -> dict[str, Any]:
    reference = f"pkg:pypi/{wheel.name}@{quote(wheel.version)}"
    return {"type": "library", "bom-ref": reference, "name": wheel.name, "version": wheel.version, "purl": reference,
            "hashes": [{"alg": "SHA-256", "content": wheel.digest}], **_licences(wheel.licence)}  # fmt: skip


def _library(library: Library) -> dict[str, Any]:
    return {"type": "library", "bom-ref": f"file:{library.name}", "name": library.title,
            "hashes": [{"alg": "SHA-256", "content": library.digest}], **_licences(library.licence),
            "properties": [{"name": "setsail:file", "value": library.name},
                           {"name": "setsail:taken-from", "value": library.source}]}  # fmt: skip


def _debian(name: str, version: str, architecture: str, licences: str, system: str) -> dict[str, Any]:
    distro = "debian" if "debian" in system.lower() else "ubuntu" if "ubuntu" in system.lower() else "linux"
    reference = f"pkg:deb/{distro}/{quote(name)}@{quote(version)}?arch={architecture}"
    return {"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference,
            **_licences(licences)}  # fmt: skip


def _model(opened: Artifact) -> dict[str, Any]:
    return {"type": "machine-learning-model", "bom-ref": f"model:{opened.name}@{opened.version}", "name": opened.name,
            "version": str(opened.version), "hashes": [{"alg": "SHA-256", "content": opened.digest}],
            "properties": [{"name": "setsail:framework", "value": opened.framework},
                           {"name": "setsail:estimator", "value": opened.estimator}]}  # fmt: skip


def _licences(text: str) -> dict[str, Any]:
    """As the package names it: a name, because only few of these texts are expressions that SPDX can read."""
    return {"licenses": [{"license": {"name": text}}]} if text else {}
