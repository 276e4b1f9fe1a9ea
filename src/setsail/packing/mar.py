"""A TorchServe archive around an ONNX program: the program, its signature, and a handler that needs onnxruntime only.

The handler is `mar_handler.py`, as it stands. Steps are not in it: TorchServe would need setsail to do them, so a model
that has some is refused by their names. Before an archive is given, a child process unpacks it, initialises the handler
as TorchServe does, and sends it the stored rows as JSON.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from setsail import isolation, tensorfile
from setsail.artifact import Artifact
from setsail.convert.conversion import Probe
from setsail.errors import SetsailError
from setsail.parity import ParityReport, compare
from setsail.signature import Signature
from setsail.tensors import NULL, Array
from setsail.variants import Variant

__all__ = ["answers", "archive", "try_archive"]

_HANDLER: Final = Path(__file__).with_name("mar_handler.py")
_NAME: Final = "setsail_handler.py"
_DAY: Final = (1980, 1, 1, 0, 0, 0)  # no clock: equal models give equal archives


def archive(opened: Artifact, variant: Variant, name: str = "") -> bytes:
    """The archive's bytes, of a model of this name (by default its own).

    Raises:
        SetsailError: `convert.unsupported` for a model with steps, or whose input is bytes.
    """
    if opened.processing:
        kinds = ", ".join(dict.fromkeys(step.kind for step in opened.processing.steps))
        raise SetsailError("convert.unsupported", f"{opened.name} has steps, which a handler of TorchServe cannot do",
                           field="--to", value="mar", expected="a model without steps; it has " + kinds,
                           todo="serve it: setsail serve FILE --as torchserve; or export --to onnx, which has the "
                           "steps beside it")  # fmt: skip
    signature = opened.signature.to_json() | {
        "defaults": list(opened.signature.defaults), "batched": opened.signature.batched,
        "max_batch": variant.max_batch, "file": variant.entry,
    }  # fmt: skip
    manifest = {
        "runtime": "python", "archiverVersion": "0.12.0",
        "model": {
            "modelName": name or opened.name, "modelVersion": f"{opened.version}.0", "serializedFile": variant.entry,
            "handler": _NAME, "requirementsFile": "requirements.txt",
        },
    }  # fmt: skip
    contents = {
        "MAR-INF/MANIFEST.json": _json(manifest),
        **{name: bytes(data) for name, data in opened.files(variant.id).items()},
        _NAME: _HANDLER.read_bytes(),
        "requirements.txt": f"numpy\nonnxruntime>={metadata.version('onnxruntime')}\n".encode(),
        "signature.json": _json(signature),
    }
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in contents.items():
            made.writestr(zipfile.ZipInfo(name, _DAY), data, zipfile.ZIP_DEFLATED)
    return written.getvalue()


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n"


def try_archive(opened: Artifact, variant: Variant, path: Path, rows: Sequence[Probe]) -> ParityReport:
    """Have a child process answer the stored rows by the archive's own handler, and compare what it answers with."""
    signature = opened.signature
    own = replace(signature, outputs=tuple(s for s in signature.outputs if s.name in signature.defaults))
    checks = []
    with tempfile.TemporaryDirectory(prefix="setsail-mar-") as made:
        folder = Path(made)
        for index, probe in enumerate(rows):
            (folder / f"in{index}").write_bytes(tensorfile.encode(probe.inputs))
        arguments = {"archive": str(path.absolute()), "signature": own.to_json(), "defaults": list(own.defaults),
                     "rows": [f"in{index}" for index in range(len(rows))]}  # fmt: skip
        isolation.call("setsail.packing.mar:answers", arguments, folder, require_network_cut=False)
        for index, probe in enumerate(rows):
            ours = tensorfile.decode((folder / f"in{index}.out").read_bytes())
            checks.append(compare(own, probe.outputs, ours, what=probe.what, tolerance=opened.parity.tolerance))
    return ParityReport("mar", variant.precision, opened.parity.tolerance, tuple(checks))


# -- in the child process -----------------------------------------------------------------------------------------


def answers(arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Unpack an archive of ours and have its handler answer rows, all in one request and the first one alone."""
    place = folder / "model"
    with zipfile.ZipFile(arguments["archive"]) as opened:
        opened.extractall(place)
    spec = util.spec_from_file_location("setsail_handler", place / _NAME)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = SimpleNamespace(system_properties={"model_dir": str(place), "gpu_id": None})
    handler = module.SetsailHandler()
    handler.initialize(context)
    signature = Signature.from_json(arguments["signature"], tuple(arguments["defaults"]))
    for name in arguments["rows"]:
        inputs = tensorfile.decode((folder / name).read_bytes())
        body = json.dumps({name: _values(array) for name, array in inputs.items()}).encode()
        (whole,) = handler.handle([{"body": body}], context)
        found = _arrays(signature, json.loads(json.dumps(whole)))
        (folder / f"{name}.out").write_bytes(tensorfile.encode(found))
        if signature.batched:
            body = json.dumps({name: _values(array[0]) for name, array in inputs.items()}).encode()
            (one,) = handler.handle([{"data": body}], context)
            if len(one) != 1:
                raise ValueError("one row is answered by several")
    return {"initialized": handler.initialized}


def _values(array: Any) -> Any:
    """As JSON has them: a missing text is null."""
    values = array.tolist() if hasattr(array, "tolist") else array
    return _nulled(values)


def _nulled(values: Any) -> Any:
    if isinstance(values, list):
        return [_nulled(value) for value in values]
    return None if isinstance(values, str) and values == NULL else values


def _arrays(signature: Signature, answer: Any) -> dict[str, Array]:
    """The handler's answer as the signature's default outputs."""
    found = {}
    for spec in signature.outputs:
        if len(signature.outputs) == 1:
            values = answer
        else:
            values = [row[spec.name] for row in answer] if signature.batched else answer[spec.name]
        if spec.dtype.kind == "string":
            values = [NULL if value is None else value for value in values] if isinstance(values, list) else values
        found[spec.name] = np.array(values, dtype=spec.dtype.numpy)
    return found
