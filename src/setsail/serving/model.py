"""`setsail.load(path)`: a model in this process, for notebooks and scripts.

It is a house with one model in it, so an answer here is the answer of a server: the same checks, the same path. What
differs is what may be handed over. A person's own numpy arrays and data frames are cast as the source framework casts
them: float64 and integers to the model's float (rounding), where a wire would refuse to narrow. Nothing else is cast;
floats for an integer input and numbers for text are errors as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from setsail.artifact import Artifact
from setsail.catalog import Metadata, ModelMetadata
from setsail.errors import SetsailError
from setsail.messages import Body, ModelRef, Request, Response, Rows, Tensor, Tensors
from setsail.serving.house import House
from setsail.signature import DEFAULT, Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["Model", "body_of", "predict_rows"]


class Model:
    """A loaded artifact. Use as a context manager, or `close` it; safe to share between threads.

    Example::

        with setsail.load("credit.setsail") as model:
            model.predict(X)                      # array, data frame or rows in: the default output out
            model.predict({"age": [31], …})       # mapping in: every output by name

    Args:
        path: an artifact.

    Raises:
        SetsailError: `artifact.*`, `program.*`, `model.failed` or `dependency.missing`.
    """

    def __init__(self, path: str | Path | Artifact, *, threads: int = 1) -> None:
        self._house = House(threads=threads)
        try:
            self._house.load(path)
        except BaseException:
            self._house.close(0.0)
            raise
        (entry,) = self._house.table
        self._ref = ModelRef(entry.name, entry.version)

    @property
    def signature(self) -> Signature:
        return self._metadata.signature

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Every signature by name; `serving_default` is `signature`."""
        found = self._metadata
        return {DEFAULT: found.signature, **{name: other.signature for name, other in found.others.items()}}

    @property
    def name(self) -> str:
        return self._ref.name

    @property
    def version(self) -> int:
        return self._metadata.version

    def predict(self, X: Any, signature: str = DEFAULT) -> Any:
        """Answer rows.

        Args:
            X: an array of the table or tensor that the model takes; a data frame; a list of rows (lists, scalars or
                mappings); a tuple of arrays, one an input; or a mapping of input or column names to values.
            signature: which of the model's, where it has several.

        Returns:
            For a mapping, every output by name. Otherwise the default output, or a mapping of them where the model
            has several.

        Raises:
            SetsailError: `input.*` for what the model cannot take, `model.signature` for one it does not have,
                `model.not_ready` once closed.
        """
        return predict_rows(self._house.answer, self._ref, X, signature)

    def answer(self, body: Body, outputs: tuple[str, ...] | None = None, signature: str = DEFAULT) -> Response:
        """Answer a request's body as a wire would: values keep the freedom JSON and CSV give them.

        Args:
            outputs: names of those wanted; None is all.
            signature: which of the model's.
        """
        return self._house.predict(Request(self._ref, body, outputs, signature))

    def close(self) -> None:
        """Unload, after the last `predict` of another thread."""
        self._house.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<setsail model {self._ref}: {self.signature}>"

    @property
    def _metadata(self) -> ModelMetadata:
        answer: ModelMetadata = self._house.answer(Metadata(self._ref))
        return answer


def predict_rows(answer: Callable[[Request | Metadata], Any], ref: ModelRef, X: Any, signature: str = DEFAULT) -> Any:
    """`Model.predict` for any model of a house, whose `answer` this is."""
    metadata: ModelMetadata = answer(Metadata(ref))
    meant = metadata.others.get(signature, metadata)
    response: Response = answer(Request(ref, body_of(meant.signature, X), None, signature))
    if isinstance(X, Mapping):
        return dict(response.outputs)
    if len(response.defaults) == 1:
        return response.outputs[response.defaults[0]]
    return {name: response.outputs[name] for name in response.defaults}


def body_of(signature: Signature, X: Any) -> Body:
    """A person's own data as a request body."""
    if isinstance(X, Mapping):
        return _named(signature, X)
    if hasattr(X, "columns") and hasattr(X, "__getitem__"):  # a data frame, of pandas or of anybody
        return _named(signature, {str(column): X[column] for column in X.columns})
    if isinstance(X, tuple):
        return _positional(signature, X)
    if isinstance(X, list):
        if X and isinstance(X[0], Mapping):
            return Rows([{name: _plain(value) for name, value in row.items()} for row in X])
        if not any(isinstance(row, np.ndarray) for row in X):
            return Rows([_plain(row) for row in X])
    return _array(signature, np.asarray(X))


def _named(signature: Signature, values: Mapping[str, Any]) -> Tensors:
    table = signature.table
    columns = frozenset(table.columns) if table is not None else frozenset[str]()
    specs = {spec.name: spec for spec in signature.inputs}
    tensors = []
    for name, value in values.items():
        spec = specs.get(name)
        if spec is None and table is not None and name in columns:
            spec = TensorSpec(name, table.dtype, table.shape[:1], nullable=table.nullable)
        tensors.append(_tensor(spec, name, value))
    return Tensors(tuple(tensors))


def _positional(signature: Signature, arrays: Sequence[Any]) -> Tensors:
    if len(arrays) != len(signature.inputs):
        raise SetsailError(
            "input.missing" if len(arrays) < len(signature.inputs) else "input.unknown",
            f"{len(arrays)} inputs for a model of {len(signature.inputs)}", value=len(arrays),
            expected=", ".join(map(str, signature.inputs)),
        )  # fmt: skip
    return Tensors(tuple(_tensor(s, s.name, a) for s, a in zip(signature.inputs, arrays, strict=True)))


def _array(signature: Signature, array: Array) -> Tensors:
    """One array: the only input, or a table whose columns are the inputs in order."""
    if len(signature.inputs) == 1:
        return Tensors((_tensor(signature.inputs[0], signature.inputs[0].name, array),))
    width = len(signature.inputs)
    if array.ndim != 2 or array.shape[1] != width or any(len(s.shape) != 1 for s in signature.inputs):
        raise SetsailError(
            "input.shape", f"one array for a model of {width} inputs", value=list(array.shape),
            expected=f"[rows, {width}], or the inputs by name: " + ", ".join(s.name for s in signature.inputs),
        )  # fmt: skip
    return Tensors(tuple(_tensor(s, s.name, array[:, i]) for i, s in enumerate(signature.inputs)))


# -- values ------------------------------------------------------------------------------------------------------


def _tensor(spec: TensorSpec | None, name: str, value: Any) -> Tensor:
    """A value as a tensor: typed arrays stay arrays, everything else becomes Python values, checked one by one."""
    kind = spec.dtype.kind if spec is not None else ""
    if not hasattr(value, "dtype"):
        return Tensor(name, _plain(value if isinstance(value, list | tuple) else [value], kind))
    array = np.asarray(value)
    if spec is None or array.dtype.kind in "OUST" or kind == "string":
        return Tensor(name, _plain(array.tolist(), kind))
    if kind == "float" and array.dtype.kind in "fiub":
        return Tensor(name, _rounded(spec, array))
    if array.dtype.kind == "b" and kind in ("int", "uint"):
        return Tensor(name, array.astype(spec.dtype.numpy))
    if array.dtype.kind in "iu" and kind in ("int", "uint"):
        return Tensor(name, array)  # `bind` holds every value against the range
    if array.dtype.kind != "b" or kind != "bool":
        raise SetsailError(
            "input.dtype", f"input {name!r} has the wrong dtype", field=name, value=str(array.dtype),
            expected=spec.dtype.name, todo=f"cast it yourself if that is meant: .astype({spec.dtype.name!r})",
        )  # fmt: skip
    return Tensor(name, array)


def _rounded(spec: TensorSpec, array: Array) -> Array:
    with np.errstate(over="ignore"):
        cast = array.astype(spec.dtype.numpy)
    beyond = np.isinf(cast) & ~np.isinf(array.astype(np.float64))
    if beyond.any():
        where = tuple(int(i) for i in np.argwhere(beyond)[0])
        raise SetsailError(
            "input.range", f"input {spec.name!r}, row {where[0] if where else 0}, is out of range", field=spec.name,
            value=array[where].item(), expected=f"a number that {spec.dtype} holds",
        )  # fmt: skip
    return cast


def _plain(value: Any, kind: str = "") -> Any:
    """numpy's and pandas' scalars as Python's, their missing values as None (in a column of text NaN is one)."""
    if isinstance(value, list | tuple):
        return [_plain(v, kind) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), kind)
    if type(value).__name__ in ("NAType", "NaTType") or (kind == "string" and value != value):
        return None
    return value
