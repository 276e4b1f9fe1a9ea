"""`models.config`: the list of models that TensorFlow Serving reads with --model_config_file (docs/migrating).

It is protobuf's text format, read with our own copy of its messages. The versions of a model are `BASE_PATH/1.setsail`,
`BASE_PATH/2.setsail` or folders of these numbers; which of them are served is looked at again as often as
`--repository-poll` says.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

from setsail.catalog import Configure, ModelConfig
from setsail.errors import SetsailError
from setsail.server.foreign.configuration import Foreign

__all__ = ["read"]

_READER: Final = "setsail.protocols.grpc.tf_serving.configuration"  # it loads protobuf


def read(path: Path) -> Foreign:
    """The models of a file, and the folders they may come from.

    Raises:
        SetsailError: `setting.value`.
    """
    read_text = import_module(_READER).read_text
    try:
        found = read_text(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise _refused(f"the file cannot be read: {fault.strerror}", str(path)) from fault
    except UnicodeDecodeError as fault:
        raise _refused("the file is not UTF-8", str(path)) from fault
    except SetsailError as fault:
        raise _refused(f"{path.name}: {fault.what}", fault.value, fault.expected) from fault
    folders = list(dict.fromkeys(map(_folder, found.models)))
    return Foreign({"model_store": ",".join(folders)}, asks=(Configure(found.models),), notes=found.notes)


def _folder(model: ModelConfig) -> str:
    base = model.base_path
    if not base.startswith("/") or "," in base:
        raise _refused(
            f"the base_path of {model.name!r} is no folder of this machine", base, "an absolute path without a comma"
        )
    return base


def _refused(what: str, value: str | None, expected: str | None = None) -> SetsailError:
    return SetsailError("setting.value", what, field="--config", value=value, expected=expected)
