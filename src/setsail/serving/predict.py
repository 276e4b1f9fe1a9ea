"""The one path of a prediction: lease a version, bind, run, narrow to what was asked for.

Every wire and the in-process `Model` end here. It is the only place where a model is run for a client, and
`binding.bind` the only place where a request is checked. `predict` answers one request in the caller's thread;
`together` answers several of one version by one run, which is what a server does (`line.py`).

Several requests are joined before they are bound (`merging.py`). When anything about the joined request is refused,
each is bound alone and gets its own fault; those that are right still share a run. When that run fails, each runs
alone: a bad member never fails its neighbours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.letters import REQUEST, Letter
from setsail.merging import merge
from setsail.messages import TOGETHER, Body, Digits, Request, Response, Tensor, Tensors
from setsail.serving import slices
from setsail.serving.chosen import Chosen, chosen
from setsail.serving.leases import Loaded
from setsail.serving.observers import Finished, Observer, tell
from setsail.serving.table import Table
from setsail.shares import Run, Share
from setsail.shortcut import fits
from setsail.signature import DEFAULT, Signature
from setsail.tensors import Array

__all__ = ["Prediction", "Timings", "begin", "conclude", "lease", "predict", "together", "wanted"]

_LOG = logging.getLogger("setsail.serving")
Outcome = Response | BaseException


class Prediction:
    """One request on its way: the version it leased, how many rows it has, and which outputs it wants (None: all)."""

    __slots__ = ("began", "loaded", "request", "rows", "signature", "version", "wanted")

    def __init__(
        self, request: Request, version: int, loaded: Loaded, wanted: frozenset[str] | None, began: float
    ) -> None:
        self.request, self.version, self.loaded, self.wanted, self.began = request, version, loaded, wanted, began
        self.signature = loaded.runner.signature
        self.rows = 1


class Timings(Struct):
    """Seconds of one run: joining and binding, the run itself, cutting the answers apart; and when it began."""

    begun: float = 0.0
    merge: float = 0.0
    run: float = 0.0
    split: float = 0.0


def predict(
    tables: Callable[[], Table], request: Request, observers: Sequence[Observer] = (), asker: object = None
) -> Response:
    """Answer one request.

    Args:
        tables: gives the table of this moment; asked again if the version found there was retired meanwhile.
        asker: as of `begin`.

    Raises:
        SetsailError: `model.*`, `input.*` or `output.unknown`. The observers are told of it first.
    """
    began = perf_counter()
    try:
        prediction = begin(tables, request, began, asker)
    except BaseException as fault:
        if observers:
            tell(observers, Finished(request, seconds=perf_counter() - began, error=fault))
        raise
    try:
        (outcome,) = together([prediction], Timings(), observers)
    finally:
        prediction.loaded.release()
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def begin(
    tables: Callable[[], Table], request: Request, began: float, asker: object = None,
    lacking: Callable[[Request, int, Loaded, BaseException], object] | None = None,
) -> Prediction:  # fmt: skip
    """Lease the version that is meant; whoever calls this releases it. Raises what `predict` raises, but `input.*`.

    Args:
        asker: who will be called with the answer, for routes that look at headers (`chosen.py`).
        lacking: told of a version that has no such signature or output, before that is raised.
    """
    entry = tables().found.get(request.model)  # as `lease` does, in fewer steps
    if entry is not None and entry.loaded is not None and entry.loaded.acquire():
        version, loaded = entry.version, entry.loaded
    else:
        version, loaded = lease(tables, request, asker)
    if request.letter is not None and loaded.runner.signature.inputs[0].content == REQUEST:
        try:
            request = _unread(request, request.letter, loaded.runner.signature)
        except BaseException:
            loaded.release()
            raise
    if request.outputs is None and request.signature == DEFAULT:
        return Prediction(request, version, loaded, None, began)
    try:
        meant = loaded.under(request.signature)
        return Prediction(request, version, meant, wanted(meant, request, loaded), began)
    except BaseException as fault:
        if lacking is not None:
            lacking(request, version, loaded, fault)
        loaded.release()
        raise


def _unread(request: Request, letter: Callable[[], Letter], signature: Signature) -> Request:
    """The same for code that reads requests by itself: it gets this one as it came, and answers all it has."""
    body = Tensors((Tensor(signature.inputs[0].name, [letter().sealed()]),))
    return replace(request, body=body, letter=None)


def lease(tables: Callable[[], Table], request: Request, asker: object = None) -> tuple[int, Loaded]:
    """The version a client means, or the route chooses, with a lease on it that the caller releases."""
    while True:
        table = tables()
        picker = table.picker(request.model)
        entry = table.find(request.model) if picker is None else chosen(table, picker, request, asker)
        # No lease: the version was retired since the table was read, so the next table does not have it ready.
        if entry.loaded is not None and entry.loaded.acquire():
            watched = picker is not None and picker.route.watched
            return entry.version, Chosen(entry.loaded, picker.route) if watched and picker else entry.loaded


def together(predictions: Sequence[Prediction], timings: Timings, observers: Sequence[Observer] = ()) -> list[Outcome]:
    """Answer requests of one version whose bodies may be joined (`merging.portion`), by one run if all goes well.

    Args:
        timings: gets what this took added.

    Returns:
        An answer or a fault for each, in order.
    """
    began = perf_counter()
    signature = predictions[0].signature
    try:
        inputs = bind(signature, _merged(signature, [p.request.body for p in predictions]))
        bound = perf_counter()
        rows = len(next(iter(inputs.values()))) if signature.batched else 1
        outputs = _run(predictions, inputs, rows)
        ran = perf_counter()
        timings.merge += bound - began
        timings.run += ran - bound
        if len(predictions) == 1:
            predictions[0].rows = rows
            return [conclude(predictions[0], inputs, outputs, observers)]
        outcomes = _cut(predictions, inputs, outputs, rows, observers)
        timings.split += perf_counter() - ran
        if outcomes is not None:
            return outcomes
    except Exception as fault:
        if len(predictions) == 1:
            return [_failed(predictions[0], fault, observers)]
    return _apart(predictions, timings, observers)


def conclude(
    prediction: Prediction,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    observers: Sequence[Observer] = (),
) -> Response:
    """The answer to one request out of all outputs of its rows; its observers are told."""
    if observers:
        _tell(prediction, observers, inputs, outputs)
    return _response(prediction, _narrowed(prediction, outputs))


def _response(prediction: Prediction, asked: Mapping[str, Array]) -> Response:
    """The answer out of what was asked for of its rows."""
    request, signature = prediction.request, prediction.signature
    defaults = signature.defaults
    if prediction.wanted is not None:
        defaults = tuple([name for name in defaults if name in asked]) or tuple(asked)
    return Response(request.model.name, prediction.version, asked, defaults, signature, request.id)


def _narrowed(prediction: Prediction, outputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """Of all outputs those that were asked for, in the signature's order."""
    wanted = prediction.wanted
    if wanted is None:
        return outputs
    return {spec.name: outputs[spec.name] for spec in prediction.signature.outputs if spec.name in wanted}


def _merged(signature: Signature, bodies: list[Body]) -> Body:
    """One body of all. Numbers that were not read yet stay so where they are just what the model takes."""
    first = bodies[0]
    if type(first) is Digits and not fits(signature.sole, first.form):
        bodies = [body.again() for body in bodies if isinstance(body, Digits)]
    return merge(bodies)


# -- one run for several -----------------------------------------------------------------------------------------------


def _cut(
    predictions: Sequence[Prediction],
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    rows: int,
    observers: Sequence[Observer],
) -> list[Outcome] | None:
    """Everybody's own rows; None when the rows that came out are not the rows that went in."""
    if rows != sum([p.rows for p in predictions]) or any(not a.shape or len(a) != rows for a in outputs.values()):
        return None
    if rows == len(predictions) and not observers:
        return _shares(predictions, outputs)
    outcomes: list[Outcome] = []
    start = 0
    for prediction in predictions:
        stop = start + prediction.rows
        own = {name: array[start:stop] for name, array in outputs.items()}
        given = {name: array[start:stop] for name, array in inputs.items()} if observers else inputs
        outcomes.append(conclude(prediction, given, own, observers))
        start = stop
    return outcomes


def _shares(predictions: Sequence[Prediction], outputs: Mapping[str, Array]) -> list[Outcome]:
    """Everybody's own row; what those write who asked for the same outputs is written once."""
    runs: dict[frozenset[str] | None, Run] = {}
    outcomes: list[Outcome] = []
    for index, prediction in enumerate(predictions):
        run = runs.get(prediction.wanted)
        if run is None:
            run = runs[prediction.wanted] = Run(_narrowed(prediction, outputs))
        outcomes.append(_response(prediction, Share(run, index)))
    return outcomes


def _apart(predictions: Sequence[Prediction], timings: Timings, observers: Sequence[Observer]) -> list[Outcome]:
    """Bind each alone; run what is right together, or one by one when that fails."""
    began = perf_counter()
    outcomes: dict[int, Outcome] = {}
    right: list[tuple[int, Prediction, dict[str, Array]]] = []
    for index, prediction in enumerate(predictions):
        try:
            inputs = bind(prediction.signature, prediction.request.body)
            prediction.rows = len(next(iter(inputs.values()))) if prediction.signature.batched else 1
            right.append((index, prediction, inputs))
        except Exception as fault:
            outcomes[index] = _failed(prediction, fault, observers)
    timings.merge += perf_counter() - began
    # Someone was at fault, so the others may well run together; if nobody was, together is what has just failed.
    if len(right) > 1 and outcomes:
        joined = _joined([inputs for _, _, inputs in right])
        cut = None
        if joined is not None:
            cut = _shared_run([p for _, p, _ in right], joined, timings, observers)
        if cut is not None:
            outcomes |= {index: outcome for (index, _, _), outcome in zip(right, cut, strict=True)}
            right = []
    for index, prediction, inputs in right:
        outcomes[index] = _alone(prediction, inputs, timings, observers)
    return [outcomes[index] for index in range(len(predictions))]


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array] | None:
    """Bound inputs one after the other; None when their shapes differ beyond the rows."""
    if any(part[name].shape[1:] != array.shape[1:] for part in parts for name, array in parts[0].items()):
        return None
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _shared_run(
    predictions: Sequence[Prediction], inputs: Mapping[str, Array], timings: Timings, observers: Sequence[Observer]
) -> list[Outcome] | None:
    began = perf_counter()
    rows = sum(p.rows for p in predictions)
    try:
        outputs = _run(predictions, inputs, rows)
    except Exception:
        return None
    finally:
        timings.run += perf_counter() - began
    return _cut(predictions, inputs, outputs, rows, observers)


def _alone(
    prediction: Prediction, inputs: Mapping[str, Array], timings: Timings, observers: Sequence[Observer]
) -> Outcome:
    began = perf_counter()
    try:
        outputs = _run((prediction,), inputs, prediction.rows)
    except Exception as fault:
        return _failed(prediction, fault, observers)
    finally:
        timings.run += perf_counter() - began
    return conclude(prediction, inputs, outputs, observers)


# -- pieces ------------------------------------------------------------------------------------------------------------


def wanted(meant: Loaded, request: Request, version: Loaded) -> frozenset[str] | None:
    """The outputs asked for: all (None), those listed, or the one that the request's signature name stands for.

    Args:
        meant: the signature that answers: of this name, or the version's default one.

    Raises:
        SetsailError: `model.signature` or `output.unknown`.
    """
    signature = meant.runner.signature
    if request.signature == DEFAULT or request.signature in version.others:
        return frozenset([signature.output(name).name for name in request.outputs]) if request.outputs else None
    names = frozenset(spec.name for spec in signature.outputs)
    if request.signature not in names:
        known = dict.fromkeys([DEFAULT, *version.others, *sorted(names)])
        if TOGETHER in request.signature:
            _check_one_run(request, known, version)
            return None
        raise _unknown(request, request.signature, known)
    return frozenset([signature.output(name).name for name in request.outputs or (request.signature,)])


def _check_one_run(request: Request, known: Iterable[str], version: Loaded) -> None:
    """Whether every one of several signatures is answered by the default one's run. Raises `model.signature`."""
    for name in request.signature.split(TOGETHER):
        if name not in known:
            raise _unknown(request, name, known)
        if name in version.others:
            raise SetsailError(
                "model.signature", f"signature {name!r} of {request.model.name!r} is answered by a run of its own",
                field="signature", value=name, expected="serving_default or its outputs", todo="ask for it alone",
            )  # fmt: skip


def _unknown(request: Request, name: str, known: Iterable[str]) -> SetsailError:
    return SetsailError("model.signature", f"model {request.model.name!r} has no signature {name!r}", field="signature",
                        value=name, expected=", ".join(known))  # fmt: skip


def _run(predictions: Sequence[Prediction], inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Run, and have the rows noted where the version is watched."""
    loaded = predictions[0].loaded
    outputs = slices.run(loaded.runner, inputs, rows)
    if loaded.watch is not None:
        if len(predictions) == 1:
            predictions[0].rows = rows  # who runs alone is not counted before
        loaded.watch(predictions, inputs, outputs, rows)
    return outputs


def _failed(prediction: Prediction, fault: Exception, observers: Sequence[Observer]) -> Exception:
    request = prediction.request
    if isinstance(fault, SetsailError) and fault.code == "model.run":
        _LOG.error("%s: request %r: %s", request.model, request.id, fault.to_json())
    if observers:
        seconds = perf_counter() - prediction.began
        tell(observers, Finished(request, prediction.version, seconds=seconds, error=fault))
    return fault.kept() if isinstance(fault, SetsailError) else fault


def _tell(
    prediction: Prediction, observers: Sequence[Observer], inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> None:
    seconds = perf_counter() - prediction.began
    tell(observers, Finished(prediction.request, prediction.version, prediction.rows, seconds, inputs, outputs))
