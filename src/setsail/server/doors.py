"""The doors of a server: every port that the same models are asked on, and what each answers.

One door is the rule: the data port, every wire on it. `--as FLAVOUR` puts a flavour's ports in its place, and each
`--listen PORT=FLAVOUR` adds one. A supervisor and its workers make the same list from the same settings, so that a
socket is known by its place in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from setsail.errors import SetsailError
from setsail.protocols.flavours import (
    DATA,
    FLAVOURS,
    GRPC,
    GRPC_MANAGEMENT,
    METRICS,
    ROLES,
    Flavour,
    Port,
    listened,
    renumbered,
)
from setsail.server.listeners import url
from setsail.server.settings import LOOPBACK, Settings

if TYPE_CHECKING:
    from setsail.protocols.table import Table

__all__ = ["TOKENS", "Door", "about", "admin_port", "asks_for_tokens", "doors", "write_tokens"]

TOKENS: Final = "setsail.server.tokens"
_WITH_TOKENS: Final = "torchserve"
PORT: Final = 8080  # where the data port is unless a flavour has its own


class Door(Struct, frozen=True):
    """One port.

    Attributes:
        port: its number; 0 picks a free one.
        flag: what to give to have it elsewhere, with `{}` for the number.
        flavour: who is imitated; None on the data port of a server without flavours.
    """

    host: str
    port: int
    flag: str
    flavour: Flavour | None = None
    row: Port | None = None

    @property
    def role(self) -> str:
        return DATA if self.row is None else self.row.role

    @property
    def guarded(self) -> bool:
        """Whether it changes what is served, and so is on the admin address and without TLS, as the admin port is."""
        return ROLES[self.role].guarded

    @property
    def control(self) -> bool:
        """Whether its clients may change what is served without being told so (`--model-control`)."""
        return self.guarded or (self.row is not None and self.row.control)

    @property
    def grpc(self) -> bool:
        return ROLES[self.role].grpc

    def table(self) -> Table:
        table: Table = import_module("setsail.protocols.table").DATA if self.row is None else self.row.table()
        return table


def doors(settings: Settings) -> tuple[Door, ...]:
    """All doors; the first is where REST clients predict. Raises `setting.value` for a number given twice."""
    chosen = FLAVOURS.get(settings.as_)
    if chosen is None:
        found = [Door(settings.host, settings.port, "--port {}")]
    else:
        numbers = _numbers(chosen, settings)
        found = [
            _door(chosen, port, numbers[port.number], f"--ports {port.number}={{}}", settings) for port in chosen.ports
        ]
    for number, name in listened(settings.listen):
        found.append(_door(FLAVOURS[name], FLAVOURS[name].data, number, f"--listen {{}}={name}", settings))
    taken: set[int] = set()
    for door in found:
        if door.port in taken:
            raise SetsailError(
                "setting.value", f"port {door.port} is given twice", field=door.flag.partition(" ")[0],
                value=door.flag.format(door.port), expected="a port of its own for every door",
            )  # fmt: skip
        taken |= {door.port} - {0}
        if door.control:
            _check_control(door, settings)
    return tuple(found)


def _check_control(door: Door, settings: Settings) -> None:
    """Whoever may change what is served is on this machine, or has a key, or is SageMaker's platform: it says that the
    process is in one of its containers, where nobody else comes."""
    contained = door.role == DATA and os.environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
    keyed = settings.api_key_file or asks_for_tokens(door, settings)
    if door.host not in LOOPBACK and not keyed and not contained:
        flag = "--admin-host" if door.guarded else "--host"
        raise SetsailError(
            "setting.value", f"clients of {door.flavour and door.flavour.name} change what is served", field=flag,
            value=door.host, expected="a loopback address, or an --api-key-file",
        )  # fmt: skip


def asks_for_tokens(door: Door, settings: Settings) -> bool:
    """Whether its clients need one of TorchServe's tokens."""
    return bool(settings.token_file) and door.flavour is not None and door.flavour.name == _WITH_TOKENS and (
        door.role != METRICS
    )  # fmt: skip


def write_tokens(found: Iterable[Door], settings: Settings) -> None:
    """Write the file of tokens, where a door asks for them. Raises `setting.value`."""
    if any(asks_for_tokens(door, settings) for door in found):
        import_module(TOKENS).tokens(settings).create()


def _numbers(chosen: Flavour, settings: Settings) -> dict[int, int]:
    """A flavour's numbers: its own, or as `--port` (0 frees all, another is the first's) and `--ports` say."""
    numbers = {port.number: 0 if settings.port == 0 else port.number for port in chosen.ports}
    if settings.port not in (0, PORT):
        numbers[chosen.data.number] = settings.port
    return numbers | renumbered(settings.ports, chosen.name)


def _door(flavour: Flavour, row: Port, number: int, flag: str, settings: Settings) -> Door:
    return Door(settings.admin_host if ROLES[row.role].guarded else settings.host, number, flag, flavour, row)


def admin_port(settings: Settings, numbers: Iterable[int]) -> int:
    """The admin port's number: the next free of those that doors have not taken, where one has taken its own."""
    taken, number = set(numbers), settings.admin_port
    while number > 0 and number in taken:
        number += 1
    return number


def about(found: Iterable[Door], numbers: Iterable[int], settings: Settings) -> list[dict[str, Any]]:
    """The doors as the ready line lists them."""
    told = []
    for door, number in zip(found, numbers, strict=True):
        at = url(door.host, number, bool(settings.tls_cert) and not door.guarded)
        name = None if door.flavour is None else door.flavour.name
        told.append({"flavour": name, "role": door.role, "port": number,
                     "url": at.partition("://")[2] if door.role in (GRPC, GRPC_MANAGEMENT) else at})  # fmt: skip
    return told
