"""The one thing the serving side knows about running a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from setsail.signature import Signature
from setsail.tensors import Array

__all__ = ["Runner"]


class Runner(Protocol):
    """A loaded model.

    `tests/contracts/test_runner.py` is the contract in full: outputs by name in the signature's order, dtypes and
    shapes; inputs never changed; two threads may call `run` at once; after `close` a run raises `model.not_ready`.
    """

    signature: Signature
    max_batch: int | None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run checked inputs (as `binding.bind` returns them). Raises `model.run` when the runtime fails."""
        ...

    def close(self) -> None: ...
