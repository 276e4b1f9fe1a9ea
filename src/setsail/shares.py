"""The outputs of a run that was shared by requests of one row each: cut, and written, for all of them at once.

Whoever answers such a request needs a row of every output. Cutting it out and writing it as text costs a few
microseconds a request, and nearly nothing more for the whole run; so a wire may write every row's answer when it is
asked for the first, and is given the others by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from setsail.tensors import Array

__all__ = ["Run", "Share"]

Told = TypeVar("Told")
Writer = Callable[[Any, Mapping[str, Array]], list[Told]]


class Run:
    """All outputs of a run, each with one first axis, and what was written of them. For one thread."""

    __slots__ = ("arrays", "written")

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        self.written: dict[Writer[Any], list[Any]] = {}


class Share(Mapping[str, Array]):
    """One row of every output, as arrays of one row."""

    __slots__ = ("index", "run")

    def __init__(self, run: Run, index: int) -> None:
        self.run, self.index = run, index

    def __getitem__(self, name: str) -> Array:
        row: Array = self.run.arrays[name][self.index : self.index + 1]
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self.run.arrays)

    def __len__(self) -> int:
        return len(self.run.arrays)

    def values(self) -> Any:  # as the inherited one, in fewer steps
        index = self.index
        return [array[index : index + 1] for array in self.run.arrays.values()]

    def items(self) -> Any:
        index = self.index
        return [(name, array[index : index + 1]) for name, array in self.run.arrays.items()]

    def text(self, write: Writer[Told], response: Any) -> Told:
        """This row as `write(response, arrays of all rows)` writes it, which is asked once a run.

        It may look at nothing of the response that differs from row to row.
        """
        written = self.run.written.get(write)
        if written is None:
            written = self.run.written[write] = write(response, self.run.arrays)
        told: Told = written[self.index]
        return told
