"""A runner whose requests and answers go through the model's steps."""

from __future__ import annotations

from collections.abc import Mapping

from setsail.errors import SetsailError
from setsail.runtime.runner import Runner
from setsail.runtime.steps import prepare
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing
from setsail.tensors import Array

__all__ = ["Stepped"]


class Stepped:
    """A program's runner with what is done around it; to all others it is the model.

    Raises:
        SetsailError: `dependency.missing` when a step's package is not installed, `model.failed` for a file that a step
            cannot read. Runs raise what steps do (`prepare`), and `input.shape` for an image or a text whose size is
            not one that the program takes.
    """

    def __init__(self, runner: Runner, signature: Signature, processing: Processing) -> None:
        self.signature = signature
        self.max_batch, self.weights = runner.max_batch, runner.weights
        self._runner = runner
        self._fed = processing.inner(signature).inputs
        self._before = prepare(processing.before, processing.files, [spec.name for spec in self._fed])
        self._after = prepare(processing.after, processing.files)
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
        for spec in self._fed:
            _fits(spec, done[spec.name])
        return {spec.name: done[spec.name] for spec in self._fed}


def _fits(spec: TensorSpec, array: Array) -> None:
    """What steps make of a client's values has their sizes: an image's, where no step resizes it; a text's tokens."""
    free = len(array.shape) == len(spec.shape)
    if not free or any(isinstance(d, int) and d != s for d, s in zip(spec.shape, array.shape, strict=True)):
        raise SetsailError(
            "input.shape", f"the request has another size than the model takes, as {spec.name!r}", field=spec.name,
            value=list(array.shape), expected=str(spec),
        )  # fmt: skip
