"""A function with its hints read: checked arrays in, calls, checked arrays out. Only in the child.

A function whose parameters are arrays is called once for all rows; any other once a row. What it returns is held
against its hint every time, so that a wrong shape is told as the function's fault and never reaches a client.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from setsail.apps.code import WrongAnswerError
from setsail.apps.hints import Leaf, Record, Shape, read_input, read_output, refused
from setsail.apps.importing import imported
from setsail.errors import SetsailError
from setsail.signature import BATCH, Signature
from setsail.tensors import NULL, Array

__all__ = ["Function", "WrongAnswerError", "load"]

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "float": (float, int, np.floating, np.integer),
    "int": (int, np.integer),
    "uint": (int, np.integer),
    "bool": (bool, np.bool_),
    "string": (str,),
}
_FROM: Final[Mapping[str, str]] = {"float": "fiu", "int": "iu", "uint": "iu", "bool": "b", "string": "UOT"}


def load(options: Mapping[str, Any]) -> Function:
    """Run the file and find the function. Raises `app.load` or `app.hints`."""
    file, name = Path(options["file"]), options["name"]
    module = imported(file)
    if not callable(getattr(module, name, None)):
        there = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        own = [n for n in there if getattr(getattr(module, n), "__module__", None) == module.__name__]
        raise SetsailError("app.load", f"{file.name} has no function {name!r}", field="PATH", value=name,
                           expected=", ".join(own[:12]) or "a function")  # fmt: skip
    return Function(getattr(module, name))


class Function:
    """A callable, ready to be run.

    Attributes:
        arrays: called once for all rows, with arrays.
        signature: what clients see.

    Raises:
        SetsailError: `app.hints`.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        target = function if inspect.isroutine(function) else type(function).__call__
        _plain(function, target, name)
        hints = _hints(target, name)
        self._function = function
        self._inputs, self._by_name = _parameters(function, hints)
        if "return" not in hints:
            raise refused("the result", "no hint", f"one behind the parameters: def {name}(…) -> float:")
        self._output = read_output(hints["return"])
        self._given, self._made = _leaves([s for _, s in self._inputs]), _leaves([self._output])
        self.arrays = _mode(self._given, self._made)
        self.signature = Signature(
            tuple(leaf.spec(self.arrays, output=False) for leaf in self._given),
            tuple(leaf.spec(self.arrays, output=True) for leaf in self._made),
            tuple(leaf.name for leaf in self._made),
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Answer rows.

        Args:
            inputs: checked arrays by name, which belong to the function from now on.

        Raises:
            WrongAnswerError: for what does not fit the hints; otherwise whatever the function raises.
        """
        rows = len(next(iter(inputs.values())))
        if self.arrays:
            values = self._split(self._call([dict(inputs)])[0])
            return {leaf.name: _array(leaf, value, rows) for leaf, value in zip(self._made, values, strict=True)}
        columns = [_column(leaf, inputs[leaf.name]) for leaf in self._given]
        names = [leaf.name for leaf in self._given]
        results = self._call([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])
        made = zip(*map(self._split, results), strict=True)
        return {leaf.name: _stack(leaf, values) for leaf, values in zip(self._made, made, strict=True)}

    def _call(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        results = []
        for values in calls:
            given = [
                shape.make(**{leaf.name: values[leaf.name] for leaf in shape.leaves})
                if isinstance(shape, Record) else values[shape.name]
                for _, shape in self._inputs
            ]  # fmt: skip
            if self._by_name:
                named = dict(zip((name for name, _ in self._inputs), given, strict=True))
                results.append(self._function(**named))
            else:
                results.append(self._function(*given))
        return results

    def _split(self, result: Any) -> Sequence[Any]:
        """A result as the values of the outputs, in order."""
        output = self._output
        if isinstance(output, Leaf):
            return (result,)
        if isinstance(output, tuple):
            if not isinstance(result, tuple | list) or len(result) != len(output):
                raise WrongAnswerError(f"it returned {_shown(result)}, and its hint says a tuple of {len(output)}")
            return result
        try:
            if output.mapping:
                return [result[leaf.name] for leaf in output.leaves]
            return [getattr(result, leaf.name) for leaf in output.leaves]
        except (KeyError, AttributeError, TypeError, IndexError) as fault:
            raise WrongAnswerError(
                f"it returned {_shown(result)} where its hint says {output.make.__name__}: {fault!r}"
            ) from fault


# -- reading a function ------------------------------------------------------------------------------------------------


def _plain(function: Callable[..., Any], target: Any, name: str) -> None:
    """Refuse what is called in another way."""
    ways = (
        (inspect.isclass(function), "a class", "a function"),
        (inspect.iscoroutinefunction(target), "async", "a plain def: requests are answered beside each other anyway"),
        (inspect.isasyncgenfunction(target), "an async generator", "a plain def that returns its whole answer"),
        (inspect.isgeneratorfunction(target), "a generator", "a plain def that returns its whole answer"),
    )
    for is_so, what, expected in ways:
        if is_so:
            raise SetsailError("app.hints", f"{name} is {what}", field=name, expected=expected)


def _hints(target: Any, name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception as fault:  # hints are evaluated, and may raise anything
        raise SetsailError("app.hints", f"the type hints of {name} cannot be read", field=name,
                           value=f"{type(fault).__name__}: {fault}", expected="hints that Python can evaluate",
                           todo="import what the hints name") from fault  # fmt: skip


def _parameters(function: Callable[..., Any], hints: Mapping[str, Any]) -> tuple[list[tuple[str, Leaf | Record]], bool]:
    """Parameters without a default, in order; and whether they must be passed by name."""
    found: list[tuple[str, Leaf | Record]] = []
    by_name = False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise refused(str(parameter), "any number of values", "parameters by name: they are the model's inputs")
        if parameter.default is not parameter.empty:
            continue
        if name not in hints:
            raise refused(name, "no hint", f"{name}: float, say")
        found.append((name, read_input(name, hints[name])))
        by_name |= parameter.kind is parameter.KEYWORD_ONLY
    if not found:
        raise refused("the parameters", "none without a default", "at least one: they are the model's inputs")
    return found, by_name


def _leaves(shapes: Sequence[Shape]) -> tuple[Leaf, ...]:
    found: list[Leaf] = []
    for shape in shapes:
        found += [shape] if isinstance(shape, Leaf) else shape.leaves if isinstance(shape, Record) else shape
    names = [leaf.name for leaf in found]
    for name in names:
        if names.count(name) > 1:
            raise refused(name, "there twice", "every input and every output once")
    return tuple(found)


def _mode(given: Sequence[Leaf], made: Sequence[Leaf]) -> bool:
    """Whether the function is called with arrays of all rows."""
    arrays = {leaf.form == "array" for leaf in given}
    if arrays == {False}:
        if any(leaf.form == "array" and not leaf.dims for leaf in made):
            raise refused("the result", "an array without dimensions", "a scalar")
        return False
    if arrays != {True}:
        raise refused("the parameters", "arrays and single values", "arrays only, or no arrays: rows come many at once")
    for leaf in (*given, *made):
        if leaf.form != "array":
            raise refused(leaf.name, leaf.form, "an array: a function of arrays answers all rows at once")
        if not leaf.dims or leaf.dims[0] != BATCH:
            shape = ",".join(map(str, (BATCH, *leaf.dims[1:])))
            raise refused(leaf.name, f"{leaf.dtype}[{','.join(map(str, leaf.dims))}]",
                          f'the rows first: "{leaf.dtype}[{shape}]"')  # fmt: skip
    return True


# -- values ------------------------------------------------------------------------------------------------------------


def _column(leaf: Leaf, array: Array) -> Sequence[Any]:
    """An input's rows as the function takes them."""
    if leaf.type is not None:
        return list(array)
    values: list[Any] = array.tolist()
    if not leaf.nullable:
        return values
    missing = NULL if leaf.dtype.kind == "string" else None
    return list(_missing(values, missing))


def _missing(values: Sequence[Any], null: str | None) -> Iterator[Any]:
    """None where a value is missing."""
    for value in values:
        if isinstance(value, list):
            yield list(_missing(value, null))
        else:
            yield None if (value == null if null is not None else value != value) else value


def _stack(leaf: Leaf, values: Sequence[Any]) -> Array:
    """One output's rows as one array."""
    if leaf.form == "scalar":
        return _scalars(leaf, values)
    rows = [_row(leaf, value) for value in values]
    if len({row.shape for row in rows}) > 1:
        raise WrongAnswerError(
            f"{leaf.name} differs in shape from row to row: {sorted({row.shape for row in rows})[:3]}"
        )
    return np.stack(rows)


def _scalars(leaf: Leaf, values: Sequence[Any]) -> Array:
    kind = leaf.dtype.kind
    allowed = _KINDS[kind]
    if leaf.nullable and None in values:
        values = [(NULL if kind == "string" else float("nan")) if v is None else v for v in values]
    for value in values:
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind != "bool"):
            raise WrongAnswerError(f"{leaf.name} is {_shown(value)}, and its hint says {leaf.dtype}")
        if leaf.choices and value not in leaf.choices:
            raise WrongAnswerError(
                f"{leaf.name} is {_shown(value)}, and its hint says one of {', '.join(leaf.choices)}"
            )
    if kind == "string":
        return _texts(leaf, np.array([str(value) for value in values], dtype=object))
    return _cast(leaf, np.array(values, dtype=object if kind in ("int", "uint") else None))


def _row(leaf: Leaf, value: Any) -> Array:
    try:
        array = np.array(value, dtype=object) if leaf.dtype.kind == "string" else np.asarray(value)
    except ValueError as fault:
        raise WrongAnswerError(f"{leaf.name} is {_shown(value)}: {fault}") from fault
    return _fitting(leaf, array, leaf.dims)


def _array(leaf: Leaf, value: Any, rows: int) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as fault:
        raise WrongAnswerError(f"{leaf.name} is {_shown(value)}: {fault}") from fault
    if array.ndim and len(array) != rows:
        raise WrongAnswerError(f"{leaf.name} has {len(array)} rows, and {rows} were asked for")
    return _fitting(leaf, array, leaf.dims)


def _fitting(leaf: Leaf, array: Array, dims: Sequence[int | str]) -> Array:
    fits = array.ndim == len(dims) and all(isinstance(d, str) or d == n for d, n in zip(dims, array.shape, strict=True))
    if not fits:
        said = f"{leaf.dtype}[{','.join(map(str, dims))}]"
        came = f"{array.dtype}[{','.join(map(str, array.shape))}]"
        raise WrongAnswerError(f"{leaf.name} is {came}, and its hint says {said}; "
                    f'say what it is: Annotated[np.ndarray, "{leaf.dtype}[…]"]')  # fmt: skip
    return _cast(leaf, array)


def _cast(leaf: Leaf, array: Array) -> Array:
    """An array in the dtype of its hint: floats may be rounded to it, nothing else may change."""
    dtype = leaf.dtype
    if array.dtype == dtype.numpy and dtype.kind != "string":
        return array
    if array.dtype == object and dtype.kind in ("int", "uint"):
        try:
            return array.astype(dtype.numpy)
        except (OverflowError, TypeError, ValueError) as fault:
            raise WrongAnswerError(f"{leaf.name} does not fit {dtype}: {fault}") from fault
    if array.dtype.kind not in _FROM[dtype.kind]:
        raise WrongAnswerError(f"{leaf.name} is {array.dtype}, and its hint says {dtype}")
    if dtype.kind == "string":
        return _texts(leaf, array.astype(object))
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype.numpy)
    if dtype.kind in ("int", "uint") and not (np.array_equal(cast, array) and np.array_equal(cast < 0, array < 0)):
        raise WrongAnswerError(f"{leaf.name} has values that {dtype} cannot hold")
    return cast


def _texts(leaf: Leaf, array: Array) -> Array:
    for value in array.ravel().tolist():
        if not isinstance(value, str):
            raise WrongAnswerError(f"{leaf.name} holds {_shown(value)}, and its hint says texts")
        try:
            value.encode()
        except UnicodeEncodeError as fault:
            raise WrongAnswerError(f"{leaf.name} holds a text that is not Unicode") from fault
    return array


def _shown(value: Any) -> str:
    """A value for the log: what it is, and its beginning."""
    try:
        text = repr(value)
    except Exception:  # a person's own class
        text = "?"
    return f"{type(value).__name__} {text[:60]}"
