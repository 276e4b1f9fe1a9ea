"""What the predicting routes of each wire take and give, for one model. One row a wire, or a part of its paths.

Every example is a request that is answered with 200: it is made of the model's own example row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from setsail.catalog import ModelMetadata
from setsail.protocols.curl import CURL
from setsail.protocols.http import JSON
from setsail.protocols.openapi.signatures import named, stated
from setsail.protocols.openapi.tensors import Schema, array, nested, record, scalar, text
from setsail.signature import Signature, TensorSpec

__all__ = ["Body", "Prediction", "prediction"]

_BINARY: Final = "application/octet-stream"
_CSV: Final = "text/csv"
_NUMPY: Final = "application/x-npy"
_BYTES: Final[Schema] = {"type": "string", "contentEncoding": "binary"}


class Body(NamedTuple):
    """A body of one content type. `example` is None where there is none to show; `read` says which models take it.

    `named`: requests have a word for the signature that is meant, so there is a schema for each of a model's.
    """

    media: str
    schema: Callable[[ModelMetadata], Schema]
    example: Callable[[ModelMetadata], Any] | None = None
    read: Callable[[ModelMetadata], bool] = lambda meta: True
    named: bool = False


class Prediction(NamedTuple):
    """The bodies of a wire's predicting routes whose pattern has `part` in it."""

    wire: str
    part: str
    requests: tuple[Body, ...]
    answers: tuple[Body, ...]
    query: tuple[tuple[str, str], ...] = ()  # name and meaning of what the query may have


def _takes_a_picture(meta: ModelMetadata) -> bool:
    return [spec.content for spec in meta.signature.inputs] == ["image"]


def _fixed(schema: Schema) -> Callable[[ModelMetadata], Schema]:
    return lambda meta: schema


# -- pieces ------------------------------------------------------------------------------------------------------------


def _rows(signature: Signature) -> Schema:
    """A list of rows as `binding` reads them: bare for one input, in order or by name for several."""
    kinds = []
    if len(signature.inputs) == 1:
        kinds.append(nested(signature.inputs[0], row=True))
    elif all(len(spec.shape) == 1 for spec in signature.inputs):
        size = len(signature.inputs)
        order = ", ".join(spec.name for spec in signature.inputs)
        made = {"type": "array", "prefixItems": [nested(spec, row=True) for spec in signature.inputs]}
        kinds.append(made | {"items": False, "minItems": size, "description": f"in the order {order}"})
    return array(_any([*kinds, _row(signature)]), "one entry per row", minItems=1)


def _row(signature: Signature) -> Schema:
    """One row by name: of inputs, or of a table's columns."""
    named = record({spec.name: nested(spec, row=True) for spec in signature.inputs})
    return _any([named, *_by_column(signature, lambda spec: nested(spec, row=True))])


def _columns(signature: Signature) -> Schema:
    """All rows of each input by name; the lists are equally long."""
    named = record({spec.name: nested(spec) for spec in signature.inputs}, description="lists of one length")
    return _any([named, *_by_column(signature, nested)])


def _by_column(signature: Signature, schema: Callable[[TensorSpec], Schema]) -> list[Schema]:
    table = signature.table
    if table is None:
        return []
    own = TensorSpec("column", table.dtype, table.shape[:1], nullable=table.nullable)
    return [record(dict.fromkeys(table.columns, schema(own)), description="the columns of the table by name")]


def _any(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _outputs(meta: ModelMetadata, *, strict: bool) -> dict[str, Schema]:
    return {spec.name: nested(spec, answer=True, strict=strict) for spec in meta.signature.outputs}


def _defaults(signature: Signature) -> list[TensorSpec]:
    return [signature.output(name) for name in signature.defaults]


def _example(meta: ModelMetadata, *, rows: bool) -> dict[str, Any]:
    """One row of every input, with its batch axis if `rows`."""
    batched = {spec.name for spec in meta.signature.inputs if rows and spec.batched}
    return {name: [meta.example[name]] if name in batched else meta.example[name] for name in _names(meta)}


def _names(meta: ModelMetadata) -> list[str]:
    return [spec.name for spec in meta.signature.inputs]


# -- plain -------------------------------------------------------------------------------------------------------------


def _plain_request(meta: ModelMetadata) -> Schema:
    signature = meta.signature
    return {"anyOf": [_rows(signature), _columns(signature), _row(signature)]}


def _plain_answer(meta: ModelMetadata) -> Schema:
    outputs = _outputs(meta, strict=True)
    fields = {"model": {"const": meta.name}, "version": _VERSION, "outputs": record(outputs, *outputs)}
    told: Schema = {"description": "the default output, where the request was a form or had one key such as `input`"}
    return record({**fields, "prediction": told}, "prediction")


_VERSION: Final[Schema] = {"type": "integer", "minimum": 1}
_TABLE: Final = _fixed(text("a header line with the names of inputs or columns, then one line per row"))

# -- TensorFlow Serving and KServe V1 ----------------------------------------------------------------------------------


def _v1_request(meta: ModelMetadata) -> Schema:
    signature, (names, optional) = meta.signature, named(meta, "signature_name")
    columns = _columns(signature)
    if len(signature.inputs) == 1:
        columns = _any([nested(signature.inputs[0]), columns])
    by_column = record({"inputs": columns, "signature_name": names}, *optional, exact=False)
    if not signature.batched:
        return by_column
    rows = record({"instances": _rows(signature), "signature_name": names}, *optional, exact=False)
    return {"oneOf": [rows, by_column]}


def _v1_example(meta: ModelMetadata) -> Any:
    signature = meta.signature
    name = stated(meta, "tf-serving")
    if not signature.batched:
        return name | {"inputs": _example(meta, rows=True)}
    row = _example(meta, rows=False)
    return name | {"instances": [row[signature.inputs[0].name] if len(row) == 1 else row]}


def _v1_answer(meta: ModelMetadata) -> Schema:
    outputs = meta.signature.outputs
    rows = [nested(spec, row=True, answer=True) for spec in outputs]
    whole = [nested(spec, answer=True) for spec in outputs]
    defaults = _defaults(meta.signature)
    if len(defaults) > 1:
        rows.append(record({spec.name: nested(spec, row=True, answer=True) for spec in defaults}))
        whole.append(record({spec.name: nested(spec, answer=True) for spec in defaults}))
    return {"oneOf": [record({"predictions": array(_any(rows))}), record({"outputs": _any(whole)})]}


# -- Open Inference Protocol -------------------------------------------------------------------------------------------

_PARAMETERS: Final[Schema] = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_ANY_OBJECT: Final[Schema] = {"type": "object"}
_SHAPE: Final = array({"type": "integer", "minimum": 0}, maxItems=32)


def _oip_request(meta: ModelMetadata) -> Schema:
    tensors = [_oip_input(spec) for spec in meta.signature.inputs]
    table = meta.signature.table
    if table is not None:
        own = (TensorSpec(name, table.dtype, table.shape[:1], nullable=table.nullable) for name in table.columns[:100])
        tensors += [_oip_input(spec) for spec in own]
    names: Schema = {"enum": [spec.name for spec in meta.signature.outputs]}
    parameters: Schema = _PARAMETERS
    optional: tuple[str, ...] = ("parameters",)
    if meta.others:
        signature, optional = named(meta, "parameters")
        parameters = _PARAMETERS | {"properties": {"signature": signature}}
        parameters |= {} if optional else {"required": ["signature"]}
    fields = {"id": text(), "parameters": parameters}
    fields["inputs"] = array(_any(tensors), minItems=len(meta.signature.inputs))
    fields["outputs"] = array(record({"name": names, "parameters": _PARAMETERS}, "parameters"))
    return record(fields, "id", *optional, "outputs", exact=False)


def _oip_input(spec: TensorSpec) -> Schema:
    sizes = [_size(dim) for dim in spec.shape]
    data = {"anyOf": [array(scalar(spec), "row by row"), nested(spec)]} if len(sizes) != 1 else nested(spec)
    fields: dict[str, Schema] = {
        "name": {"const": spec.name},
        "shape": {"type": "array", "prefixItems": sizes, "items": False, "minItems": len(sizes)},
        "datatype": {"const": spec.dtype.oip},
        "data": data,
        "parameters": _PARAMETERS,
    }
    return record(fields, "parameters", description=str(spec))


def _size(dim: int | str) -> Schema:
    return {"const": dim} if isinstance(dim, int) else {"type": "integer", "minimum": 1}


def _oip_example(meta: ModelMetadata) -> Any:
    body = CURL["open-inference"](meta, meta.name)[1]
    return body | stated(meta, "open-inference")


def _oip_answer(meta: ModelMetadata) -> Schema:
    def tensor(spec: TensorSpec) -> Schema:
        fields: dict[str, Schema] = {
            "name": {"const": spec.name},
            "datatype": {"enum": list(dict.fromkeys((spec.dtype.oip, "BYTES")))},  # BYTES: asked for as classes
            "shape": _SHAPE,
            "data": array({"anyOf": [scalar(spec, answer=True), text()]}),
            "parameters": _ANY_OBJECT,
        }
        return record(fields, "data", "parameters")

    fields: dict[str, Schema] = {
        "model_name": {"const": meta.name},
        "model_version": text(),
        "id": text(),
        "parameters": _ANY_OBJECT,
        "outputs": array(_any([tensor(spec) for spec in meta.signature.outputs])),
    }
    return record(fields, "id", "parameters")


# -- TensorFlow Serving's examples -------------------------------------------------------------------------------------


def _examples_request(meta: ModelMetadata) -> Schema:
    feature: Schema = {"type": ["string", "number", "boolean", "array", "object"]}
    example: Schema = {"type": "object", "additionalProperties": feature, "description": "a value or a list by name"}
    fields = {"examples": array(example, minItems=1), "context": example, "signature_name": text()}
    return record(fields, "context", "signature_name", exact=False)


_RESULTS: Final = record({"results": array({}, "of every example its [label, score] pairs, or its number")})

# -- MLflow and SageMaker, which share a path --------------------------------------------------------------------------


def _invocations_request(meta: ModelMetadata) -> Schema:
    signature = meta.signature
    rows, columns, named = _rows(signature), _columns(signature), array(_row(signature), minItems=1)
    frame = record({"columns": array(text()), "data": array(array({})), "index": array({})}, "columns", "index")
    either = {"anyOf": [rows, columns]}
    forms = {"dataframe_split": frame, "dataframe_records": named, "instances": either, "inputs": either}
    params: Schema = {"type": "object", "description": "looked at by nobody: a packed model has none"}
    mlflow = [record({key: form, "params": params}, "params", exact=False) for key, form in forms.items()]
    return {"anyOf": [*mlflow, rows]}


def _bare(meta: ModelMetadata) -> Schema:
    """The default output, or a record a row where it is several."""
    specs = _defaults(meta.signature)
    whole = nested(specs[0], answer=True)
    if len(specs) > 1:
        whole = {"anyOf": [
            array(record({spec.name: nested(spec, row=True, answer=True) for spec in specs})),
            record({spec.name: nested(spec, answer=True) for spec in specs}),
        ]}  # fmt: skip
    return whole


def _invocations_answer(meta: ModelMetadata) -> Schema:
    bare = _bare(meta)
    return {"anyOf": [record({"predictions": bare}), bare]}


_LINES: Final = "application/jsonlines"
_SEVERAL: Final = (("model_name", "which model, where several are served"), ("model_version", "which version of it"))

_PICTURE: Final = Body("image/*", _fixed(_BYTES), read=_takes_a_picture)

# -- the table ---------------------------------------------------------------------------------------------------------

ROWS: Final = (
    Prediction(
        "plain", "",
        (Body(JSON, _plain_request, lambda meta: _example(meta, rows=True)), Body(_CSV, _TABLE), _PICTURE),
        (Body(JSON, _plain_answer), Body(_CSV, _fixed(text("one column per output, or per class of one")))),
        (("outputs", "names of the outputs wanted, with commas between them"),),
    ),
    Prediction(
        "tf-serving", ":predict", (Body(JSON, _v1_request, _v1_example, named=True),),
        (Body(JSON, _v1_answer, named=True),),
    ),
    Prediction(
        "tf-serving", ":(classify|regress)", (Body(JSON, _examples_request),), (Body(JSON, _fixed(_RESULTS)),)
    ),
    Prediction(
        "mlflow", "^/invocations",
        (
            Body(JSON, _invocations_request, lambda meta: {"inputs": _example(meta, rows=True)}), Body(_CSV, _TABLE),
            Body(_LINES, _fixed(text("a row a line"))), Body(_NUMPY, _fixed(_BYTES)),
            Body("application/vnd.apache.parquet", _fixed(_BYTES)), _PICTURE,
        ),
        (
            Body(JSON, _invocations_answer), Body(_CSV, _fixed(text("a row a line, without a header"))),
            Body(_LINES, _fixed(text("a row a line"))), Body(_NUMPY, _fixed(_BYTES)),
        ),
        _SEVERAL,
    ),
    Prediction(
        "torchserve", "/predictions/",
        (Body(JSON, _plain_request, lambda meta: _example(meta, rows=True)), Body(_CSV, _TABLE), _PICTURE),
        (Body(JSON, _bare),),
    ),
    Prediction("graphpipe", "", (Body(_BINARY, _fixed(_BYTES)),), (Body(_BINARY, _fixed(_BYTES)),)),
    Prediction(
        "open-inference", "/infer",
        (Body(JSON, _oip_request, _oip_example, named=True), Body(_BINARY, _fixed(_BYTES))),
        (Body(JSON, _oip_answer, named=True), Body(_BINARY, _fixed(_BYTES))),
    ),
)  # fmt: skip


def prediction(wire: str, pattern: str) -> Prediction | None:
    """The row of a route; None where what it takes and gives is not said."""
    return next((row for row in ROWS if row.wire == wire and re.search(row.part, pattern)), None)
