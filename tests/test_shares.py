"""A row of a shared run is the same row, and is written in the same words, as by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.messages import Response
from setsail.protocols.graphpipe.buffer import Writer
from setsail.protocols.graphpipe.wire import _written
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.plain import _encode_json
from setsail.protocols.table import DATA
from setsail.shares import Run, Share
from setsail.signature import Signature, TensorSpec
from setsail.tensors import NULL, Array, dtype_of

JSON = {"content-type": "application/json"}
TABLE = b"[[1,2]]"
BYTES = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}],'
BYTES += b'"parameters":{"binary_data_output":true}}'


def _graphpipe() -> bytes:
    tensor = partial(_written, array=np.ones((1, 2), np.float32))
    return Writer().finish(lambda out: out.table(1, lambda out: out.table(
        partial(Writer.text, value=""), lambda out: out.children(()), lambda out: out.children([tensor]),
        lambda out: out.children(()),
    )))  # fmt: skip


ASKS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "plain": ("/predict/m", JSON, TABLE),
    "plain CSV": ("/predict/m", JSON | {"accept": "text/csv"}, TABLE),
    "tutorial": ("/predict/m", JSON, b'{"data":[[1,2]]}'),
    "V1": ("/v1/models/m:predict", JSON, b'{"instances":[[1,2]]}'),
    "V1 columns": ("/v1/models/m:predict", JSON, b'{"inputs":[[1,2]]}'),
    "OIP": ("/v2/models/m/infer", JSON, b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'),
    "OIP bytes": ("/v2/models/m/infer", {"inference-header-content-length": str(len(BYTES))}, BYTES + bytes(8)),
    "GraphPipe": ("/graphpipe/m", {}, _graphpipe()),
    "MLflow": ("/invocations", JSON, b'{"inputs":[[1,2]]}'),
    "SageMaker": ("/invocations", JSON, TABLE),
    "SageMaker lines": ("/invocations", JSON | {"accept": "application/jsonlines"}, TABLE),
    "SageMaker CSV": ("/invocations", JSON | {"accept": "text/csv"}, TABLE),
    "SageMaker npy": ("/invocations", JSON | {"accept": "application/x-npy"}, TABLE),
}


def encoder(wire: str) -> Callable[[Response], HttpReply]:
    path, headers, body = ASKS[wire]
    return DATA.route(HttpRequest("POST", path, headers=headers, body=body)).encode


def outcome(encode: Callable[[Response], HttpReply], told: Response) -> HttpReply | str:
    """The reply, or the code of a refusal: not every form holds every answer."""
    try:
        return encode(told)
    except SetsailError as fault:
        return fault.code


def arrays(rows: int) -> st.SearchStrategy[dict[str, Array]]:
    def filled(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
        rng = np.random.default_rng(seed)
        if dtype == "object":
            made = np.empty(shape, object)
            made.ravel()[:] = [["a", 'é"],[', NULL, ""][i] for i in rng.integers(0, 4, made.size)]
            return made
        if dtype == "bool":
            return rng.integers(0, 2, shape).astype(bool)
        values = rng.normal(0, 100, shape).astype(dtype)
        if dtype.startswith("float") and values.size:
            values.ravel()[::3] = [np.nan, np.inf, -np.inf][seed % 3]
        return values

    shape = st.lists(st.integers(0, 3), max_size=2).map(lambda tail: (rows, *tail))
    dtype = st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool", "object"])
    one = st.builds(filled, shape, dtype, st.integers(0, 99))
    return st.dictionaries(st.sampled_from(["y", "a_bytes", 'ö"']), one, min_size=1, max_size=3)


def response(outputs: Mapping[str, Array], names: tuple[str, ...]) -> Response:
    specs = tuple(
        TensorSpec(n, dtype_of(a) or dtype_of(np.empty(0, object)), ("N", *a.shape[1:])) for n, a in outputs.items()
    )  # type: ignore[misc]
    contract = Signature((TensorSpec("x", dtype_of(np.empty(0, np.float32)), ("N", 2)),), specs, names)  # type: ignore[arg-type]
    return Response("m", 3, outputs, names, contract)


@pytest.mark.parametrize("wire", ASKS)
@given(made=st.integers(1, 4).flatmap(arrays), alone=st.booleans())
def test_what_is_written_for_all_is_what_each_would_be_told(wire: str, made: dict[str, Array], alone: bool) -> None:
    encode = encoder(wire)
    names = tuple(made)[:1] if alone else tuple(made)
    run = Run(made)
    for index in range(len(next(iter(made.values())))):
        own = {name: array[index : index + 1] for name, array in made.items()}
        told = outcome(encode, response(Share(run, index), names))
        assert told == outcome(encode, response(own, names))


@given(made=st.integers(1, 4).flatmap(arrays), form=st.sampled_from(["", ',"parameters":{"binary_data":true}']),
       turned=st.booleans())  # fmt: skip
def test_the_same_where_a_client_names_the_outputs(made: dict[str, Array], form: str, turned: bool) -> None:
    """As `tritonclient` always does; in the model's order or another."""
    names = list(reversed(made)) if turned else list(made)
    outputs = ",".join(f'{{"name":{json.dumps(name)}{form}}}' for name in names)
    path, headers, body = ASKS["OIP"]
    asked = body[:-1] + b',"outputs":[%b]}' % outputs.encode()
    encode = DATA.route(HttpRequest("POST", path, headers=headers, body=asked)).encode
    run = Run(made)
    for index in range(len(next(iter(made.values())))):
        own = {name: array[index : index + 1] for name, array in made.items()}
        told = outcome(encode, response(Share(run, index), tuple(made)))
        assert told == outcome(encode, response(own, tuple(made)))


def test_a_share_is_a_mapping_of_one_row() -> None:
    run = Run({"a": np.arange(4), "b": np.arange(8).reshape(4, 2)})
    share = Share(run, 2)
    assert list(share) == ["a", "b"]
    assert len(share) == 2
    assert {n: a.tolist() for n, a in share.items()} == {"a": [2], "b": [[4, 5]]}
    assert [a.tolist() for a in share.values()] == [[2], [[4, 5]]]
    assert share["b"].base is run.arrays["b"].base
    assert response(share, ("a",)).rows == 1


def test_a_wire_writes_once_a_run() -> None:
    asked: list[int] = []

    def write(response: Response, outputs: Mapping[str, Array]) -> list[bytes]:
        asked.append(1)
        return [b"%d" % value for value in outputs["a"].tolist()]

    run = Run({"a": np.arange(3)})
    assert [Share(run, i).text(write, None) for i in range(3)] == [b"0", b"1", b"2"]
    assert asked == [1]


def test_the_encoders_are_the_wires_own() -> None:
    assert encoder("plain") is _encode_json
