"""GraphPipe's requests and replies: https://oracle.github.io/graphpipe, its schema by the numbers of its slots.

A request is a table with one of two kinds of content, whatever the path: tensors, by name or in the signature's order,
or the question what the model is. A GraphPipe server has one model; ours is named by the path `/graphpipe/{model}`, or
by a config `{"model": …, "version": …}`, or is the only one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

import numpy as np

from setsail.catalog import Metadata, ModelMetadata
from setsail.errors import SetsailError
from setsail.messages import Digits, Form, ModelRef, Portion, Request, Response, Tensor, Tensors
from setsail.protocols import binary
from setsail.protocols.alike import Alike
from setsail.protocols.graphpipe.buffer import Reader, Table, Writer
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.packed import LONG
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.routes import Exchange, Params, model_ref
from setsail.protocols.values import joined, parse, texts
from setsail.shares import Share
from setsail.signature import TensorSpec
from setsail.tensors import BY_NAME, Array, DType

__all__ = ["post"]

_TYPES: Final = (
    None, "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
    "string",
)  # fmt: skip
_NUMBER: Final = {name: number for number, name in enumerate(_TYPES) if name} | {"bool": 1}
_TEXT: Final = 12
_INFER: Final = 1  # of the union of requests; anything else asks for metadata
_MOST: Final = 1000  # tensors of a request
_RANK: Final = 32  # sizes of a tensor
_LARGEST: Final = 1 << 40  # product of a shape's sizes: numpy takes none that is too large, not even beside a 0
_HEADERS: Final = (("content-type", "application/octet-stream"),)


# -- requests ----------------------------------------------------------------------------------------------------------


def post(request: HttpRequest, params: Params) -> Exchange:
    """A prediction, or what the model is. Raises `request.binary` and `request.form`."""
    if not request.body:
        raise SetsailError("request.binary", "the body is empty", expected="a GraphPipe Request")
    raw = bytes(request.body)
    known = _KNOWN.find(raw)
    if known is None:
        exchange = _read(raw, params)
        _learn(raw, params, exchange)
        return exchange
    start, end = known.values
    digits = Digits(raw[start:end], known.form, raw, _body)
    return Exchange(Request(_model(params), digits, known.outputs), known.encode)


def _model(params: Params) -> ModelRef:
    return model_ref(params) if "model" in params else ModelRef(ONLY_MODEL)


def _read(raw: bytes, params: Params) -> Exchange:
    """A request of any form."""
    root = Reader(raw).root()
    asked = root.table(1)
    infer = asked if root.byte(0) == _INFER else None
    model = _model(params)
    if infer is None:
        return Exchange(Metadata(model), _metadata)
    if config := infer.text(0):
        model = _configured(config, model)
    names = [_name(raw) for raw in infer.texts(1, _MOST)]
    tensors = infer.tables(2, _MOST)
    if len(names) > len(tensors):
        raise SetsailError(
            "request.binary", f"{len(names)} names for {len(tensors)} tensors", field="input_names",
            expected="a name a tensor",
        )  # fmt: skip
    names += [""] * (len(tensors) - len(names))
    body = Tensors(tuple(_tensor(name, table) for name, table in zip(names, tensors, strict=True)), loose=True)
    outputs = tuple(_name(raw) for raw in infer.texts(3, _MOST)) or None
    return Exchange(Request(model, body, outputs), partial(_answer, outputs))


# -- requests like those before ----------------------------------------------------------------------------------------


class _Known(NamedTuple):
    """A request of one tensor of numbers, but for these: begin and end of its `values`."""

    values: tuple[int, int]
    form: Form
    outputs: tuple[str, ...] | None
    encode: Callable[[Any], HttpReply]


_KNOWN: Final[Alike[_Known]] = Alike()
_ANY: Final = {"model": "m"}
_NUMBERS: Final = frozenset(("float", "int", "uint"))


def _body(raw: bytes) -> Tensors:
    asked = _read(raw, _ANY).ask
    assert isinstance(asked, Request)
    assert isinstance(asked.body, Tensors)
    return asked.body


def _learn(raw: bytes, params: Params, exchange: Exchange) -> None:
    """Remember all of a request of one tensor of numbers, if nothing else of it lies among their bytes."""
    asked = exchange.ask
    if len(raw) >= LONG or type(asked) is not Request or asked.model != _model(params) or sys.byteorder != "little":
        return
    infer = Reader(raw).root().table(1)
    tables = infer.tables(2, _MOST) if infer is not None and not infer.text(0) else []
    if infer is None or len(tables) != 1 or type(asked.body) is not Tensors:
        return
    (tensor,), (start, end) = asked.body.tensors, tables[0].span(2)
    dtype, shape = tensor.dtype, tensor.shape
    if dtype is None or not shape or dtype.kind not in _NUMBERS or not tensor.data.size:
        return
    # Offsets may lead anywhere: with other values in their place, all else has to be as it was.
    other = raw[:start] + bytes(255 - byte for byte in raw[start:end]) + raw[end:]
    try:
        again = _read(other, params).ask
    except SetsailError:
        return
    if type(again) is not Request or type(again.body) is not Tensors or again.outputs != asked.outputs:
        return
    (found,) = again.body.tensors
    if (found.name, found.dtype, found.shape) != (tensor.name, dtype, shape):
        return
    name = tensor.name or None
    key = Portion((Digits, "graphpipe", name, dtype, shape[1:]), shape[0])
    form = Form(shape, name, dtype, key, raw=dtype.numpy)
    _KNOWN.learn(raw, [(start, end)], _Known((start, end), form, asked.outputs, exchange.encode))


def _name(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as fault:
        raise SetsailError("request.binary", "a name is not UTF-8", expected="UTF-8") from fault


def _configured(config: bytes, model: ModelRef) -> ModelRef:
    """A config is free text that each server gives a meaning of its own."""
    try:
        told = parse(config)
    except SetsailError:
        told = None
    known = isinstance(told, dict) and told.keys() <= {"model", "version"}
    if not known or not isinstance(told.get("model", model.name), str) or type(told.get("version", 1)) is not int:
        raise SetsailError(
            "request.form", "the config means nothing here", field="config",
            value=config[:200].decode(errors="replace"), expected='none, or {"model": "name", "version": 1}',
        )  # fmt: skip
    params = {"model": told.get("model", model.name)}
    return model_ref(params | {"version": str(told["version"])}) if "version" in told else ModelRef(params["model"])


def _tensor(name: str, table: Table) -> Tensor:
    number, shape = table.byte(0), table.longs(1, _RANK)
    if not 0 < number < len(_TYPES) or any(size < 0 for size in shape):
        raise SetsailError(
            "request.binary", f"tensor {name!r} has no type or no shape", field=name or None,
            value={"type": number, "shape": list(shape)}, expected="a type from 1 to 12, and sizes",
        )  # fmt: skip
    dtype = BY_NAME[str(_TYPES[number])]
    count = room = 1
    for size in shape:
        count, room = count * size, room * (size or 1)
    if room > _LARGEST:
        raise _sized(name, shape, "too large a shape")
    if number == _TEXT:
        strings = table.texts(3)
        return Tensor(name, _strings(strings), dtype, _fits(name, shape, count, len(strings)))
    data = table.data(2)
    raw = b"" if data is None else data
    if len(raw) % dtype.size:
        raise _sized(name, shape, f"{len(raw)} bytes")
    _fits(name, shape, count, len(raw) // dtype.size)
    return Tensor(name, np.frombuffer(raw, dtype.numpy.newbyteorder("<")).reshape(shape), dtype, shape)


def _strings(values: list[bytes]) -> Array:
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _fits(name: str, shape: tuple[int, ...], count: int, sent: int) -> tuple[int, ...]:
    if count != sent:
        raise _sized(name, shape, f"{sent} values")
    return shape


def _sized(name: str, shape: tuple[int, ...], sent: str) -> SetsailError:
    return SetsailError(
        "request.binary", f"tensor {name!r} has {sent}", field=name or None, value=list(shape),
        expected="as many values as its shape says",
    )  # fmt: skip


# -- replies -----------------------------------------------------------------------------------------------------------


def _answer(names: tuple[str, ...] | None, response: Response) -> HttpReply:
    outputs = response.outputs
    if names is None and type(outputs) is Share:
        return HttpReply(200, outputs.text(_bodies, response), _HEADERS)
    return HttpReply(200, _reply(Writer(), [outputs[name] for name in names or response.defaults]), _HEADERS)


def _reply(out: Writer, arrays: list[Array]) -> bytes:
    tensors = [partial(_written, array=array) for array in arrays]
    return out.finish(lambda out: out.table(lambda out: out.children(tensors), lambda out: out.children(())))


def _bodies(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
    """The whole answer for every row by itself: of numbers, only their bytes differ."""
    arrays = [outputs[name] for name in response.defaults]
    if any(array.dtype.kind in "OUST" for array in arrays):
        return [_reply(Writer(), [array[i : i + 1] for array in arrays]) for i in range(len(arrays[0]))]
    out = Writer()
    first = _reply(out, [array[:1] for array in arrays])
    columns, at = [], 0
    for (start, end), array in zip(out.spans, arrays, strict=True):
        columns.append((first[at:start], binary.rows(array)))
        at = end
    return joined(columns, first[at:])


def _written(out: Writer, array: Array) -> int:
    if array.dtype.kind in "OUST":
        flat = texts(array.reshape(-1))
        strings = [partial(Writer.text, value="" if text is None else text) for text in flat]
        return out.table(
            _TEXT, lambda out: out.longs(array.shape), lambda out: out.data(b""), lambda out: out.children(strings)
        )
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return out.table(
        _NUMBER[array.dtype.name],
        lambda out: out.longs(array.shape),
        lambda out: out.data(plain.tobytes()),
        lambda out: out.children(()),
    )


def _metadata(meta: ModelMetadata) -> HttpReply:
    inputs = [partial(_described, spec=spec) for spec in meta.signature.inputs]
    outputs = [partial(_described, spec=spec) for spec in meta.signature.outputs]
    fields = [partial(Writer.text, value=text) for text in (meta.name, str(meta.version), "setsail", meta.framework)]
    body = Writer().finish(
        lambda out: out.table(*fields, lambda out: out.children(inputs), lambda out: out.children(outputs))
    )
    return HttpReply(200, body, _HEADERS)


def _described(out: Writer, spec: TensorSpec) -> int:
    return out.table(
        partial(Writer.text, value=spec.name),
        partial(Writer.text, value=_description(spec.dtype, spec.columns)),
        lambda out: out.longs(spec.oip_shape()),
        _NUMBER[spec.dtype.name],
    )


@lru_cache(256)
def _description(dtype: DType, columns: tuple[str, ...]) -> str:
    if dtype.kind == "bool":
        return "0 or 1"
    return "columns: " + ", ".join(columns) if columns else ""
