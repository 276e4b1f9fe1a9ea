"""A draft to a file, atomically: `docs/format.md` §1 and §2."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from setsail import tensorfile
from setsail.artifact import manifest, seal
from setsail.artifact.artifact import Artifact
from setsail.artifact.canonical import decode, encode, spelled
from setsail.artifact.draft import SAMPLES, Draft, Facet, Sample
from setsail.artifact.layout import MANIFEST, SEAL, STEPS, Entry, check_name, order, place, tail
from setsail.artifact.read import read
from setsail.artifact.rendering import card
from setsail.errors import SetsailError
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array, dtype_of

__all__ = ["assemble", "pieces", "write"]


def write(draft: Draft, path: Path, *, force: bool = False) -> Artifact:
    """Write an artifact and read it back, verified.

    The file appears whole or not at all: it is written beside its place, synced, then renamed.

    Raises:
        SetsailError: `artifact.exists` without `force`; `artifact.missing` when the folder does not exist;
            `artifact.field`, `.member`, `.duplicate`, `.json` or `model.name` when the draft cannot be an artifact.
    """
    path = Path(path)
    if path.is_dir() or (path.exists() and not force):
        _refuse_existing(path)
    if not path.parent.is_dir():
        raise SetsailError("artifact.missing", "the folder to write to does not exist", field="output",
                           value=str(path.parent), todo="make the folder, or choose another -o")  # fmt: skip
    members = assemble(draft)
    part = path.parent / f".{path.name}.{os.urandom(6).hex()}.part"
    try:
        _write_synced(part, members)
        _put(part, path, force=force)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return read(path)


def assemble(draft: Draft) -> dict[str, bytes]:
    """Every member of the artifact with its bytes, in canonical order. The same draft gives the same bytes."""
    if not re.fullmatch(manifest.NAME, draft.name):
        raise SetsailError("model.name", "the model's name is not allowed", field="name", value=draft.name)
    payloads: dict[str, bytes] = {"environment.json": encode(spelled(draft.environment))}
    if draft.reference is not None:
        payloads["reference.json"] = encode(spelled(draft.reference))
    payloads |= _payloads(draft)
    for name, other in draft.others.items():
        payloads |= {manifest.folder_of(name) + member: content for member, content in _payloads(other).items()}
    _check_names(payloads)
    digests = {name: _digest(payload) for name, payload in payloads.items()}
    # The card is made from the manifest, and the manifest has the card's digest: so it is made from one without.
    payloads["card.md"] = card(dict(decode(manifest.dump(draft, digests), "the manifest"))).encode()
    body = manifest.dump(draft, digests | {"card.md": _digest(payloads["card.md"])})
    payloads |= {MANIFEST: body, SEAL: seal.dump(body)}
    return {name: payloads[name] for name in order(list(payloads))}


def pieces(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """The file as consecutive pieces, for members in canonical order."""
    slots = []
    for slot, header in place([Entry(name, len(data), zlib.crc32(data)) for name, data in members.items()]):
        slots.append(slot)
        yield header
        yield members[slot.entry.name]
    yield tail(slots)


def _payloads(facet: Facet) -> dict[str, bytes]:
    """The members of one signature, by name in its folder."""
    payloads: dict[str, bytes] = {}
    for what, sample in facet.samples.items():
        if what not in SAMPLES:
            raise SetsailError("artifact.field", "a sample of an unknown kind", field="samples", value=what,
                               expected=" or ".join(SAMPLES))  # fmt: skip
        payloads[f"samples/{what}.safetensors"] = _pack_sample(facet.signature, sample)
    for name, content in facet.processing.files.items():
        payloads[STEPS + name] = bytes(content)
    for variant, files in facet.variants:
        for name, content in files.items():
            payloads[f"variants/{variant.id}/{name}"] = content
    return payloads


def _digest(payload: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(payload).hexdigest(), "length": len(payload)}


def _check_names(payloads: Mapping[str, bytes]) -> None:
    folded: dict[str, str] = {}
    for name in payloads:
        check_name(name)
        if folded.setdefault(name.lower(), name) != name:
            raise SetsailError(
                "artifact.duplicate", "two files differ only in case", value=[folded[name.lower()], name]
            )


def _pack_sample(signature: Signature, sample: Sample) -> bytes:
    arrays: dict[str, Array] = {}
    for side, specs, given in (("in", signature.inputs, sample[0]), ("out", signature.outputs, sample[1])):
        if set(given) != {spec.name for spec in specs}:
            raise SetsailError("artifact.field", f"a sample's {side}puts are not the signature's", field="samples",
                               value=sorted(given), expected=", ".join(spec.name for spec in specs))  # fmt: skip
        arrays |= {f"{side}.{i}": _fitting(spec, given[spec.name]) for i, spec in enumerate(specs)}
    return tensorfile.encode(arrays)


def _fitting(spec: TensorSpec, array: Array) -> Array:
    if dtype_of(array) != spec.dtype or array.ndim != len(spec.shape):
        raise SetsailError("artifact.field", f"a sample of {spec.name!r} does not fit the signature", field="samples",
                           value=f"{array.dtype}{list(array.shape)}", expected=str(spec))  # fmt: skip
    return array.astype(spec.dtype.numpy, copy=False)  # numpy's own text dtypes become objects


def _write_synced(path: Path, members: Mapping[str, bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with open(descriptor, "wb") as file:
        file.writelines(pieces(members))
        file.flush()
        os.fsync(file.fileno())


def _put(part: Path, path: Path, *, force: bool) -> None:
    """Give the finished file its name. Linking, unlike renaming, fails when somebody was faster."""
    if force:
        os.replace(part, path)
    else:
        try:
            os.link(part, path)
        except FileExistsError:
            _refuse_existing(path)
        except OSError:  # a file system without hard links: the check above has to do
            os.replace(part, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_existing(path: Path) -> None:
    raise SetsailError("artifact.exists", "the output file exists", field="output", value=str(path))
