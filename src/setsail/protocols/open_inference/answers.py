"""A prediction's answer: each output as JSON or as bytes after the JSON, whole or as its classes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from setsail.messages import Response
from setsail.protocols import binary
from setsail.protocols.http import JSON_HEADERS, HttpReply
from setsail.protocols.open_inference import content_types
from setsail.protocols.open_inference.classification import classified
from setsail.protocols.values import BARE, array_json, dump, joined, row_texts
from setsail.shares import Share
from setsail.tensors import Array, dtype_of

__all__ = ["AnswerForm", "deflated", "encode_plainly", "encode_raw", "prefers_deflate"]

_NOTHING: Final[Mapping[str, Any]] = {}


class AnswerForm(Struct, frozen=True):
    """How a client wants its answer.

    Attributes:
        id: echoed.
        wanted: order of the outputs; None for all of them.
        binary: which as bytes; others as `binary_default` says.
        classes: which as so many classes of each row.
        typed: each output says its content type (MLServer).
    """

    id: str
    wanted: tuple[str, ...] | None
    binary: Mapping[str, bool] = _NOTHING
    binary_default: bool = False
    classes: Mapping[str, int] = _NOTHING
    typed: bool = False

    def encode(self, response: Response) -> HttpReply:
        outputs = response.outputs
        if type(outputs) is Share and not (self.id or self.classes or self.typed) and _as_named(self.wanted, outputs):
            raw = [self.binary.get(name, self.binary_default) for name in outputs]
            if all(raw) or not any(raw):
                return encode_raw(response) if raw[0] else encode_plainly(response)
        parts, blobs = [_top(response.model, response.version)], []
        if self.id:
            parts += (b',"id":', dump(self.id))
        opening = b',"outputs":['
        for name in dict.fromkeys(self.wanted) if self.wanted else response.outputs:
            array = response.outputs[name]
            if name in self.classes:
                array = classified(response, name, self.classes[name])
            entry = _entry(name, array.dtype, array.shape)
            kind = b'"content_type":"%b"' % content_types.told(array).encode() if self.typed else b""
            if self.binary.get(name, self.binary_default):
                blobs.append(binary.pack(array))
                size = b'"binary_data_size":%d' % len(blobs[-1])
                parts += (opening, entry, b',"parameters":{', size + b"," + kind if kind else size, b"}")
            else:
                parts += (opening, entry)
                if kind:
                    parts += (b',"parameters":{', kind, b"}")
                parts += (b',"data":', array_json(array.ravel()))
            opening = b"},"
        parts.append(b"}]}" if opening == b"}," else b',"outputs":[]}')
        if not blobs:
            return HttpReply(200, b"".join(parts), JSON_HEADERS)
        header = b"".join(parts)
        return HttpReply(200, b"".join((header, *blobs)), _binary_headers(len(header)))


def _as_named(wanted: tuple[str, ...] | None, outputs: Mapping[str, Array]) -> bool:
    """Whether what was asked for is all there is, in that order."""
    return wanted is None or wanted == tuple(outputs)


_encode_all: Final = AnswerForm("", None).encode
_encode_raw: Final = AnswerForm("", None, binary_default=True).encode


def encode_raw(response: Response) -> HttpReply:
    """All outputs as bytes after the JSON."""
    outputs = response.outputs
    return outputs.text(_replies, response) if type(outputs) is Share else _encode_raw(response)


def _replies(response: Response, outputs: Mapping[str, Array]) -> list[HttpReply]:
    """The whole answer for every row by itself."""
    if any(array.dtype.kind in "OUST" for array in outputs.values()):  # whose bytes are as many as they are
        count = len(next(iter(outputs.values())))
        each = [{name: array[i : i + 1] for name, array in outputs.items()} for i in range(count)]
        return [_encode_raw(replace(response, outputs=own)) for own in each]
    first = _encode_raw(replace(response, outputs={name: array[:1] for name, array in outputs.items()}))
    arrays = [binary.rows(array) for array in outputs.values()]
    head = first.body[: len(first.body) - sum(len(rows[0]) for rows in arrays)]
    columns = [(b"" if at else head, rows) for at, rows in enumerate(arrays)]
    return [HttpReply(200, body, first.headers) for body in joined(columns, b"")]


def encode_plainly(response: Response) -> HttpReply:
    """All outputs as JSON; what requests of one row that were run together are told is written in one go."""
    outputs = response.outputs
    if type(outputs) is Share:
        return HttpReply(200, outputs.text(_bodies, response), JSON_HEADERS)
    return _encode_all(response)


def _bodies(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself."""
    lead = _top(response.model, response.version) + b',"outputs":['
    columns = []
    for name, array in outputs.items():
        entry = _entry(name, array.dtype, (1, *array.shape[1:]))
        flat = array.reshape(len(array), -1) if array.ndim > 2 else array
        opening, closing = (b"[", b"]},") if array.ndim == 1 else (b"", b"},")
        columns.append((lead + entry + b',"data":' + opening, row_texts(flat, b"", BARE)))
        lead = closing
    return joined(columns, lead[:-1] + b"]}")


@lru_cache(1024)
def _top(model: str, version: int) -> bytes:
    return dump({"model_name": model, "model_version": str(version)})[:-1]


@lru_cache(4096)
def _entry(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """One output's description, still open."""
    known = dtype_of(np.empty(0, dtype))
    return dump({"name": name, "datatype": known.oip if known else "BYTES", "shape": shape})[:-1]


@lru_cache(1024)
def _binary_headers(length: int) -> tuple[tuple[str, str], ...]:
    return (("content-type", "application/octet-stream"), ("Inference-Header-Content-Length", str(length)))


# -- deflate -----------------------------------------------------------------------------------------------------------


@lru_cache(256)
def prefers_deflate(accept_encoding: str) -> bool:
    """Whether deflate is the only coding a client takes: the server compresses for those who take gzip."""
    names = [part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")]
    return "deflate" in names and not {"gzip", "x-gzip", "*"} & set(names)


def deflated(encode: Callable[[Response], HttpReply]) -> Callable[[Response], HttpReply]:
    """The same answer compressed, as Triton does for whoever asks. The JSON header's length stays the plain one's."""

    def told(response: Response) -> HttpReply:
        plain = encode(response)
        headers = (*plain.headers, ("content-encoding", "deflate"), ("vary", "accept-encoding"))
        return HttpReply(plain.status, zlib.compress(plain.body, 1), headers)

    return told
