"""An opened artifact: facts from the checked manifest, payloads as views of the mapped file."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from setsail import tensorfile
from setsail.artifact import manifest, rendering
from setsail.artifact.layout import STEPS, Slot
from setsail.errors import SetsailError
from setsail.parity import ParityReport
from setsail.signature import DEFAULT, Signature, TensorSpec
from setsail.steps import Processing
from setsail.tensors import Array, dtype_of
from setsail.variants import Variant

__all__ = ["Artifact"]


class Artifact:
    """A model file that passed every check of `read`. Use as a context manager, or `close` it.

    Attributes:
        path: where it was read from; None for one in memory.
        manifest: the manifest as parsed JSON. Do not change it.
        digest: SHA-256 of the manifest, which covers every member: the artifact's identity.
        size: bytes of the whole file.
    """

    def __init__(
        self,
        path: Path | None,
        body: Mapping[str, Any],
        digest: str,
        view: memoryview,
        slots: Mapping[str, Slot],
        mapped: mmap.mmap | None,
    ) -> None:
        self.path = path
        self.manifest = body
        self.digest = digest
        self.size = len(view)
        self._view: memoryview | None = view
        self._slots = slots
        self._mapped = mapped

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def version(self) -> int:
        return int(self.manifest["version"])

    @property
    def framework(self) -> str:
        return str(self.manifest["framework"])

    @property
    def versions(self) -> Mapping[str, str]:
        """Package -> version, of the packages that took part in packing."""
        return dict(self.manifest["versions"])

    @property
    def estimator(self) -> str:
        return str(self.manifest["estimator"])

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        return dict(self.manifest["hyperparameters"])

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self.manifest["notes"])

    @cached_property
    def signature(self) -> Signature:
        """The signature `serving_default`, with its default outputs."""
        return manifest.signature_of(self.manifest)

    @cached_property
    def others(self) -> Mapping[str, Artifact]:
        """The model's other signatures by name, each as an artifact whose `serving_default` it is: the same name,
        version and digest, its own variants, steps, samples and parity report. They are closed with this one."""
        return {name: self._turned(name) for name in manifest.others(self.manifest)}

    @property
    def signatures(self) -> Mapping[str, Artifact]:
        """Every signature by name, `serving_default` (this) first; without aliases."""
        return {DEFAULT: self, **self.others}

    @property
    def aliases(self) -> Mapping[str, str]:
        """Further names, and whose they are: a key of `signatures`."""
        return manifest.aliases(self.manifest)

    def under(self, name: str) -> Artifact:
        """The signature of this name or alias.

        Raises:
            SetsailError: `model.signature`, with the names that there are.
        """
        found = self.signatures.get(self.aliases.get(name, name))
        if found is None:
            raise SetsailError("model.signature", f"{self.name} has no signature {name!r}", field="--signature",
                               value=name, expected=", ".join((*self.signatures, *self.aliases)))  # fmt: skip
        return found

    @cached_property
    def processing(self) -> Processing:
        """What is done around every program; its files are views of the mapped file."""
        names = [name for name in self._slots if name.startswith(STEPS)]
        views = {name.removeprefix(STEPS): self.member(name) or memoryview(b"") for name in names}
        return manifest.processing_of(self.manifest, views)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Ways to run the model, best first."""
        return manifest.variants_of(self.manifest)

    @cached_property
    def parity(self) -> ParityReport:
        return ParityReport.from_json(self.manifest["parity"])

    def member(self, name: str) -> memoryview | None:
        """A member's bytes without a copy, or None where there is no such member."""
        slot = self._slots.get(name)
        return None if slot is None else self._open()[slot.offset : slot.end]

    def files(self, variant_id: str) -> dict[str, memoryview]:
        """A variant's files by relative name: views of the mapped file, each beginning at a multiple of 64 bytes.

        Raises:
            KeyError: there is no such variant.
        """
        view = self._open()
        return {name: view[slot.offset : slot.end] for name, slot in self._of(variant_id).items()}

    def slices(self, variant_id: str) -> dict[str, tuple[str, int, int]]:
        """The same as (path, offset, length), for a child process (in its own folder) to map by itself."""
        path = os.path.abspath(str(self.path))
        return {name: (path, slot.offset, slot.entry.length) for name, slot in self._of(variant_id).items()}

    def digests(self, variant_id: str) -> dict[str, str]:
        """SHA-256 of a variant's files, as the manifest states and `read` has checked."""
        members = self.manifest["members"]
        return {name: str(members[f"variants/{variant_id}/{name}"]["sha256"]) for name in self._of(variant_id)}

    def samples(self, what: str = "synthetic") -> tuple[dict[str, Array], dict[str, Array]] | None:
        """Stored inputs and the source model's outputs for them, or None where none were kept.

        Args:
            what: "synthetic" (drawn, nobody's rows) or "example" (rows given when packing).

        Raises:
            SetsailError: `artifact.member` when the arrays are not the signature's.
        """
        data = self.member(f"samples/{what}.safetensors")
        if data is None:
            return None
        arrays = tensorfile.decode(data)
        inputs = {s.name: _sample(arrays, f"in.{i}", s) for i, s in enumerate(self.signature.inputs)}
        outputs = {s.name: _sample(arrays, f"out.{i}", s) for i, s in enumerate(self.signature.outputs)}
        if len(arrays) != len(inputs) + len(outputs):
            raise SetsailError("artifact.member", "a sample has arrays the signature does not", value=sorted(arrays))
        rows = {len(array) for array in arrays.values() if array.ndim}
        if self.signature.batched and len(rows) != 1:
            raise SetsailError(
                "artifact.member", "a sample's arrays differ in their number of rows", value=sorted(rows)
            )
        return inputs, outputs

    def close(self) -> None:
        """Let go of the file. Views that are still held keep the mapping alive until they go."""
        view, self._view = self._view, None
        if view is None:
            return
        for other in self.__dict__.get("others", {}).values():
            other.close()
        with suppress(BufferError):
            view.release()
            if self._mapped is not None:
                self._mapped.close()

    def __enter__(self) -> Artifact:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def facts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What it holds and what was measured of it, for people: headings, each with its lines."""
        return rendering.facts(self.manifest)

    def __repr__(self) -> str:
        return rendering.terminal(self.manifest, self.digest, self.size, self.path)

    def _repr_html_(self) -> str:
        return rendering.page(self.manifest, self.digest, self.size, self.path)

    def _open(self) -> memoryview:
        if self._view is None:
            raise ValueError(f"the artifact {self.name} is closed")
        return self._view

    def _turned(self, name: str) -> Artifact:
        folder = manifest.folder_of(name)
        slots = {n.removeprefix(folder): slot for n, slot in self._slots.items() if n.startswith(folder)}
        view = memoryview(self._open())
        return Artifact(self.path, manifest.turned(self.manifest, name), self.digest, view, slots, None)

    def _of(self, variant_id: str) -> dict[str, Slot]:
        prefix = f"variants/{variant_id}/"
        found = {name[len(prefix) :]: slot for name, slot in self._slots.items() if name.startswith(prefix)}
        if not found:
            raise KeyError(f"no variant {variant_id!r}; there are {', '.join(v.id for v in self.variants)}")
        return found


def _sample(arrays: Mapping[str, Array], key: str, spec: TensorSpec) -> Array:
    array = arrays.get(key)
    if array is None or dtype_of(array) != spec.dtype or not _fits(array, spec):
        raise SetsailError("artifact.member", f"a sample of {spec.name!r} does not fit the signature", field=spec.name,
                           value=None if array is None else f"{array.dtype}{list(array.shape)}",
                           expected=str(spec))  # fmt: skip
    return array


def _fits(array: Array, spec: TensorSpec) -> bool:
    return array.ndim == len(spec.shape) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(spec.shape, array.shape, strict=True)
    )
