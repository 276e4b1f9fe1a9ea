"""MLflow's `python_function` in the child: `mlflow.pyfunc.load_model`, asked with what its signature says.

The answer is held against the signature every time. Requests as they are (no signature) are read by MLflow's own
scoring server, parameters included.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from setsail.apps.code import REQUESTS, WrongAnswerError
from setsail.errors import SetsailError
from setsail.letters import Letter, Reply
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array, dtype_of

__all__ = ["Model", "Scoring", "load"]

_JSON: Final = "application/json"

# What MLflow would do beside answering: ask for updates, count its users, look for a tracking server.
_QUIET: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_TRACKING_URI": "file:./mlruns",
    "GIT_PYTHON_REFRESH": "quiet",
}  # fmt: skip


def load(options: Mapping[str, Any]) -> Model | Scoring:
    """Load the model. Raises `dependency.missing` where this Python has no MLflow; whatever loading raises."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        pyfunc = import_module("mlflow.pyfunc")
    except ModuleNotFoundError as fault:
        name = fault.name or "mlflow"
        raise SetsailError(
            "dependency.missing", f"{name} is not installed in the Python that runs the model", field=name,
            todo="run: pip install -r requirements.txt of the model's directory, there or in an environment of its own "
            "that --app-python names",
        ) from fault  # fmt: skip
    model = pyfunc.load_model(options["folder"])
    if options["form"] == "requests":
        return Scoring(model)
    return Model(model, Signature.from_json(options["signature"], tuple(options["defaults"])), options)


class Model:
    """A model with a signature. See `apps.code.Code`."""

    def __init__(self, model: Any, signature: Signature, options: Mapping[str, Any]) -> None:
        self.signature = signature
        self._model, self._rows = model, _ROWS[options["form"]]
        self._dates = options["dates"]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        count = len(next(iter(inputs.values())))
        answer = self._model.predict(self._rows(self.signature.inputs, inputs, self._dates))
        found = _by_name(answer, [spec.name for spec in self.signature.outputs])
        return {spec.name: _fitted(spec, found[spec.name], count) for spec in self.signature.outputs}


# -- rows, as the model takes them -------------------------------------------------------------------------------------


def _frame(specs: Sequence[TensorSpec], inputs: Mapping[str, Array], dates: Sequence[str]) -> Any:
    pandas = import_module("pandas")
    if len(specs) == 1 and len(specs[0].shape) == 2:
        return pandas.DataFrame(inputs[specs[0].name], columns=list(specs[0].columns))
    columns = {spec.name: _cells(spec, inputs[spec.name]) for spec in specs}
    for name in dates:
        columns[name] = pandas.to_datetime(pandas.Series(columns[name], dtype=object), format="ISO8601")
    return pandas.DataFrame(columns)


def _array(specs: Sequence[TensorSpec], inputs: Mapping[str, Array], dates: Sequence[str]) -> Any:
    return _cells(specs[0], inputs[specs[0].name])


def _arrays(specs: Sequence[TensorSpec], inputs: Mapping[str, Array], dates: Sequence[str]) -> Any:
    return {spec.name: _cells(spec, inputs[spec.name]) for spec in specs}


def _list(specs: Sequence[TensorSpec], inputs: Mapping[str, Array], dates: Sequence[str]) -> Any:
    cells = _cells(specs[0], inputs[specs[0].name])
    return cells.tolist() if not dates else import_module("pandas").to_datetime(list(cells), format="ISO8601")


def _cells(spec: TensorSpec, array: Array) -> Any:
    """Texts as objects, a missing one as None; everything else as it is."""
    if spec.dtype.kind != "string":
        return array
    cells = array.copy()
    cells[array == NULL] = None
    return cells


_ROWS: Final[Mapping[str, Callable[[Sequence[TensorSpec], Mapping[str, Array], Sequence[str]], Any]]] = {
    "frame": _frame, "array": _array, "arrays": _arrays, "list": _list,
}  # fmt: skip


# -- the answer --------------------------------------------------------------------------------------------------------


def _by_name(answer: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """What a model returned, sorted by output. Raises WrongAnswerError."""
    if isinstance(answer, list) and answer and all(isinstance(row, Mapping) for row in answer):
        answer = import_module("pandas").DataFrame(answer)
    if hasattr(answer, "iloc") and hasattr(answer, "columns"):
        found = {str(name): answer.iloc[:, i].to_numpy() for i, name in enumerate(answer.columns)}
        if len(names) == 1 and names[0] not in found and len(found) > 1:
            return {names[0]: answer.to_numpy()}
    elif isinstance(answer, Mapping):
        found = {str(name): value for name, value in answer.items()}
    elif len(names) == 1:
        return {names[0]: answer}
    else:
        table = np.asarray(answer)
        if table.ndim != 2 or table.shape[1] != len(names):
            raise WrongAnswerError(f"it returned {type(answer).__name__}, and its signature says {', '.join(names)}")
        return {name: table[:, i] for i, name in enumerate(names)}
    if len(names) == len(found) == 1:  # one of each: MLflow does not compare their names
        return {names[0]: next(iter(found.values()))}
    missing = [name for name in names if name not in found]
    if missing:
        raise WrongAnswerError(f"it returned {', '.join(found) or 'nothing'}, and its signature says {missing[0]}, too")
    return found


def _fitted(spec: TensorSpec, value: Any, rows: int) -> Array:
    """An output as the signature says it; floats may be rounded to its dtype, integers become floats, no more."""
    array = np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value)
    if array.ndim == len(spec.shape) + 1 and array.shape[-1] == 1:  # one column
        array = array[..., 0]
    fits = array.ndim == len(spec.shape) and all(
        size == dim or (isinstance(dim, str) and (dim != spec.shape[0] or size == rows))
        for dim, size in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise WrongAnswerError(f"{spec.name} is {array.dtype}{list(array.shape)} for {rows} rows, and its signature "
                               f"says {spec}")  # fmt: skip
    if spec.dtype.kind == "string":
        return _texts(spec, array)
    found = dtype_of(array)
    if (found is not None and found.kind == "string") or array.dtype.kind not in _FROM[spec.dtype.kind]:
        raise WrongAnswerError(f"{spec.name} is {array.dtype}, and its signature says {spec.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(spec.dtype.numpy)
    if spec.dtype.kind in ("int", "uint") and not np.array_equal(cast, array):
        raise WrongAnswerError(f"{spec.name} has values that {spec.dtype} cannot hold")
    return cast


_FROM: Final[Mapping[str, str]] = {"float": "fiu", "int": "iu", "uint": "iu", "bool": "b"}


def _texts(spec: TensorSpec, array: Array) -> Array:
    cells = np.empty(array.size, dtype=object)
    for index, value in enumerate(array.astype(object).ravel().tolist()):
        cells[index] = NULL if value is None or value != value else str(value)
    return cells.reshape(array.shape)


# -- requests as they are ----------------------------------------------------------------------------------------------


class Scoring:
    """A model without a signature: each request is read and answered as `mlflow models serve` does it."""

    signature = REQUESTS

    def __init__(self, model: Any) -> None:
        self._model, self._schema = model, model.metadata.get_input_schema()
        self._invocations = import_module("mlflow.pyfunc.scoring_server").invocations
        self._faults = import_module("mlflow.exceptions").MlflowException

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        texts = [self._answer(Letter.opened(value)).texts() for value in inputs["request"].tolist()]
        columns = {"output": [text for text, _ in texts], "headers": [headers for _, headers in texts]}
        return {name: np.array(values, dtype=object) for name, values in columns.items()}

    def _answer(self, letter: Letter) -> Reply:
        body = b"".join(part.data for part in letter.fields)
        try:
            told = self._invocations(body, letter.headers.get("content-type") or _JSON, self._model, self._schema)
        except self._faults as fault:
            # The model's own fault is told with its trace, which is the operator's; the rest is the client's.
            if "stack_trace" in getattr(fault, "json_kwargs", {}) or int(fault.get_http_status_code()) >= 500:
                raise
            return Reply(fault.serialize_as_json().encode(), {"content-type": _JSON}, fault.get_http_status_code())
        return Reply(str(told.response).encode(), {"content-type": told.mimetype}, told.status)
