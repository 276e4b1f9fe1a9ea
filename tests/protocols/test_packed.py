"""Every quick reader of bodies, held against the general one it stands in for."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.messages import Columns, Rows, Tensor, Tensors
from setsail.protocols import packed, payload
from setsail.protocols.http import HttpRequest
from setsail.protocols.open_inference import form
from setsail.protocols.table import DATA
from setsail.protocols.tf_serving import predict as tf_serving
from setsail.protocols.values import convert, parse, parse_first
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, DTYPES, Numbers

# -- the lists themselves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [b"[1,2]", b" [ 1 ,\n2.5e3 ]"[1:], b"[[1,2],[3,4]]", b"[[[1],[2]],[[3],[4]]]", b"[[0.1]]", b"[-0.0,1]",
     b"[[[[7]]]]", b"[9007199254740993]", b"[-9223372036854775808]", b"[1E5,2]"],
)  # fmt: skip
def test_regular_lists_of_numbers(text: bytes) -> None:
    made = packed.numbers(text)
    assert made is not None
    assert made.tolist() == parse(text)
    assert made.listed() == parse(text)


@pytest.mark.parametrize(
    "text",
    [b"[[1,2],[3]]", b"[[1],[]]", b"[[],[1]]", b"[1,[2]]", b"[[1],2]", b"[]", b"[[]]", b"3", b"{}", b"[true]",
     b"[null]", b'["1"]', b"[[1,2],[3,4]", b"[1],[2]", b"[[[1],[2]],[[3]]]", b"[[[1,2]],[[3]]]", b"[1e999]", b"[NaN]",
     b"[\xff]",
     b"[123456789012345678901234567890]", b"[" * 40 + b"1" + b"]" * 40, b"", b"[1]x", b"[[[1]],[[2,3]]]"],
)  # fmt: skip
def test_everything_else_is_left_to_the_general_reader(text: bytes) -> None:
    assert packed.numbers(text) is None


NESTED = st.recursive(
    st.integers(-(2**70), 2**70) | st.integers(0, 9) | st.floats() | st.sampled_from([True, None, "1", {}]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2), max_size=3)
    ),
)


@settings(max_examples=300)
@given(NESTED, st.sampled_from([None, "float", "int", "uint", "bool"]), st.sampled_from([None, 1]))
def test_numbers_are_those_of_the_text(value: Any, kind: str | None, indent: int | None) -> None:
    text = json.dumps(value, indent=indent).encode()
    made = packed.numbers(text, kind)
    if made is not None:
        assert np.array_equal(made, np.array(parse(text), made.dtype))
        assert made.tolist() == (parse(text) if made.dtype.kind != "f" else np.array(parse(text), float).tolist())


def test_without_simdjson_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simdjson", None)
    monkeypatch.delattr(packed._local, "parser", raising=False)
    assert packed.numbers(b"[1,2]") is None
    monkeypatch.delattr(packed._local, "parser")


# -- whole bodies ------------------------------------------------------------------------------------------------------

SCALAR = st.none() | st.booleans() | st.integers(-3, 3) | st.integers() | st.floats() | st.text(max_size=3)
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)
NUMBERS = st.lists(st.integers(0, 300) | st.floats(width=32), max_size=6) | st.lists(
    st.lists(st.floats(-9, 9, width=16), min_size=2, max_size=2), max_size=4
)
PARAMETERS = st.dictionaries(st.sampled_from(["data", "binary_data", "priority", "x"]), ANYTHING | NUMBERS, max_size=2)


def odd(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(strategy, strategy, strategy, strategy, ANYTHING)


INPUT = st.fixed_dictionaries(
    {"name": odd(st.sampled_from(["x", "data", '"data":[1]', "]}", "é"])),
     "shape": odd(st.lists(st.integers(0, 4), max_size=3)),
     "datatype": odd(st.sampled_from([d.oip for d in DTYPES]))},
    optional={"data": odd(NUMBERS), "parameters": odd(PARAMETERS), "other": ANYTHING},
)  # fmt: skip
WANTED = st.fixed_dictionaries({"name": st.just("y")}, optional={"parameters": PARAMETERS})
INFER = st.fixed_dictionaries(
    {"inputs": odd(st.lists(INPUT, max_size=2))},
    optional={"id": odd(st.text(max_size=3)), "parameters": odd(PARAMETERS), "other": ANYTHING,
              "outputs": odd(st.lists(WANTED))},
)  # fmt: skip
PREDICT = st.fixed_dictionaries(
    {}, optional={"instances": odd(NUMBERS), "inputs": odd(NUMBERS), "signature_name": odd(st.text(max_size=3)),
                  "other": ANYTHING},
)  # fmt: skip


@st.composite
def texts(draw: Any, value: st.SearchStrategy[Any]) -> bytes:
    """JSON, now and then with a key written twice or otherwise, another byte, or the end missing."""
    indent, separators = draw(st.sampled_from([None, None, 1])), draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    written = json.dumps(draw(value), ensure_ascii=draw(st.booleans()), indent=indent, separators=separators)
    text = written.encode("utf-8", "surrogatepass")
    change = draw(st.sampled_from(["none"] * 6 + ["twice", "escape", "byte", "end"]))
    if change == "twice":
        for key in (b'"data"', b'"instances"', b'"name"'):
            text = text.replace(key, key + b":[1]," + key, 1)
    elif change == "escape":
        text = text.replace(b'"data"', b'"d\\u0061ta"', 1).replace(b'"instances"', b'"inst\\u0061nces"', 1)
    elif change == "byte" and text:
        at = draw(st.integers(0, len(text) - 1))
        text = text[:at] + draw(st.binary(min_size=1, max_size=1)) + text[at + 1 :]
    elif change == "end":
        text = text[: draw(st.integers(0, len(text)))]
    return text


def outcome(way: Any, *given: Any) -> Any:
    try:
        return way(*given)
    except SetsailError as fault:
        return fault.to_json()


def plainly(form: Any) -> Any:
    """A form or a fault as comparable values: arrays as lists, NaN as equal to itself."""

    def listed(value: Any) -> Any:
        if isinstance(value, Numbers):
            return listed(value.listed())
        if isinstance(value, msgspec.Struct):
            return {f: listed(getattr(value, f)) for f in value.__struct_fields__}
        if isinstance(value, list | tuple):
            return [listed(v) for v in value]
        if isinstance(value, dict):
            return {k: listed(v) for k, v in value.items()}
        return repr(value)

    return listed(form)


@pytest.mark.parametrize("long", [1 << 30, 0])
def test_infer_bodies(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LONG", long)

    @settings(max_examples=400)
    @given(texts(INFER))
    @example(
        b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","d\\u0061ta":[[1,2],[3]],"parameters":{"data":[1]}}]}'
    )
    @example(b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[],"parameters":{"data":[1,2]}}]}')
    @example(b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2')
    @example(b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[[1,2')
    @example(b'{"id":"data","inputs":[{"name":"[1,2]","shape":[2],"datatype":"FP32","data":[1,2]}]}')
    def check(text: bytes) -> None:
        quick = outcome(form.read, text)
        general = outcome(lambda: convert(parse(text), form.Infer))
        assert plainly(quick) == plainly(general)

    check()


@pytest.mark.parametrize("long", [1 << 30, 0])
def test_predict_bodies(long: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(text: bytes) -> Any:
        return (tf_serving._long_form(text) if len(text) >= long else None) or tf_serving._any_form(text)

    @settings(max_examples=400)
    @given(texts(PREDICT))
    @example(b'{"instances":[1],"instances":[[1,2],[3]]}')
    @example(b'{"signature_name":"\\"instances\\":[1]","inputs":[2]}')
    def check(text: bytes) -> None:
        assert plainly(outcome(quick, text)) == plainly(outcome(lambda: tf_serving._form(parse_first(text))))

    check()


@settings(max_examples=200)
@given(texts(NUMBERS))
def test_plain_rows(text: bytes) -> None:
    rows = payload.numbers(text.strip())
    if rows is not None and text.strip().startswith(b"["):
        assert isinstance(rows, Rows)
        assert rows.rows.listed() == parse(text)


# -- from bytes to arrays ----------------------------------------------------------------------------------------------


def test_long_bodies_become_the_same_arrays() -> None:
    values = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    spec = TensorSpec("x", BY_NAME["float32"], ("N", 4))
    signature = Signature((spec,), (spec,), ("x",))
    flat, rows = values.ravel().tolist(), values.tolist()
    tensor = {"name": "x", "shape": [600, 4], "datatype": "FP32"}
    for path, body, kind in (
        ("/v2/models/m/infer", {"inputs": [tensor | {"data": flat}]}, Tensors),
        ("/v2/models/m/infer", {"inputs": [tensor | {"data": rows}], "id": "1"}, Tensors),
        ("/v1/models/m:predict", {"instances": rows}, Rows),
        ("/v1/models/m:predict", {"signature_name": "x", "inputs": rows}, Columns),
        ("/predict/m", rows, Rows),
    ):
        request = HttpRequest("POST", path, body=memoryview(json.dumps(body).encode()))
        sent = DATA.route(request).ask.body  # type: ignore[union-attr]
        assert isinstance(sent, kind)
        (held,) = (
            [t.data for t in sent.tensors] if isinstance(sent, Tensors) else [getattr(sent, sent.__struct_fields__[0])]
        )
        assert isinstance(held, Numbers), path
        assert np.array_equal(bind(signature, sent)["x"], values)


def test_a_ragged_long_body_is_refused_by_its_row() -> None:
    rows: list[Any] = [[1.0, 2.0, 3.0, 4.0]] * 600
    rows[500] = [1.0, 2.0, 3.0]
    spec = TensorSpec("x", BY_NAME["float64"], ("N", 4))
    signature = Signature((spec,), (spec,), ("x",))
    request = HttpRequest("POST", "/v1/models/m:predict", body=json.dumps({"instances": rows}).encode())
    with pytest.raises(SetsailError) as caught:
        bind(signature, DATA.route(request).ask.body)  # type: ignore[union-attr]
    assert (caught.value.code, caught.value.facts["row"]) == ("input.ragged", 500)


def test_long_integers_are_exact() -> None:
    values = [2**53 + 1 + i for i in range(400)]
    spec = TensorSpec("x", BY_NAME["int64"], ("N",))
    signature = Signature((spec,), (spec,), ("x",))
    assert bind(signature, Rows(packed.numbers(json.dumps(values).encode())))["x"].tolist() == values
    mixed = packed.numbers(json.dumps([*values, 0.5]).encode())
    with pytest.raises(SetsailError) as caught:
        bind(signature, Tensors((Tensor("x", mixed),)))
    assert (caught.value.code, caught.value.facts["row"]) == ("input.dtype", 400)
