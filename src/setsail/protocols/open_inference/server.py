"""What the server says of itself: its name, its version, and which extensions of the protocol it has."""

from __future__ import annotations

from typing import Final

__all__ = ["EXTENSIONS", "SERVER_NAME", "server_version"]

SERVER_NAME: Final = "setsail"
EXTENSIONS: Final = (  # by Triton's names, but for the last, which is KServe's for the second
    "classification", "model_repository", "model_repository(unload_dependents)", "schedule_policy",
    "model_configuration", "binary_tensor_data", "parameters", "statistics", "model_repository_extension",
)  # fmt: skip


def server_version() -> str:
    # Asked for, not at import: reading package metadata costs more than the rest of this module.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("setsail")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
