"""Bodies that go to the model and come back unchanged, on wires that leave them to it: SageMaker's, MLflow's, Azure's.

Code that reads requests by itself (`letters.py`) gets the body with its content type and headers, and what it answers
is the reply. For every other model the wire reads and writes as always; what it cannot read is only told then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from setsail.errors import SetsailError
from setsail.letters import REQUEST, Field, Letter, Reply
from setsail.messages import ModelRef, Request, Response, Unread
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.routes import Exchange

__all__ = ["verbatim"]

_SECRET: Final = ("authorization", "cookie")  # the server's affair and not the model's


def verbatim(request: HttpRequest, read: Callable[[], Exchange], model: Callable[[], ModelRef]) -> Exchange:
    """A prediction, for any model.

    Args:
        read: what the wire makes of the request.
        model: which one is meant, where it can make nothing of it.
    """
    letter = partial(_letter, request)
    try:
        known = read()
    except SetsailError as fault:
        return Exchange(Request(model(), Unread(fault.kept()), letter=letter), partial(_answer, _unwritten))
    ask = known.ask
    if not isinstance(ask, Request):
        return known
    lettered = Request(ask.model, ask.body, ask.outputs, ask.signature, ask.id, ask.parameters, letter)
    return Exchange(lettered, partial(_answer, known.encode))


def _letter(request: HttpRequest) -> Letter:
    headers = {name: text for name, text in request.headers.items() if name not in _SECRET}
    return Letter((Field("body", bytes(request.body), request.headers.get("content-type", "")),), headers)


def _answer(encode: Callable[[Any], HttpReply], response: Response) -> HttpReply:
    if response.signature.inputs[0].content != REQUEST:
        return encode(response)
    output, headers = (response.outputs[spec.name] for spec in response.signature.outputs)
    said = Reply.of(str(output[0]), str(headers[0]))
    return HttpReply(said.status, said.body, tuple(said.headers.items()), response.id)


def _unwritten(response: Response) -> HttpReply:
    raise AssertionError(f"an unread request was answered by {response.model}")  # binding refuses it
