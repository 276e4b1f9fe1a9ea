"""The proof: an image answers the artifact's stored samples over HTTP, held against the source's own answers."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.loadtest.wires import WIRES
from setsail.parity import Check, compare
from setsail.signature import DEFAULT, Signature, TensorSpec
from setsail.targets.container.room import Room
from setsail.tensors import NULL, Array

__all__ = ["ask", "replay"]

_ROWS: Final = 64  # of one request
_SECONDS: Final = 60.0


def replay(opened: Artifact, room: Room) -> tuple[Check, ...]:
    """Serve in a room, send every stored sample of every signature, compare, and end it.

    Raises:
        SetsailError: `ship.run` where it does not start, does not answer, or does not end when it is told to.
    """
    url = room.serve()["url"]
    checks = []
    for name, one in opened.signatures.items():
        for what in ("synthetic", "example"):
            if (sample := one.samples(what)) is not None:
                answers = _all(one, url, sample[0], "" if name == DEFAULT else name)
                checks.append(compare(one.signature, sample[1], answers, what=what, batch=0,
                                      tolerance=one.parity.tolerance))  # fmt: skip
    if codes := [code for code in room.stop() if code]:
        raise SetsailError(
            "ship.run", "the image did not end in good order after SIGTERM", value=codes[0], expected="0"
        )
    return tuple(checks)


def _all(opened: Artifact, url: str, rows: Mapping[str, Array], named: str) -> dict[str, Array]:
    """The answers to all rows, in as many requests as it takes; the default signature is named ""."""
    if not opened.signature.batched:
        return ask(url, opened.name, opened.signature, rows, named)
    total = len(next(iter(rows.values())))
    size = min(_ROWS, opened.variants[0].max_batch or _ROWS)
    parts = [ask(url, opened.name, opened.signature, {n: a[i : i + size] for n, a in rows.items()}, named)
             for i in range(0, total, size)]  # fmt: skip
    return {spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in opened.signature.outputs}


def ask(url: str, model: str, signature: Signature, rows: Mapping[str, Array], named: str = "") -> dict[str, Array]:
    """One request in the Open Inference Protocol. Raises `ship.run` for any answer but 200."""
    raw = any(isinstance(value, bytes) for array in rows.values() if array.dtype == object for value in array.ravel())
    wire = WIRES["v2-binary" if raw else "v2"]  # JSON has no bytes, and the binary form no missing text
    body, headers = wire.body(model, signature.inputs, rows, named)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_SECONDS)
    wanted: dict[str, Any] = {}
    try:
        if raw:
            body, headers = _plain_answer(body, headers)
        connection.request("POST", wire.path.replace("{model}", model), body, dict(headers))
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise SetsailError("ship.run", f"the image answers {reply.status} to a stored sample",
                               value=text[:200].decode(errors="replace"))  # fmt: skip
        wanted = {output["name"]: output for output in json.loads(text)["outputs"]}
    except (OSError, http.client.HTTPException, ValueError, KeyError) as fault:
        raise SetsailError("ship.run", "the image does not answer a stored sample", value=str(fault)) from fault
    finally:
        connection.close()
    return {spec.name: _array(spec, wanted[spec.name]) for spec in signature.outputs if spec.name in wanted}


def _plain_answer(body: bytes, headers: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """The same request with its answer in JSON, which says of a text that it is missing."""
    (name,) = (key for key in headers if key.lower() == "inference-header-content-length")
    length = int(headers[name])
    head = json.loads(body[:length])
    head["parameters"] |= {"binary_data_output": False}
    told = json.dumps(head).encode()
    return told + body[length:], dict(headers) | {name: str(len(told))}


def _array(spec: TensorSpec, output: Mapping[str, Any]) -> Array:
    missing = NULL if spec.dtype.kind == "string" else math.nan
    values = [missing if value is None else value for value in output["data"]]
    made = np.empty(len(values), dtype=spec.dtype.numpy)
    made[:] = values
    return made.reshape(output["shape"])
