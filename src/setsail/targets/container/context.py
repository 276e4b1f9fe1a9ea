"""The build context: what `docker build` needs to make the same image, and what a person reads to see what it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from setsail.artifact import Artifact
from setsail.targets.container.image import COMMAND, ENTRYPOINT, HEALTH, MODELS, PORT, USER
from setsail.targets.container.libraries import Library
from setsail.targets.container.runtime import HOME, LIBRARIES, left_out
from setsail.targets.container.wheels import Wheel

__all__ = ["files", "health_script"]

_DOCKERFILE: Final = """\
# {title} version {version}, served by setsail. Build it with:
#   docker build -t {image} .
# Nothing is fetched but the base: the wheels are here, and each is held against its digest.
ARG BASE={base}

FROM ${{BASE}} AS packages
COPY requirements.txt slim.py elf.py /context/
COPY wheels /context/wheels
RUN ["python3", "-m", "venv", "--without-pip", "/{home}"]
RUN ["python3", "-m", "pip", "--python", "/{home}/bin/python", "install", "--no-index", "--find-links", \
"/context/wheels", "--no-deps", "--require-hashes", "--no-compile", "--no-cache-dir", "--disable-pip-version-check", \
"--requirement", "/context/requirements.txt"]
# Tests, headers and what else nothing in an image needs.
RUN {slim}
RUN ["/{home}/bin/python", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/{home}/lib"]

FROM ${{BASE}}
COPY --from=packages /{home} /{home}
COPY healthy.py /{home}/
{libraries}ENV PATH=/{home}/bin:$PATH \\
{variables}
LABEL {labels}
# The model is last: a new version sends nothing else again.
COPY model /{models}
COPY sbom.cdx.json /{home}/
EXPOSE {port}
USER {user}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD {health}
ENTRYPOINT {entrypoint}
CMD {command}
"""
_IGNORED: Final = """\
# Only what the Dockerfile copies is sent to the builder.
*
!requirements.txt
!slim.py
!elf.py
!wheels
!healthy.py
!libraries
!sbom.cdx.json
!model
"""
_README: Final = """\
# {title} version {version}

| file | what it is |
|---|---|
| `Dockerfile`, `requirements.txt`, `wheels/`, `model/` | the build context |
{archive}| `sbom.cdx.json` | bill of materials, CycloneDX |
| `shipment.json` | digests of all these files |

{get}
Run it, as an ordinary user in a root that cannot be written:

    docker run --rm --read-only --tmpfs /tmp -p {port}:{port} {image}

Ask it:

    curl http://127.0.0.1:{port}/v2/models/{title}

Settings are variables: `-e SETSAIL_WORKERS=2`. The admin port and its metrics are on loopback inside; to reach them,
say `-e SETSAIL_ADMIN_HOST=0.0.0.0 -p 8081:8081` where the network may be trusted.
"""


def files(opened: Artifact, wheels: Sequence[Wheel], *, base: str, image: str, labels: Mapping[str, str],
          bill: bytes, archive: str, libraries: Sequence[Library], variables: Mapping[str, str],
          site: str) -> dict[str, bytes | Path]:  # fmt: skip
    """Name -> content of all of it but the archive.

    Args:
        site: where packages are, in the environment.
        libraries: of the system, that the base lacks or may lack.
        base: what the Dockerfile begins with. archive: the name of the archive, or "" where there is none.
    """
    model = opened.path
    assert model is not None
    facts = {
        "title": opened.name, "version": str(opened.version), "image": image, "base": base, "home": HOME,
        "models": MODELS, "port": str(PORT), "user": USER, "entrypoint": _words(ENTRYPOINT), "command": _words(COMMAND),
        "health": _words(HEALTH),
        "variables": " \\\n".join(f"    {key}={value}" for key, value in variables.items()),
        "labels": " \\\n      ".join(f"{key}={_quoted(value)}" for key, value in labels.items()),
    }  # fmt: skip
    unused = [name for wheel in wheels for name in left_out(wheel)]
    facts["slim"] = _words([f"/{HOME}/bin/python", "/context/slim.py", f"/{site}", *unused])
    facts["libraries"] = f"COPY libraries /{LIBRARIES}/\n" if libraries else ""
    get = f"Load the image, or build it:\n\n    docker load -i {archive}\n" if archive else "Build the image:\n\n"
    facts |= {"archive": f"| `{archive}` | the image itself, an OCI archive |\n" if archive else "",
              "get": f"{get}    docker build -t {image} .\n"}  # fmt: skip
    requirements = "".join(f"{wheel.requirement}\n" for wheel in wheels)
    return {
        "Dockerfile": _DOCKERFILE.format(**facts).encode(), ".dockerignore": _IGNORED.encode(),
        "README.md": _README.format(**facts).encode(), "requirements.txt": requirements.encode(),
        "healthy.py": health_script(), "slim.py": _script("slim.py"), "elf.py": _script("elf.py"),
        "sbom.cdx.json": bill, f"model/{model_name(opened)}": model,
        **{f"wheels/{wheel.path.name}": wheel.path for wheel in wheels},
        **{f"libraries/{library.name}": library.data for library in libraries},
    }  # fmt: skip


def model_name(opened: Artifact) -> str:
    return f"{opened.name}-{opened.version}.setsail"


def health_script() -> bytes:
    return _script("healthy.py")


def _script(name: str) -> bytes:
    return Path(__file__).with_name(name).read_bytes()


def _words(command: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in command) + "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
