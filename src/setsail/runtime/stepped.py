"""A runner whose requests and answers go through the model's steps."""

from __future__ import annotations

from collections.abc import Mapping

from setsail.runtime.runner import Runner
from setsail.runtime.steps import prepare
from setsail.signature import Signature
from setsail.steps import Processing
from setsail.tensors import Array

__all__ = ["Stepped"]


class Stepped:
    """A program's runner with what is done around it; to all others it is the model.

    Raises:
        SetsailError: `dependency.missing` when a step's package is not installed, `model.failed` for a file that a step
            cannot read.
    """

    def __init__(self, runner: Runner, signature: Signature, processing: Processing) -> None:
        self.signature = signature
        self.max_batch, self.weights = runner.max_batch, runner.weights
        self._runner = runner
        self._before = prepare(processing.before, processing.files)
        self._after = prepare(processing.after, processing.files)
        self._fed = [spec.name for spec in processing.inner(signature).inputs]
        self._outputs = [spec.name for spec in signature.outputs]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        answers = self._after(self._runner.run(self._request(inputs)))
        return {name: answers[name] for name in self._outputs}

    def rest(self, inputs: Mapping[str, Array]) -> None:
        self._runner.rest(self._request(inputs))

    def close(self) -> None:
        self._runner.close()

    def _request(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        done = self._before(inputs)
        return {name: done[name] for name in self._fed}
