"""A Conversion as files in a folder: how it comes back from a child process.

    parcel.json        everything but arrays and programs
    probeI.in|.out     tensor files
    programI.J         the files of each program, raw
    stepI              the files that steps need, raw
    otherK.…           the same files once more, of the K-th of its other signatures

What is read was written by code we do not trust. So nothing is followed, executed or guessed: files must be plain
files of a bounded size, JSON must have exactly the fields below with values of the right types, arrays must fit the
signature. Everything else is refused with `child.failed`.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

from setsail import tensorfile
from setsail.convert.conversion import Conversion, Probe, Program
from setsail.convert.outputs import OUTPUTS
from setsail.errors import SetsailError
from setsail.signature import CONTENTS, Signature, TensorSpec
from setsail.steps import Processing
from setsail.tensors import BY_NAME, Array, dtype_of
from setsail.variants import FORMATS, Variant

__all__ = ["load", "save"]

_INDEX: Final = "parcel.json"
MAX_INDEX: Final = 64 << 20
MAX_FILE: Final = 16 << 30
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){0,3}")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_PROBES: Final = ("example", "synthetic", "boundary", "tied")


# -- writing, in the child -------------------------------------------------------------------------------------------


def save(conversion: Conversion, folder: Path) -> None:
    """Write a conversion into the folder."""
    _save(conversion, folder, "")
    for k, other in enumerate(conversion.others.values()):
        _save(other, folder, f"other{k}.")


def _save(conversion: Conversion, folder: Path, lead: str) -> None:
    """One signature; the names of its files begin with `lead`."""
    programs = []
    for i, program in enumerate(conversion.programs):
        files = {}
        for j, (name, data) in enumerate(program.files.items()):
            files[name] = f"{lead}program{i}.{j}"
            (folder / files[name]).write_bytes(data)
        variant = program.variant
        programs.append({
            "id": variant.id, "format": variant.format, "precision": variant.precision, "entry": variant.entry,
            "settings": dict(variant.settings), "max_batch": variant.max_batch, "files": files,
        })  # fmt: skip
    probes = []
    for i, probe in enumerate(conversion.probes):
        (folder / f"{lead}probe{i}.in").write_bytes(tensorfile.encode(probe.inputs))
        (folder / f"{lead}probe{i}.out").write_bytes(tensorfile.encode(probe.outputs))
        probes.append({"what": probe.what, "leaf_span": float(probe.leaf_span)})
    step_files = {name: f"{lead}step{i}" for i, name in enumerate(conversion.processing.files)}
    for name, stored in step_files.items():
        (folder / stored).write_bytes(conversion.processing.files[name])
    body = {
        "framework": conversion.framework,
        "versions": dict(conversion.versions),
        "estimator": conversion.estimator,
        "kind": conversion.kind,
        "signature": conversion.signature.to_json(),
        "defaults": list(conversion.signature.defaults),
        "programs": programs,
        "probes": probes,
        **conversion.processing.to_json(),
        "step_files": step_files,
        "hyperparameters": dict(conversion.hyperparameters),
        "notes": list(conversion.notes),
        "others": list(conversion.others),
        "aliases": dict(conversion.aliases),
    }
    (folder / (lead + _INDEX)).write_text(json.dumps(body))


# -- reading, in the parent ------------------------------------------------------------------------------------------


def load(folder: Path) -> Conversion:
    """Read what a child left in the folder. Raises `child.failed` for anything that `save` would not have written."""
    made, names = _load(folder, "")
    others = [_load(folder, f"other{k}.") for k in range(len(names))]
    if len(set(names)) < len(names) or any(further for _, further in others):
        _refuse("its other signatures are not listed as they should be")
    return replace(made, others={name: other for name, (other, _) in zip(names, others, strict=True)})


def _load(folder: Path, lead: str) -> tuple[Conversion, list[str]]:
    """One signature without the others, and their names."""
    index = lead + _INDEX
    try:
        body = json.loads(_read(folder, index, MAX_INDEX))
    except (ValueError, RecursionError) as fault:
        _refuse(f"{index} is no JSON", fault)
    top = _record(body, _TOP, "the conversion")
    signature = _signature(top["signature"], top["defaults"])
    if top["kind"] not in OUTPUTS:
        _refuse(f"there is no kind of model {top['kind']!r}")
    probes = (_record(p, _PROBE, "a probe") for p in top["probes"])
    programs = (_record(p, _PROGRAM, "a program") for p in top["programs"])
    made = Conversion(
        framework=top["framework"], versions=top["versions"], estimator=top["estimator"], kind=top["kind"],
        signature=signature, processing=_processing(top, folder, signature, f"{lead}step"),
        hyperparameters=top["hyperparameters"], notes=tuple(top["notes"]),
        programs=tuple(_program(p, f"{lead}program{i}", folder) for i, p in enumerate(programs)),
        probes=tuple(_probe(p, f"{lead}probe{i}", folder, signature) for i, p in enumerate(probes)),
        aliases=top["aliases"],
    )  # fmt: skip
    return made, top["others"]


def _refuse(what: str, cause: BaseException | None = None) -> NoReturn:
    raise SetsailError(
        "child.failed", f"the child process handed back something that is no conversion: {what}", reason="answer",
        todo="do not trust this file: code in it tampered with the conversion",
    ) from cause  # fmt: skip


def _read(folder: Path, name: str, limit: int) -> bytes:
    """A plain file's bytes. Links, pipes and devices are refused, before anything of them is read."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(folder / name, flags)
    except OSError as fault:
        _refuse(f"{name} cannot be opened", fault)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            _refuse(f"{name} is no plain file")
        if status.st_size > limit:
            _refuse(f"{name} is larger than {limit >> 20} MiB")
        with open(handle, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(handle)


def _arrays(folder: Path, name: str) -> dict[str, Array]:
    try:
        return tensorfile.decode(_read(folder, name, MAX_FILE))
    except SetsailError as fault:
        if fault.code == "child.failed":
            raise
        _refuse(f"{name} is no tensor file", fault)


def _program(body: Mapping[str, Any], stem: str, folder: Path) -> Program:
    files = body["files"]
    if body["entry"] not in files or any(files[n] != f"{stem}.{j}" for j, n in enumerate(files)):
        _refuse("a program's files are not listed as they should be")
    variant = Variant(body["id"], body["format"], body["precision"], body["entry"], body["settings"], body["max_batch"])
    return Program(variant, {name: _read(folder, stored, MAX_FILE) for name, stored in files.items()})


def _processing(top: Mapping[str, Any], folder: Path, signature: Signature, stem: str) -> Processing:
    for step in top["steps"]:
        _record(step, _STEP, "a step")
    program = top["program"]
    if program is not None:
        _signature(_record(program, _INNER, "the program's signature"), program["defaults"])
    stored = top["step_files"]
    if any(stored[name] != f"{stem}{i}" for i, name in enumerate(stored)):
        _refuse("the steps' files are not listed as they should be")
    files = {name: _read(folder, place, MAX_FILE) for name, place in stored.items()}
    try:
        processing = Processing.from_json(top, files)
        processing.check(signature)
    except SetsailError as fault:
        _refuse("the steps are not such as we have", fault)
    return processing


def _probe(body: Mapping[str, Any], stem: str, folder: Path, signature: Signature) -> Probe:
    inputs, outputs = _arrays(folder, f"{stem}.in"), _arrays(folder, f"{stem}.out")
    sizes: dict[str, int] = {}
    for specs, arrays in ((signature.inputs, inputs), (signature.outputs, outputs)):
        if set(arrays) != {s.name for s in specs}:
            _refuse("a probe's arrays are not those of the signature")
        for spec in specs:
            _fits(spec, arrays[spec.name], sizes)
    ordered = {s.name: inputs[s.name] for s in signature.inputs}, {s.name: outputs[s.name] for s in signature.outputs}
    return Probe(body["what"], *ordered, body["leaf_span"])


def _fits(spec: TensorSpec, array: Array, sizes: dict[str, int]) -> None:
    if dtype_of(array) != spec.dtype or array.ndim != len(spec.shape):
        _refuse(f"a probe's {spec.name!r} is {array.dtype} of {array.ndim} dimensions, not {spec}")
    for dim, size in zip(spec.shape, array.shape, strict=True):
        if size != (sizes.setdefault(dim, size) if isinstance(dim, str) else dim):
            _refuse(f"a probe's {spec.name!r} has shape {array.shape}, not {spec}")


def _signature(body: Mapping[str, Any], defaults: list[str]) -> Signature:
    for side in ("inputs", "outputs"):
        specs = [_record(spec, _SPEC, f"one of the {side}", _SPEC_OPTIONAL) for spec in body[side]]
        names = [spec["name"] for spec in specs]
        if not names or len(set(names)) != len(names):
            _refuse(f"the {side} have no names of their own")
    if not defaults or not set(defaults) <= set(names):
        _refuse("the default outputs are not outputs")
    return Signature.from_json(body, tuple(defaults))


# -- the form: one row a field -----------------------------------------------------------------------------------------

Check = Callable[[Any], bool]


def _record(body: Any, fields: Mapping[str, Check], what: str, optional: Mapping[str, Check] | None = None) -> Any:
    """`body` with exactly these fields, each passing its check."""
    optional = optional or {}
    if not isinstance(body, dict) or not set(fields) <= set(body) <= set(fields) | set(optional):
        _refuse(f"{what} does not have the fields {', '.join(fields)}")
    for name, value in body.items():
        if not (fields.get(name) or optional[name])(value):
            _refuse(f"{what} has a bad {name}")
    return body


def _text(value: Any, limit: int = 4096) -> bool:
    """One line of printable text: it ends up in terminals and on pages."""
    return isinstance(value, str) and len(value) <= limit and value.isprintable()


def _name(value: Any) -> bool:
    return _text(value, 512) and value != ""


def _any_text(value: Any) -> bool:
    """A category or class label: any text that is text."""
    return isinstance(value, str) and len(value) <= 1 << 20 and _encodes(value)


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _dim(value: Any) -> bool:
    return _name(value) if isinstance(value, str) else type(value) is int and 0 <= value < 1 << 40


def _json(value: Any, depth: int = 0) -> bool:
    """JSON values with finite numbers, not too deep."""
    if depth > 32:
        return False
    if isinstance(value, dict):
        return all(_any_text(k) and _json(v, depth + 1) for k, v in value.items())
    if isinstance(value, list):
        return _all_json(value, depth + 1)
    if isinstance(value, float):
        return math.isfinite(value)
    return _any_text(value) if isinstance(value, str) else value is None or isinstance(value, int)


def _all_json(values: Iterable[Any], depth: int) -> bool:
    return all(_json(v, depth) for v in values)


def _object(value: Any) -> bool:
    return isinstance(value, dict) and _json(value)


def _file_map(value: Any) -> bool:
    return isinstance(value, dict) and all(_FILE_NAME.fullmatch(k) and _text(v) for k, v in value.items())


def _span(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value >= 0


_SPECS: Final = _list(_object)
_TOP: Final[Mapping[str, Check]] = {
    "framework": _name, "estimator": _text, "kind": _name, "notes": _list(_text), "defaults": _list(_name),
    "versions": lambda v: isinstance(v, dict) and all(_name(k) and _name(x) for k, x in v.items()),
    "signature": lambda v: isinstance(v, dict) and set(v) == {"inputs", "outputs"} and all(map(_SPECS, v.values())),
    "programs": lambda v: isinstance(v, list) and 0 < len(v) <= 16, "hyperparameters": _object,
    "steps": _list(_object), "program": lambda v: v is None or _object(v), "step_files": _file_map,
    "probes": lambda v: isinstance(v, list) and 0 < len(v) <= 64,
    "others": lambda v: isinstance(v, list) and len(v) < 64 and all(map(_name, v)),
    "aliases": lambda v: isinstance(v, dict) and len(v) < 64 and all(_name(k) and _name(x) for k, x in v.items()),
}  # fmt: skip
_PROGRAM: Final[Mapping[str, Check]] = {
    "id": lambda v: isinstance(v, str) and _ID.fullmatch(v) is not None, "format": lambda v: v in FORMATS,
    "precision": lambda v: v in ("float32", "float64"), "entry": _name, "settings": _object, "files": _file_map,
    "max_batch": lambda v: v is None or (v == 1 and type(v) is int),
}  # fmt: skip
_PROBE: Final[Mapping[str, Check]] = {"what": lambda v: v in _PROBES, "leaf_span": _span}
_STEP: Final[Mapping[str, Check]] = {"kind": _name, "inputs": _list(_name), "outputs": _list(_name), "options": _object}
_INNER: Final[Mapping[str, Check]] = {
    "inputs": _list(_object),
    "outputs": _list(_object),
    "defaults": _list(_name),
}
_SPEC: Final[Mapping[str, Check]] = {
    "name": _name, "dtype": lambda v: isinstance(v, str) and v in BY_NAME, "shape": _list(_dim),
}  # fmt: skip
_SPEC_OPTIONAL: Final[Mapping[str, Check]] = {
    "columns": _list(_any_text), "categories": _list(_any_text), "labels": _list(_any_text),
    "closed": lambda v: v is True, "nullable": lambda v: v is True, "content": lambda v: v in CONTENTS,
}  # fmt: skip
