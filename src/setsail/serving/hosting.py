"""A model that is no artifact: something in this process that runs on its own, and may fall down and get up again.

The house asks it to open and is told when to look at it again. `server/apps.py` has the one that there is: a person's
code in a process of its own. A `Host` makes it of a path, where the path is such code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from setsail.artifact import Artifact
from setsail.catalog import Terms
from setsail.serving.leases import Loaded

__all__ = ["Host", "Hosted", "Source"]


class Hosted(Protocol):
    """What a house needs of it. Equal ones are the same model.

    Its runner has an attribute `down`: why it cannot answer at this moment, empty while it can.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def source(self) -> str: ...

    def on(self, terms: Terms) -> Hosted:
        """The same as whoever registers it wants it run: how many requests share a call, and how long one waits."""
        ...

    def open(self, look: Callable[[Any], object]) -> Loaded:
        """Bring it up. Raises what keeps it from answering.

        Args:
            look: to be called with the runner whenever its `down` has changed, from any thread.
        """
        ...


Source = Path | Artifact | Hosted
Host = Callable[[Path], Hosted | None]  # raises what keeps the code from being run, such as `source.trust`
