"""The one thing the serving side knows about running a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from setsail.signature import Signature
from setsail.tensors import Array

__all__ = ["Options", "Runner", "Weights"]


class Options(NamedTuple):
    """How a variant is loaded.

    Attributes:
        threads: of one run; 1 is right for anything that answers in under a few milliseconds.
        identity: names the files' content and what may run them (`artifact.verdict.key`). With one, large weights are
            kept on disk as the runtime needs them, and processes share them; "" keeps nothing.
    """

    threads: int = 1
    identity: str = ""


class Weights(NamedTuple):
    """Where a runner has its weights: mapped from `path` and shared with every process that maps it, or of its own.

    `note` says why large ones are not shared; "" where there was nothing to share.
    """

    path: str = ""
    note: str = ""


class Runner(Protocol):
    """A loaded model.

    `tests/contracts/test_runner.py` is the contract in full: outputs by name in the signature's order, dtypes and
    shapes; inputs never changed; two threads may call `run` at once; after `close` a run raises `model.not_ready`.
    """

    signature: Signature
    max_batch: int | None
    weights: Weights

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run checked inputs (as `binding.bind` returns them). Raises `model.run` when the runtime fails."""
        ...

    def rest(self, inputs: Mapping[str, Array]) -> None:
        """Run once more, and let go of the memory that larger runs before have taken. Raises as `run` does."""
        ...

    def close(self) -> None: ...
