"""A script of another platform as an `Entry`."""

from __future__ import annotations

from pathlib import Path

from setsail.apps.code import Entry
from setsail.apps.pyfunc_entry import digest, model_name
from setsail.convert.scripts import SAGEMAKER, in_folder, of_file, requirements, unpacked
from setsail.errors import SetsailError

__all__ = ["entry"]

_KINDS = {SAGEMAKER: "sagemaker"}


def entry(path: Path) -> Entry:
    """The code of a folder, of a `model.tar.gz` or of a script alone, whose folder is then the model's.

    Raises:
        SetsailError: `source.damaged` for an archive that cannot be unpacked; `app.load` for a file that is no script.
    """
    path = path.resolve()
    name = model_name(path)
    if path.is_dir():
        folder, found = path, in_folder(path)
    elif path.suffix == ".py":
        known = of_file(path)
        folder = path.parent.parent if path.parent.name == "code" else path.parent
        name, found = model_name(folder), (known, path) if known else None
    else:
        folder = unpacked(path)
        name = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
        found = in_folder(folder)
    if found is None:
        raise SetsailError("app.load", f"{path.name} has no script that answers requests", field="PATH",
                           value=str(path), expected="code/inference.py or score.py")  # fmt: skip
    form, script = found
    options = {"script": str(script), "folder": str(folder)}
    # A script answers one request at a time, and one that fails must not take others along.
    return Entry(_KINDS.get(form, "azure"), folder, f"{path.name} ({script.name})", options, name, max_batch=1,
                 digest=digest(folder), requirements=requirements(folder, form, script))  # fmt: skip
