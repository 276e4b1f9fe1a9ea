"""How code is run: what its process may use, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, field

from setsail.isolation import Limits

__all__ = ["Terms"]


@dataclass(frozen=True)
class Terms:
    """An operator's decisions (`docs/settings.md`, the settings that begin with `app_`).

    Attributes:
        python: the interpreter that runs it, of this environment or of another one that has numpy.
        sandbox: False leaves namespaces and Landlock out; limits stay.
        network: True leaves it its network.
        seconds: of one call; 0 is no limit.
        start_seconds: until the file is imported.
        memory: bytes of address space; 0 is the machine's memory, at least 16 GiB.
        environment: variables that it sees beside the usual few.
        readable: folders that it may read beside its own and Python's.
        threads: of numerical libraries.
    """

    python: str = ""
    sandbox: bool = True
    network: bool = False
    seconds: float = 30.0
    start_seconds: float = 60.0
    memory: int = 0
    environment: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    threads: int = 1
    limits: Limits = field(default_factory=lambda: Limits(cpu_seconds=0, file_bytes=1 << 30))
