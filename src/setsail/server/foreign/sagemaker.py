"""SageMaker's variables as settings: what `setsail serve` does as the argument `serve` of a container.

The platform runs the image with that one word, unpacks the model to /opt/ml/model (or, where models come and go, below
/opt/ml/models), says the rest in variables, and ends the container with SIGTERM and, 30 seconds later, SIGKILL. Some of
its variables are told to the wire (`protocols/sagemaker.py`), because they are about answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.server.foreign.configuration import Foreign

__all__ = ["container"]

_BASE: Final = "/opt/ml"
_DRAIN: Final = 25  # seconds: less than the 30 that the platform waits
_MIB: Final = 1 << 20
# What they ask for is not done here, and why.
_UNUSED: Final[Mapping[str, str]] = {
    "SAGEMAKER_PROGRAM": "no script of the model's is run: the artifact says all there is to do",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": "a run is not ended by a clock; the platform's own limit holds",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "a run is not ended by a clock; the platform's own limit holds",
    "SAGEMAKER_MODEL_SERVER_VMARGS": "there is no Java here",
    "SAGEMAKER_STARTUP_TIMEOUT": "a start is not ended by a clock; the platform's own limit holds",
    "SAGEMAKER_CONTAINER_LOG_LEVEL": "warnings and errors are logged",
}


def container(environment: Mapping[str, str]) -> Foreign | None:
    """What to serve, and how, where this is a container of SageMaker's; None where it is none.

    Args:
        environment: the process's. SAGEMAKER_BASE_DIR moves /opt/ml.

    Raises:
        SetsailError: `setting.value` for a variable that cannot be what it should be.
    """
    base = Path(environment.get("SAGEMAKER_BASE_DIR") or _BASE)
    many = environment.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
    folder = base / ("models" if many else "model")
    if not many and not folder.is_dir():
        return None
    settings: dict[str, Any] = {
        "as_": "sagemaker-mme" if many else "sagemaker",
        "host": "0.0.0.0",
        "port": _number(environment, "SAGEMAKER_BIND_TO_PORT", 8080),
        "admin_port": _admin(environment),
        "workers": _number(environment, "SAGEMAKER_MODEL_SERVER_WORKERS", 0),
        "drain_timeout": _DRAIN,
    }
    if "SAGEMAKER_MAX_PAYLOAD_IN_MB" in environment:
        settings["max_body"] = _number(environment, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 0) * _MIB
    if many:
        settings["model_store"] = str(folder)
    notes = tuple(f"{name} is left alone: {why}" for name, why in _UNUSED.items() if environment.get(name))
    return Foreign(settings, () if many else ((folder, None),), notes=notes)


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise SetsailError("setting.value", f"variable {name} is not right", field=name, value=text,
                           expected="a whole number", todo="change it in the endpoint's environment")  # fmt: skip
    return int(text)


def _admin(environment: Mapping[str, str]) -> int:
    """The admin port: on the first of the ports that the platform leaves to a container besides its own, else nowhere.

    It is on loopback, where nobody comes from outside; `SETSAIL_ADMIN_PORT` puts it anywhere.
    """
    first, dash, _ = environment.get("SAGEMAKER_SAFE_PORT_RANGE", "").partition("-")
    return _number({"SAGEMAKER_SAFE_PORT_RANGE": first}, "SAGEMAKER_SAFE_PORT_RANGE", -1) if dash else -1
