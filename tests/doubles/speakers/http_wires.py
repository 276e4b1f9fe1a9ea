"""The wires that are HTTP with a body of a well-known type: plain, MLflow, SageMaker."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import numpy as np

from setsail.tensors import Array
from speakers.speaking import Ask, Heard, Said, Speaker, back, dumps, is_table, lists, one_input, rows_of

__all__ = ["SPEAKERS"]

JSON = {"content-type": "application/json"}


def _plain_path(ask: Ask) -> str:
    query = "?" + urlencode({"outputs": ",".join(ask.outputs)}) if ask.outputs else ""
    return f"/predict/{ask.model}" + (f"/versions/{ask.version}" if ask.version else "") + query


def _named_columns(ask: Ask) -> dict[str, Array]:
    """A table's columns by their names, or the inputs by theirs."""
    table = ask.signature.table
    if table is None or table.name not in ask.inputs:
        return dict(ask.inputs)
    array = ask.inputs[table.name]
    names = [*table.columns, *(f"more{i}" for i in range(array.shape[1]))][: array.shape[1]]
    return {name: array[:, i] for i, name in enumerate(names)}


def _plain_columns(ask: Ask) -> Said:
    columns = {name: lists(array) for name, array in _named_columns(ask).items()}
    return Said(_plain_path(ask), dumps(columns), JSON)


def _plain_rows(ask: Ask) -> Said:
    return Said(_plain_path(ask), dumps(rows_of(ask.inputs, null=True)), JSON)


def _plain_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    return {name: back(ask.signature.output(name), data) for name, data in heard.json()["outputs"].items()}


def _cells(columns: Mapping[str, Array], header: bool) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    if header:
        writer.writerow(columns)
    if columns:
        held = [[_cell(v) for v in array.tolist()] for array in columns.values()]
        writer.writerows(zip(*held, strict=True))
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None or value != value:
        return ""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _plain_csv(ask: Ask) -> Said:
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    return Said(_plain_path(ask), _cells(_named_columns(ask), True), headers)


def _read_cells(spec: Any, cells: Array) -> Array:
    kind = spec.dtype.kind
    read: Mapping[str, Callable[[str], Any]] = {
        "float": lambda text: float(text or "nan"), "string": lambda text: text or None, "bool": lambda t: t == "true",
    }  # fmt: skip
    values = [read.get(kind, int)(text) for text in cells.ravel()]
    return back(spec, values, cells.shape)


def _plain_csv_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    header, *lines = csv.reader(io.StringIO(heard.body.decode(), newline=""))
    cells = np.array(lines, dtype=object).reshape(len(lines), len(header))
    found = {}
    for spec in ask.signature.outputs:
        if spec.name in header:
            found[spec.name] = _read_cells(spec, cells[:, header.index(spec.name)])
        elif mine := [i for i, name in enumerate(header) if name.startswith(f"{spec.name}.")]:
            found[spec.name] = _read_cells(spec, cells[:, mine])
    return found


def _npy_bytes(array: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, _for_numpy(array), allow_pickle=False)
    return out.getvalue()


def _for_numpy(array: Array) -> Array:
    """Text as numpy's files have it: of one width, never pickled."""
    return array.astype(str) if array.dtype == object else array


def _npy(ask: Ask) -> Said:
    (array,) = ask.inputs.values()
    return Said(_plain_path(ask), _npy_bytes(array), {"content-type": "application/x-npy"})


def _npz(ask: Ask) -> Said:
    out = io.BytesIO()
    np.savez(out, **{name: _for_numpy(array) for name, array in ask.inputs.items()})
    return Said(_plain_path(ask), out.getvalue(), {"content-type": "application/x-npz"})


def _form(ask: Ask) -> Said:
    columns = _named_columns(ask)
    size = max((len(array) for array in columns.values()), default=0)
    pairs = [(name, _cell(array[i])) for i in range(size) for name, array in columns.items() if i < len(array)]
    kind = {"content-type": "application/x-www-form-urlencoded"}
    return Said(_plain_path(ask), urlencode([(name, _numpyless(value)) for name, value in pairs]).encode(), kind)


def _numpyless(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, np.bool_) else str(value)


def _multipart(ask: Ask) -> Said:
    """A .npy file for each input, as a browser or `requests.post(files=…)` uploads them."""
    mark = "----a-boundary-that-is-in-no-value"
    out = b""
    for name, array in ask.inputs.items():
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.npy"\r\n'
        out += (head + "Content-Type: application/octet-stream\r\n\r\n").encode() + _npy_bytes(array) + b"\r\n"
    return Said(
        _plain_path(ask), out + f"--{mark}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={mark}"}
    )


_PLAIN: dict[str, Any] = {"wire": "plain", "page": "plain", "hear": _plain_answer, "filters": True}
_CSV_ODD = {"shape": "input.unknown"}

# -- MLflow ------------------------------------------------------------------------------------------------------------


def _invocations(ask: Ask) -> str:
    asked = {"model_name": ask.model} | ({"model_version": ask.version} if ask.version else {})
    return "/invocations?" + urlencode(asked)


def _split(ask: Ask) -> Said:
    """A data frame: columns with names where there are names, else the rows of the one tensor."""
    if is_table(ask.signature, ask.inputs):
        columns = _named_columns(ask)
        data = [list(row) for row in zip(*(lists(a, null=True) for a in columns.values()), strict=True)]
        return Said(_invocations(ask), dumps({"dataframe_split": {"columns": list(columns), "data": data}}), JSON)
    return Said(_invocations(ask), dumps({"dataframe_split": {"data": rows_of(ask.inputs, null=True)}}), JSON)


def _records(ask: Ask) -> Said:
    held = {name: lists(array, null=True) for name, array in _named_columns(ask).items()}
    rows = [dict(zip(held, row, strict=True)) for row in zip(*held.values(), strict=True)]
    return Said(_invocations(ask), dumps({"dataframe_records": rows}), JSON)


def _mlflow_inputs(ask: Ask) -> Said:
    held = {name: lists(array) for name, array in ask.inputs.items()}
    return Said(_invocations(ask), dumps({"inputs": held}), JSON)


def _mlflow_instances(ask: Ask) -> Said:
    return Said(_invocations(ask), dumps({"instances": rows_of(ask.inputs, null=True)}), JSON)


def _mlflow_csv(ask: Ask) -> Said:
    return Said(_invocations(ask), _cells(_named_columns(ask), True), {"content-type": "text/csv"})


def _predictions(ask: Ask, heard: Heard) -> dict[str, Array]:
    return defaults(ask, heard.json()["predictions"])


def defaults(ask: Ask, told: Any) -> dict[str, Array]:
    """A bare answer: the value of the one default output, or a record a row of several."""
    names = ask.signature.defaults
    if len(names) == 1:
        return {names[0]: back(ask.signature.output(names[0]), told)}
    return {name: back(ask.signature.output(name), [row[name] for row in told]) for name in names}


def _mlflow_error(heard: Heard) -> str:
    if "json" not in heard.headers.get("content-type", ""):
        return heard.body.decode()
    return str(heard.json()["message"])


_MLFLOW: dict[str, Any] = {
    "wire": "mlflow", "page": "mlflow", "hear": _predictions, "outputs": "default", "error": _mlflow_error,
}  # fmt: skip
_FRAME = {"extra": "", "shape": ""}
_SCORING = "mlflow-skinny 3.17 ScoringServerClient"
_IGNORES = {"extra": ""}  # MLflow and TensorFlow Serving leave out what the model does not have

# -- SageMaker ---------------------------------------------------------------------------------------------------------


def _sagemaker(kind: str, accept: str, body: Callable[[Ask], bytes]) -> Callable[[Ask], Said]:
    return lambda ask: Said(_invocations(ask), body(ask), {"content-type": kind, "accept": accept})


def _lines(ask: Ask) -> bytes:
    return b"".join(dumps(row) + b"\n" for row in rows_of(ask.inputs, null=True))


def _bare(ask: Ask, heard: Heard) -> dict[str, Array]:
    return defaults(ask, heard.json())


def _bare_lines(ask: Ask, heard: Heard) -> dict[str, Array]:
    import json

    return defaults(ask, [json.loads(line) for line in heard.body.splitlines()])


def _headless(ask: Ask) -> bytes:
    return _cells(_named_columns(ask), False)


def _headless_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    (name,) = ask.signature.defaults
    spec = ask.signature.output(name)
    cells = np.array(list(csv.reader(io.StringIO(heard.body.decode(), newline=""))), dtype=object)
    return {name: _read_cells(spec, cells if len(spec.shape) == 2 else cells[:, 0])}


def _npy_answer(ask: Ask, heard: Heard) -> dict[str, Array]:
    (name,) = ask.signature.defaults
    array = np.load(io.BytesIO(heard.body), allow_pickle=False)
    return {name: array.astype(object) if array.dtype.kind in "US" else array}


def _sole_npy(ask: Ask) -> bytes:
    return _npy_bytes(next(iter(ask.inputs.values())))


_SAGEMAKER: dict[str, Any] = {
    "wire": "mlflow", "page": "sagemaker", "outputs": "default", "client": "boto3 1.43 invoke_endpoint",
    "error": _mlflow_error,
}  # fmt: skip
_HEADLESS = {
    "shape": "input.ragged", "missing": "input.ragged", "extra": "input.ragged", "empty": "request.csv",
}  # fmt: skip
_NPY = "application/x-npy"

SPEAKERS = (
    Speaker(name="plain, columns", client="requests 2.34", say=_plain_columns, odd=_CSV_ODD, **_PLAIN),
    Speaker(name="plain, rows", client="requests 2.34", say=_plain_rows, **_PLAIN),
    Speaker(name="plain, CSV", client="curl", say=_plain_csv, can=is_table, odd=_CSV_ODD,
            **_PLAIN | {"hear": _plain_csv_answer}),
    Speaker(name="plain, .npy", client="numpy 2.4 + requests", say=_npy, can=one_input, missing_text=False, **_PLAIN),
    Speaker(name="plain, .npz", client="numpy 2.4 + requests", say=_npz, missing_text=False, **_PLAIN),
    Speaker(name="plain, form", client="curl --data-urlencode", say=_form, can=is_table, rows=400,
            odd=_CSV_ODD | {"empty": "request.json"}, **_PLAIN),
    Speaker(name="plain, files", client="requests 2.34 files=", say=_multipart, missing_text=False, **_PLAIN),
    Speaker(name="MLflow, dataframe_split", client=_SCORING, say=_split, odd=_FRAME, **_MLFLOW),
    Speaker(name="MLflow, dataframe_records", client="requests 2.34", say=_records, can=is_table, odd=_FRAME,
            **_MLFLOW),
    Speaker(name="MLflow, inputs", client=_SCORING, say=_mlflow_inputs, odd=_IGNORES, **_MLFLOW),
    Speaker(name="MLflow, instances", client="requests 2.34", say=_mlflow_instances, odd=_IGNORES, **_MLFLOW),
    Speaker(name="MLflow, CSV", client="requests 2.34", say=_mlflow_csv, can=is_table, odd=_FRAME, **_MLFLOW),
    Speaker(name="SageMaker, JSON", hear=_bare, say=_sagemaker(
        "application/json", "application/json", lambda ask: dumps(rows_of(ask.inputs, null=True))), **_SAGEMAKER),
    Speaker(name="SageMaker, JSON lines", hear=_bare_lines, say=_sagemaker(
        "application/jsonlines", "application/jsonlines", _lines), **_SAGEMAKER),
    Speaker(name="SageMaker, CSV", hear=_headless_answer, can=is_table, odd=_HEADLESS, counted=False, say=_sagemaker(
        "text/csv", "text/csv", _headless), **_SAGEMAKER),
    Speaker(name="SageMaker, .npy", hear=_npy_answer, can=one_input, missing_text=False, say=_sagemaker(
        _NPY, _NPY, _sole_npy), **_SAGEMAKER),
)  # fmt: skip
