"""Which model format a file is of, by its bytes; names and extensions only break ties.

Cheap on purpose: headers, zip directories and the outermost protobuf fields are read, never weights. Nothing is loaded.
"""

from __future__ import annotations

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from setsail.convert import mar, pickles, scripts
from setsail.convert.formats import FORMATS, FRAMEWORKS, Source
from setsail.convert.mlflow.flavours import FLAVOURS, find
from setsail.convert.skops_schema import unknown_types
from setsail.convert.tensorflow import graph_operators, keras_config
from setsail.errors import SetsailError

__all__ = ["recognise"]

_HEAD: Final = 4096

# Magic bytes: offset, bytes, format.
_MAGIC: Final = (
    (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (0, b"CBM1", "catboost"),
    (4, b"TFL3", "tflite"),
    (0, b"binf", "xgboost-binary"),
    (0, b"RDX", "r"),
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "torch-legacy"),
    (0, b"tree\nversion=", "lightgbm-text"),
)
_TARS: Final = (".tar.gz", ".tgz")
_SAVED_MODEL: Final = ("saved_model.pb", "saved_model.cpb", "saved_model.pbtxt")
_ROWS: Final = ((b"\x93NUMPY", "a numpy array"), (b"PAR1", "a Parquet table"))


def recognise(path: Path, framework: str | None = None) -> Source:
    """Find out what a model file or directory is.

    Args:
        framework: `--framework`: says whose a pickle is; for any other format it must agree with the file.

    Raises:
        SetsailError: `source.missing`, `source.unknown` (also for formats of later versions, by name),
            `source.llm` or `source.damaged`.
    """
    if not path.exists():
        raise SetsailError("source.missing", f"there is no model at {path}", field="SRC", value=str(path))
    if framework is not None and framework not in FRAMEWORKS:
        raise SetsailError("source.unknown", "this framework is not known", field="--framework", value=framework,
                           expected=", ".join(FRAMEWORKS))  # fmt: skip
    found = _directory(path, framework) if path.is_dir() else _file(path)
    if found is None:
        raise _unknown(path)
    row = FORMATS[found.format]
    if row.later and found.format != "setsail":
        raise SetsailError("source.unknown", f"{path.name} is a {row.title}, which this version does not convert",
                           value=str(path), todo=row.later)  # fmt: skip
    if framework is not None and found.framework != framework:
        if row.framework:
            raise SetsailError("source.unknown", f"{path.name} is a {row.title}", field="--framework", value=framework,
                               expected=row.framework)  # fmt: skip
        found = replace(found, framework=framework)
    return found


def _unknown(path: Path) -> SetsailError:
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir())[:8]
        return SetsailError("source.unknown", f"{path} is a directory without one model in it", value=inside,
                            expected="a model file, or a directory with exactly one")  # fmt: skip
    with path.open("rb") as file:
        head = file.read(16)
    for magic, what in _ROWS:
        if head.startswith(magic):
            return SetsailError("source.unknown", f"{path.name} is {what}, not a model", value=head,
                                todo="pass rows with -i or --example")  # fmt: skip
    return SetsailError(
        "source.unknown", f"{path.name} is of no model format we know by its first bytes", value=head,
        expected="one of " + ", ".join(dict.fromkeys(r.title.split(" (")[0] for r in FORMATS.values() if not r.later)),
        todo="save the model with its framework's own function; see docs/frameworks",
    )  # fmt: skip


def _plain(path: Path, name: str) -> Source:
    row = FORMATS[name]
    return Source(path, name, row.framework or None, row.trust)


def _scanned(path: Path, name: str, found: tuple[str, ...]) -> Source:
    """A format that is data unless a scan found more in it; then it is the format of that name with `-code`."""
    if not found:
        return _plain(path, name)
    row = FORMATS[f"{name}-code"]
    return Source(path, f"{name}-code", row.framework, row.trust, findings=pickles.Findings(dangerous=found))


# -- files -----------------------------------------------------------------------------------------------------------


def _file(path: Path) -> Source | None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if not head:
            raise SetsailError("source.damaged", f"{path.name} is empty", value=str(path))
        if head.startswith(b"GGUF"):
            raise _llm(path, "a GGUF file")
        for offset, magic, name in _MAGIC:
            if head[offset : offset + len(magic)] == magic:
                return _scanned(path, name, keras_config.text_findings(path)) if name == "hdf5" else _plain(path, name)
        if head.startswith(b"PK\x03\x04"):
            return _zip(path)
        if head.startswith(b"\x1f\x8b") and path.name.endswith(_TARS):
            if mar.holds(path):
                return _mar(path)
            if scripts.in_archive(path):
                return _plain(path, scripts.SAGEMAKER)
        if learner := _json_like(head):
            return _plain(path, learner)
        size = path.stat().st_size
        if _is_safetensors(file, head, size):
            return _plain(path, "safetensors")
        if (found := _pickle(path, head)) is not None:
            return found
        if _is_onnx(file, size):
            return _plain(path, "onnx")
    if path.suffix == ".onnx":
        raise SetsailError("source.damaged", f"{path.name} is no complete ONNX model", value=head[:16],
                           expected="a protobuf with a graph")  # fmt: skip
    if b"<PMML" in head:
        return _plain(path, "pmml")
    if path.suffix == ".py" and b"\0" not in head:
        return _plain(path, scripts.of_file(path) or "factory")
    if path.name in _SAVED_MODEL:
        return _saved_model(path.parent)
    return None


def _json_like(head: bytes) -> str | None:
    """XGBoost's JSON and UBJSON: an object whose first keys are `learner` and `version`."""
    if head[:2] in (b"{L", b"{l", b"{I", b"{i", b"{U") and b"learner" in head[:64]:
        return "xgboost-ubj"
    text = head.lstrip()
    if text[:1] == b"{" and (b'"learner"' in text[:256] or (b'"version"' in text[:32] and b'"learner"' in text)):
        return "xgboost-json"
    return None


def _is_safetensors(file: BinaryIO, head: bytes, size: int) -> bool:
    """Eight bytes of length, then a JSON object of that length."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    length = struct.unpack("<Q", head[:8])[0]
    if not 2 <= length <= min(size - 8, 100 << 20):
        return False
    file.seek(8)
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and all(isinstance(v, dict) for v in header.values())


# Fields of onnx.ModelProto by number: whether they are varints (wire type 0) or length-delimited (2).
_ONNX_FIELDS: Final[Mapping[int, int]] = {
    1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2,
}  # fmt: skip


def _is_onnx(file: BinaryIO, size: int) -> bool:
    """Walk the outermost protobuf fields, skipping contents: all known, the file used up, graph and opset there."""
    position = 0
    seen: set[int] = set()
    for _ in range(100_000):
        if position == size:
            return {7, 8} <= seen
        file.seek(position)
        window = file.read(24)
        tag, used = _varint(window, 0)
        field, wire = tag >> 3, tag & 7
        if used == 0 or _ONNX_FIELDS.get(field) != wire:
            return False
        value, used = _varint(window, used)
        if used == 0:
            return False
        position += used + (value if wire == 2 else 0)
        if position > size:
            return False
        seen.add(field)
    return False


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """A protobuf varint and the offset behind it; offset 0 where there is none."""
    value = 0
    for index in range(start, min(start + 10, len(data))):
        value |= (data[index] & 0x7F) << (7 * (index - start))
        if data[index] < 0x80:
            return value, index + 1
    return 0, 0


def _pickle(path: Path, head: bytes) -> Source | None:
    compressed = False
    if not pickles.is_pickle(head):
        try:
            inner = pickles.unpacked(path, 64)
        except zlib.error:  # two bytes that only look like zlib's
            return None
        except (OSError, EOFError, lzma.LZMAError) as fault:
            raise SetsailError("source.damaged", f"{path.name} is compressed and cannot be unpacked",
                               value=str(fault)) from fault  # fmt: skip
        if inner[:3] in (b"RDX", b"X\n\0") and head[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7"):
            return _plain(path, "r")
        compressed = inner[:64] != head[:64]
        if not pickles.is_pickle(inner):
            return None
    findings = pickles.scan(path)
    joblib = compressed or path.suffix == ".joblib" or any(n.startswith("joblib.") for n in findings.known)
    order = ("torch", "xgboost", "lightgbm", "catboost", "sklearn")
    framework = next((f for f in order if f in findings.frameworks), None)
    if "sklearn" in findings.frameworks and framework in ("xgboost", "lightgbm"):
        framework = None if _has_sklearn_estimator(findings) else framework
    return Source(path, "joblib" if joblib else "pickle", framework, "pickle", findings=findings)


def _has_sklearn_estimator(findings: pickles.Findings) -> bool:
    """Whether a booster's pickle also holds a pipeline or the like, so that only loading tells whose it is."""
    ours = [n for n in findings.known if n.startswith("sklearn.")]
    return any(not n.startswith(("sklearn.utils.", "sklearn.preprocessing._label.")) for n in ours)


# -- zips --------------------------------------------------------------------------------------------------------------


def _zip(path: Path) -> Source | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            return _archive(path, archive, names)
    except pickles.ZIP_FAULTS as fault:
        raise SetsailError("source.damaged", f"{path.name} is a zip that cannot be read", value=str(fault)) from fault


def _archive(path: Path, archive: zipfile.ZipFile, names: list[str]) -> Source | None:
    bare = {n.partition("/")[2] for n in names} | set(names)
    if {"manifest.json", "seal.json"} <= bare:
        return _plain(path, "setsail")
    if mar.MANIFEST in names:
        return _mar(path)
    if "archive_format" in bare or any(n.startswith("models/") and n.endswith(".json") for n in bare):
        return _plain(path, "pt2")
    if {"serialized_exported_program.json", "version"} <= set(names):
        return _plain(path, "pt2")
    if {"config.json", "metadata.json"} <= set(names) or "model.weights.h5" in names:
        return _scanned(path, "keras", keras_config.archive_findings(path))
    if "schema.json" in names:
        return _skops(path, archive)
    if "constants.pkl" in bare and any(n.startswith("code/") for n in bare):
        return _plain(path, "torchscript")
    if "data.pkl" in bare:
        return _torch_zip(path)
    return None


def _mar(path: Path) -> Source:
    """By its manifest: a program, whose own loading may take trust; or code that handles requests."""
    found = mar.archive(path)
    source = _plain(path, "mar" if mar.handled(found) else "mar-handler")
    return replace(source, trust=mar.trust(found), name=found.name, version=found.version)


def _torch_zip(path: Path) -> Source:
    """A state dict holds tensors and nothing else; any other name means a module was pickled whole."""
    findings = pickles.scan(path)
    every = {*findings.dangerous, *findings.unknown, *findings.known}
    weights = (
        all(n.startswith(("torch._utils._rebuild_", "collections.OrderedDict")) or _is_storage(n) for n in every)
        and not findings.notes
    )
    if weights:
        return _plain(path, "state-dict")
    return Source(path, "torch-module", "torch", "pickle", findings=findings)


# Names of torch that a state dict has beside storages; the last four where the weights are quantised.
_DATA: Final = ("Size", "device", "qint8", "quint8", "per_tensor_affine", "per_channel_affine")


def _is_storage(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return (module == "torch" and (last.endswith("Storage") or last in _DATA)) or name.startswith(
        "torch.serialization._get_layout"
    )


def _skops(path: Path, archive: zipfile.ZipFile) -> Source:
    if archive.getinfo("schema.json").file_size > 64 << 20:
        raise SetsailError("source.damaged", f"{path.name} has an over-large schema", field="schema.json")
    try:
        unknown = unknown_types(json.loads(archive.read("schema.json")))
    except (ValueError, RecursionError) as fault:
        raise SetsailError("source.damaged", f"{path.name} has no readable schema", field="schema.json") from fault
    if not unknown:
        return _plain(path, "skops")
    return Source(path, "skops-types", "sklearn", "pickle", findings=pickles.judge(unknown, []))


# -- directories -------------------------------------------------------------------------------------------------------


def _directory(path: Path, framework: str | None) -> Source | None:
    files = tuple(sorted(p for p in path.rglob("*") if p.is_file()))[:10_000]
    top = {p.name: p for p in files if p.parent == path}
    if path / mar.MANIFEST in files:
        return _mar(path)
    if "MLmodel" in top:
        return _mlflow(path, files)
    if script := scripts.in_folder(path):
        return replace(_plain(path, script[0]), files=files)
    if any(marker in top for marker in _SAVED_MODEL):
        return _saved_model(path)
    if "config.json" in top and (hugging := _hugging_face(path, top["config.json"], top)) is not None:
        return hugging
    models = [found for p in top.values() if (found := _quietly(p)) is not None and found.format != "setsail"]
    named = [m for m in models if m.path.stem == "model"]
    chosen = named if len(named) == 1 else models
    if len(chosen) != 1:
        return None
    only = chosen[0]
    return Source(only.path, only.format, only.framework, only.trust, files, only.findings)


def _mlflow(path: Path, files: tuple[Path, ...]) -> Source:
    """By the flavour whose model we read; else what only MLflow's own `python_function` runs."""
    document, known = find(path)
    inner = None
    if known is not None:
        inner = _directory(known.path, None) if known.path.is_dir() else _file(known.path)
        if inner is None or inner.format not in known.row.formats:
            raise SetsailError(
                "source.damaged", f"{path.name} says its {known.path.name} is a model of flavour {known.flavour}",
                field="MLmodel", value=inner.describe() if inner else "no model we know", expected=known.flavour,
            )  # fmt: skip
        if not FORMATS[inner.format].later:
            return Source(path, "mlflow", inner.framework, inner.trust, files, inner.findings, inner)
    if document.pyfunc is not None:
        return Source(path, "mlflow-pyfunc", None, "pyfunc", files)
    raise SetsailError(
        "source.unknown", f"{path.name} is an MLflow model directory without a flavour that is read here",
        field="MLmodel", value=list(document.flavours), expected=", ".join(FLAVOURS),
        todo=FORMATS[inner.format].later if inner else "save it with the python_function flavour, or export it to ONNX",
    )  # fmt: skip


def _saved_model(path: Path) -> Source:
    """A SavedModel by its `saved_model.pb`. TensorFlow prefers other files that say the same; those are not scanned."""
    others = [name for name in _SAVED_MODEL[1:] if (path / name).exists()]
    if others:
        raise SetsailError("source.unknown", f"{path.name} is a SavedModel in the form of {others[0]}",
                           value=others[0], expected=_SAVED_MODEL[0],
                           todo="load it in TensorFlow and save it with tf.saved_model.save")  # fmt: skip
    return _scanned(path, "saved-model", graph_operators.findings(path / _SAVED_MODEL[0]))


def _quietly(path: Path) -> Source | None:
    """A file beside others: not every one must be a model; Python files never are the model of a directory."""
    if path.suffix == ".py":
        return None
    try:
        return _file(path)
    except SetsailError as fault:
        if fault.code == "source.llm":
            raise
        return None


def _hugging_face(path: Path, config: Path, top: Mapping[str, Path]) -> Source | None:
    try:
        body: Any = json.loads(config.read_bytes()[: 1 << 20])
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not ("model_type" in body or "architectures" in body):
        return None
    architectures = body.get("architectures") or []
    if any(str(a).endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for a in architectures):
        raise _llm(path, str(architectures[0]))
    if any(n.endswith(".onnx") for n in top):
        return None
    if any(n in top for n in ("model.safetensors", "model.safetensors.index.json")):
        return _plain(path, "transformers")
    pickled = next((top[n] for n in sorted(top) if n.startswith("pytorch_model") and n.endswith(".bin")), None)
    return None if pickled is None else replace(_plain(path, "transformers-bin"), findings=pickles.scan(pickled))


def _llm(path: Path, what: str) -> SetsailError:
    return SetsailError(
        "source.llm", f"{path.name} is a large language model ({what})", value=str(path),
        todo="serve it with vLLM, or llama.cpp for GGUF: engines made for them do this better",
    )  # fmt: skip
