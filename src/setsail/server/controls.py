"""What clients have had changed since the server began, as a worker that starts later must do it again.

A log, kept short: a change that makes earlier ones pointless drops them, so that a server whose models come and go for
years keeps no more than it has models. Bodies are what `questions.py` made; nothing here reads them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["PATIENT", "Controls", "Said"]

# Which changes replace one another for the same subject. What is not here is no change.
_GROUPS: Final = {
    "Load": "load", "Unload": "load", "Register": "register", "Unregister": "unregister", "SetDefault": "default",
    "Scale": "scale", "Configure": "configure", "PutRoute": "route",
}  # fmt: skip
PATIENT: Final = frozenset((*_GROUPS, "Locate"))  # kinds that take as long as loading or packing takes


class Said(NamedTuple):
    """One change. `subject`: the model and perhaps its version, `credit` or `credit/3`; "" for all models."""

    kind: str
    body: bytes
    subject: str

    @property
    def model(self) -> str:
        return self.subject.partition("/")[0]


class Controls:
    """The log."""

    def __init__(self) -> None:
        self._log: list[Said] = []

    @staticmethod
    def changes(kind: str) -> bool:
        """Whether a kind of question changes what is served."""
        return kind in _GROUPS

    def note(self, said: Said, *, lasting: bool = True) -> None:
        """A change was made by all workers.

        Args:
            lasting: False for an Unregister of what no worker has when it starts.
        """
        group = _GROUPS[said.kind]
        if said.kind == "Unregister":
            self._log = [one for one in self._log if not self._undone(one, said)]
            if not lasting:
                return
        self._log = [one for one in self._log if _GROUPS[one.kind] != group or not _replaces(said, one)]
        self._log.append(said)

    def replay(self) -> tuple[Said, ...]:
        """What to do, in this order."""
        return tuple(self._log)

    @staticmethod
    def _undone(one: Said, by: Said) -> bool:
        """Whether an Unregister makes an earlier change pointless; another Unregister holds until it is replaced."""
        if one.kind in ("Unregister", "Configure") or one.model != by.model:
            return False
        whole = "/" not in by.subject
        return whole or one.subject == by.subject


def _replaces(said: Said, one: Said) -> bool:
    """Whether a change of the same group is replaced: a default is the model's, all else the subject's."""
    return said.model == one.model if said.kind == "SetDefault" else said.subject == one.subject
