"""Triton's model repository, read as it is: `<model>/config.pbtxt`, and `<model>/<version>/model.onnx`.

A model is packed once, when it is first loaded, and then held against its configuration: names, dtypes and sizes that
clients were told must be those of the program. An artifact in a version's folder is taken instead of the file. Models
without a configuration are served as Triton completes it: the latest version, as the file describes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from setsail import artifact as artifacts
from setsail.catalog import Policy
from setsail.errors import SetsailError
from setsail.messages import ModelRef, Request, Tensors
from setsail.messages import Tensor as Sent
from setsail.server.foreign.triton_config import FILE, Config, Filled, Tensor, WarmUp, read, refused
from setsail.serving import rehearsal
from setsail.serving.configured import chosen
from setsail.serving.leases import Loaded
from setsail.serving.repository import Found, Stamp, refuse_twins, stamp, versions, visible
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["is_one", "notes", "scan"]

_SUFFIX: Final = ".setsail"
_WARM_UP: Final = "warmup"
Pack = Callable[..., Path]  # (path, intent's fields by name) -> artifact


def is_one(root: Path) -> bool:
    """Whether a directory holds models with configurations of Triton's, or is one."""
    return bool(_folders(root)) and any((folder / FILE).is_file() for folder in _folders(root))


def notes(root: Path) -> tuple[str, ...]:
    """What configurations say that does not carry over. Those that cannot be read are told when they are loaded."""
    found: list[str] = []
    for folder in _folders(root):
        if (folder / FILE).is_file():
            try:
                found += read(folder).notes
            except SetsailError:
                continue
    return tuple(found)


def scan(root: Path, pack: Pack) -> dict[Path, Found]:
    """What versions are there and meant. Raises OSError when the directory cannot be listed."""
    return refuse_twins({place: found for folder in _folders(root) for place, found in _model(folder, pack)})


def _folders(root: Path) -> list[Path]:
    if (root / FILE).is_file():
        return [root]
    return [Path(entry.path) for entry in visible(root) if entry.is_dir()]


def _model(folder: Path, pack: Pack) -> Iterator[tuple[Path, Found]]:
    name = folder.name
    numbered = {int(e.name): Path(e.path) for e in visible(folder) if e.is_dir() and _is_version(e.name)}
    if not (folder / FILE).is_file():
        for place, found in versions(folder, True, name):
            if found.version is None or found.version in chosen([*numbered], Policy(latest=1)):
                yield place, found
        return
    about = _about(folder)
    try:
        config = read(folder)
        labels = _labels(folder, config)
        samples = [request for one in config.warm_ups for request in _requests(folder, config, one)]
    except SetsailError as fault:
        # Triton serves nothing of it, and has its name among the models that are not available
        version = max(numbered, default=1)
        place = numbered.get(version, folder / str(version))
        yield place, Found(place, name, version, about + stamp(place), fault)
        return
    for version in sorted(chosen([*numbered], config.policy)):
        yield numbered[version], _version(numbered[version], version, config, labels, samples, about, pack)


def _version(
    place: Path, version: int, config: Config, labels: tuple[str, ...], samples: list[Request], about: Stamp, pack: Pack
) -> Found:
    name = place.parent.name
    ours = [Path(e.path) for e in visible(place) if e.name.endswith(_SUFFIX)]
    source = ours[0] if len(ours) == 1 else place / config.file
    missing = None
    if not source.exists():
        missing = refused(name, "default_model_filename", config.file, f"a file in the folder {name}/{version}")

    def prepare() -> Path:
        made = source if ours else pack(source, labels=labels)
        with artifacts.read(made) as opened:
            _agree(name, config, labels, opened.signature)
        return made

    def rehearse(called: str, loaded: Loaded) -> None:
        rehearsal.run(called, loaded, samples, what="model_warmup", lenient=True)

    return Found(source, name, version, about + stamp(place), missing, prepare, rehearse if samples else None)


def _is_version(name: str) -> bool:
    """Folders that Triton takes for versions; it leaves others alone."""
    return name.isascii() and name.isdigit() and not name.startswith("0")


def _about(folder: Path) -> Stamp:
    """Of the files beside the versions: a changed configuration is a changed version."""
    files = [Path(entry.path) for entry in visible(folder) if not entry.is_dir()]
    found = [fact for file in files for fact in stamp(file)]
    warm = folder / _WARM_UP
    return tuple(sorted(found)) + (stamp(warm) if warm.is_dir() else ())


# -- what the packed model must keep ------------------------------------------------------------------------------


def _labels(folder: Path, config: Config) -> tuple[str, ...]:
    """The lines of the label file of the one output that has one."""
    named = [output for output in config.outputs if output.labels]
    if not named:
        return ()
    if len(named) > 1:
        raise refused(folder.name, "output.label_filename", [o.labels for o in named], "labels for one output")
    try:
        text = (folder / named[0].labels).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise refused(folder.name, "output.label_filename", named[0].labels, "a file of texts, a line each") from fault
    return tuple(line.strip() for line in text.rstrip().splitlines())


def _agree(name: str, config: Config, labels: tuple[str, ...], signature: Signature) -> None:
    """Raises `repository.config` where clients were told something else than the program takes and gives."""
    if config.batched and not signature.batched:
        raise refused(name, "max_batch_size", "more than 0", "0: the graph's first axes are no batch",
                      "export the graph with a free first axis, or say max_batch_size: 0")  # fmt: skip
    for what, told, have in (("input", config.inputs, signature.inputs), ("output", config.outputs, signature.outputs)):
        specs = {spec.name: spec for spec in have}
        for tensor in told:
            _same(name, what, tensor, specs, batched=config.batched)
        if what == "input" and told and (left := set(specs) - {t.name for t in told}):
            raise refused(name, "input", sorted(left), "every input of the graph")
    wanted = next((o.name for o in config.outputs if o.labels), None)
    if wanted is not None and signature.output(wanted).labels != labels:
        raise refused(name, "output.label_filename", len(labels), f"as many labels as {wanted!r} has classes")


def _same(name: str, what: str, told: Tensor, specs: Mapping[str, TensorSpec], *, batched: bool) -> None:
    spec = specs.get(told.name)
    if spec is None:
        raise refused(name, f"{what}.name", told.name, "one of " + ", ".join(specs))
    if spec.dtype is not told.dtype:
        raise refused(name, f"{what}.data_type", told.dtype.oip, f"{spec.dtype.oip}, the dtype of {told.name!r}")
    dims = spec.oip_shape()[1:] if batched else spec.oip_shape()
    fits = len(dims) == len(told.dims) and all(-1 in pair or pair[0] == pair[1]
                                               for pair in zip(dims, told.dims, strict=True))  # fmt: skip
    if not fits:
        raise refused(name, f"{what}.dims", list(told.dims), f"{dims}, the shape of {told.name!r}")


# -- warm-up ------------------------------------------------------------------------------------------------------


def _requests(folder: Path, config: Config, sample: WarmUp) -> list[Request]:
    """A warm-up as requests. Raises `repository.config` for inputs that the model does not have, or files."""
    known = {tensor.name for tensor in config.inputs}
    strange = [filled.name for filled in sample.inputs if known and filled.name not in known]
    if strange:
        raise refused(folder.name, "model_warmup.inputs.key", strange[0], "one of " + ", ".join(sorted(known)))
    sent = []
    for filled in sample.inputs:
        row = _filled(folder, filled)
        array = np.stack([row] * sample.batch) if config.batched else row
        sent.append(Sent(filled.name, array, filled.dtype, array.shape))
    return [Request(ModelRef(folder.name), Tensors(tuple(sent)))] * sample.count


def _filled(folder: Path, filled: Filled) -> Array:
    """One row of an input."""
    text = filled.dtype.kind == "string"
    if filled.how == "input_data_file":
        try:
            data = (folder / _WARM_UP / filled.file).read_bytes()
            array = _texts(data) if text else np.frombuffer(data, filled.dtype.numpy)
            return array.reshape(filled.dims)
        except (OSError, ValueError, UnicodeDecodeError) as fault:
            wanted = f"a file in {_WARM_UP}/ with {list(filled.dims)} values of {filled.dtype.oip}"
            raise refused(
                folder.name, "model_warmup.inputs.value.input_data_file", filled.file, wanted
            ) from fault  # fmt: skip
    if text:  # Triton has no random texts
        return np.full(filled.dims, "", dtype=object)
    if filled.how == "zero_data":
        return np.zeros(filled.dims, filled.dtype.numpy)
    drawn = np.random.default_rng(0).random(filled.dims)
    return drawn.astype(filled.dtype.numpy) if filled.dtype.kind == "float" else (drawn * 2).astype(filled.dtype.numpy)


def _texts(data: bytes) -> Array:
    """Texts, each after its length in four bytes. Raises ValueError for anything else."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + size > len(data):
            raise ValueError("the last text is cut off")
        found.append(data[at + 4 : at + 4 + size].decode("utf-8"))
        at += 4 + size
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array
