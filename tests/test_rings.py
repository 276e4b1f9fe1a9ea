"""What was refused is forgotten: nothing of a request stays in memory for the garbage collector to find.

A fault knows the stack it came by, and the stack's frames know the request. Who keeps the fault closes a ring, which
holds bodies of many megabytes until the collector comes, or for ever where one link of it is a struct that the
collector was told not to look at. `scripts/fuzz.py` watches the same from outside.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
from collections.abc import Callable, Iterator

import msgspec
import pytest

import setsail
from setsail.errors import SetsailError
from setsail.messages import Request
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import DATA

# Structs without the collector's care, which save a little time for each. All they hold is text, bytes and numbers, or
# what JSON makes of them; `Digits.read` is a function of a module.
CARELESS = {
    "Answer", "Digits", "Form", "Infer", "Input", "Message", "Wanted", "_ExactInfer", "_ExactInput", "_ExactWanted",
    "_Sent", "_Split",
}  # fmt: skip


def structs() -> Iterator[type]:
    for found in pkgutil.walk_packages(setsail.__path__, "setsail."):
        if found.name.startswith(("setsail.protocols", "setsail.messages", "setsail.serving", "setsail.scheduling")):
            module = importlib.import_module(found.name)
            yield from (v for v in vars(module).values() if isinstance(v, type) and issubclass(v, msgspec.Struct))


def test_no_struct_that_may_be_in_a_ring_is_hidden_from_the_collector() -> None:
    assert {s.__name__ for s in structs() if not s.__struct_config__.gc} == CARELESS  # type: ignore[attr-defined]


class Body(bytearray):
    """A body that tells when it is gone."""

    gone: list[str]

    def __del__(self) -> None:
        self.gone.append("gone")


def _invocations(body: bytearray) -> object:
    return DATA.route(HttpRequest("POST", "/invocations", headers={}, body=memoryview(body)))


def _torchserve(body: bytearray) -> object:
    return DATA.route(HttpRequest("POST", "/predictions/m", headers={}, body=memoryview(body)))


@pytest.mark.parametrize("decode", [_invocations, _torchserve])
def test_a_body_that_is_no_request_goes_with_its_answer(decode: Callable[[bytearray], object]) -> None:
    Body.gone = []
    gc.disable()
    try:
        exchange = decode(Body(b"[[1,2],x"))
        assert isinstance(exchange.ask, Request)  # type: ignore[attr-defined]
        assert not Body.gone
        del exchange
        assert Body.gone
    finally:
        gc.enable()


def test_a_fault_that_is_kept_has_no_stack() -> None:
    try:
        try:
            int("x")
        except ValueError as cause:
            raise SetsailError("request.json", "no number") from cause
    except SetsailError as fault:
        kept = fault.kept()
    assert kept.__traceback__ is None
    assert kept.__cause__ is not None
    assert kept.__cause__.__traceback__ is None
    assert isinstance(kept.__cause__, ValueError)  # the reason stays, for the log
