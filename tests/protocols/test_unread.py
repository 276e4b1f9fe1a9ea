"""Every form of numbers that is told apart without being read means what the wire's general way reads in it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from setsail.binding import bind
from setsail.errors import SetsailError
from setsail.merging import merge, portion
from setsail.messages import Digits, Request
from setsail.protocols.graphpipe.buffer import Writer
from setsail.protocols.graphpipe.wire import _written
from setsail.protocols.http import HttpRequest
from setsail.protocols.table import DATA
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, Array

JSON = "application/json"
NAMES = ("a", "b", "c")
MARK = "a-mark"
Said = tuple[str, Mapping[str, str], bytes]


def said(path: str, kind: str, body: str) -> Said:
    return path, {"content-type": kind}, body.encode()


def fields(values: list[str], form: str, mark: str) -> str:
    return mark.join(form.format(n, v) for n, v in zip(NAMES, values, strict=False))


# Three numbers as texts, in the words of each form.
TEXTS: dict[str, Callable[[list[str]], Said]] = {
    "columns": lambda v: said("/predict/m", JSON, "{" + fields(v, '"{}": [{}]', ", ") + "}"),
    "object": lambda v: said("/predict/m", JSON, "{" + fields(v, '"{}":{}', ",") + "}"),
    "csv": lambda v: said("/predict/m", "text/csv", "a,b,c\r\n" + ",".join(v) + "\r\n"),
    "form": lambda v: said("/predict/m", "application/x-www-form-urlencoded", fields(v, "{}={}", "&")),
    "lines": lambda v: said("/invocations", "application/jsonlines", f"[{','.join(v)}]\n"),
    "headless": lambda v: said("/invocations", "text/csv", ",".join(v) + "\n"),
    "rows": lambda v: said("/invocations", JSON, f"[[{','.join(v)}]]"),
    "split": lambda v: said(
        "/invocations",
        JSON,
        '{{"dataframe_split":{{"columns":["a","b","c"],"index":[0],"data":[[{}]]}}}}'.format(",".join(v)),
    ),
    "bare split": lambda v: said("/invocations", JSON, '{{"dataframe_split":{{"data":[[{}]]}}}}'.format(",".join(v))),
    "records": lambda v: said(
        "/invocations", JSON, '{{"dataframe_records":[{{{}}}]}}'.format(fields(v, '"{}": {}', ", "))
    ),
    "instances": lambda v: said("/invocations", JSON, '{{"instances":[[{}]]}}'.format(",".join(v))),
    "named instances": lambda v: said(
        "/invocations", JSON, '{{"instances":[{{{}}}]}}'.format(fields(v, '"{}":{}', ","))
    ),
    "inputs": lambda v: said("/invocations", JSON, '{{"inputs":{{"x":[[{}]]}}}}'.format(",".join(v))),
    "frame": lambda v: said("/invocations", "text/csv; charset=utf-8", "a,b,c\n" + ",".join(v) + "\n"),
    "TF inputs": lambda v: said("/v1/models/m:predict", JSON, '{{"inputs":{{"x":[[{}]]}}}}'.format(",".join(v))),
    "TF bare inputs": lambda v: said("/v1/models/m:predict", JSON, '{{"inputs":[[{}]]}}'.format(",".join(v))),
}


def npy(array: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(array: Array) -> bytes:
    out = io.BytesIO()
    np.savez(out, x=array)
    return out.getvalue()


def multipart(array: Array) -> bytes:
    head = f'--{MARK}\r\nContent-Disposition: form-data; name="x"; filename="x.npy"\r\n\r\n'
    return head.encode() + npy(array) + f"\r\n--{MARK}--\r\n".encode()


def blob(array: Array) -> Said:
    dtype = next(d.oip for d in BY_NAME.values() if d.numpy == array.dtype)
    tensor = {"name": "x", "shape": array.shape, "datatype": dtype, "parameters": {"binary_data_size": array.nbytes}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return "/v2/models/m/infer", {"inference-header-content-length": str(len(head))}, head + array.tobytes()


def graphpipe(array: Array) -> Said:
    tensor = partial(_written, array=array)
    raw = Writer().finish(lambda out: out.table(1, lambda out: out.table(
        partial(Writer.text, value=""), lambda out: out.children(()), lambda out: out.children([tensor]),
        lambda out: out.children(()),
    )))  # fmt: skip
    return "/graphpipe/m", {}, raw


BYTES: dict[str, Callable[[Array], Said]] = {
    "npy": lambda a: ("/predict/m", {"content-type": "application/x-npy"}, npy(a)),
    "npz": lambda a: ("/predict/m", {"content-type": "application/x-npz"}, npz(a)),
    "files": lambda a: ("/predict/m", {"content-type": f"multipart/form-data; boundary={MARK}"}, multipart(a)),
    "binary": blob,
    "graphpipe": graphpipe,
}


def signature(dtype: str, names: tuple[str, ...]) -> Signature:
    spec = TensorSpec("x", BY_NAME[dtype], ("N", 3), names)
    return Signature((spec,), (TensorSpec("y", BY_NAME["float32"], ("N", 1)),), ("y",))


def body(asked: Said) -> Any:
    path, headers, raw = asked
    ask = DATA.route(HttpRequest("POST", path, headers=headers, body=raw)).ask
    assert isinstance(ask, Request)
    return ask.body


def outcome(sig: Signature, read: Callable[[], Any]) -> Any:
    try:
        (array,) = bind(sig, read()).values()
    except SetsailError as fault:
        return fault.code, fault.facts.get("field")
    return array.dtype, array.shape, array.tolist() if array.dtype.kind == "O" else array.tobytes()


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str), st.floats().map(json.dumps),
    st.sampled_from(["-0", "-0.0", "0", "1", "2", "1.0", "1e3", "1e400", "01", "1.", ".5", "+1", "", "null", "1 2"]),
)  # fmt: skip
TABLES = ((), NAMES, ("c", "b", "a"), ("0", "1", "2"), ("x", "b", "c"), ("3", "1", "7"))
DTYPES = ("float32", "float64", "float16", "int8", "int64", "uint64", "bool", "string")


@pytest.mark.parametrize("form", TEXTS)
def test_three_numbers_are_not_read_before_they_are_bound(form: str) -> None:
    found = body(TEXTS[form](["1", "2.5", "3e1"]))
    assert isinstance(found, Digits)
    assert bind(signature("float32", NAMES), found)["x"].tolist() == [[1.0, 2.5, 30.0]]


@pytest.mark.parametrize("form", TEXTS)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(values=st.lists(NUMBERS, min_size=2, max_size=3), names=st.sampled_from(TABLES), dtype=st.sampled_from(DTYPES))
@example(values=["0", "1", "2"], names=(), dtype="float32")
@example(values=["7", "3", "1"], names=("3", "1", "7"), dtype="int64")
@example(values=["-0", "1", "-0"], names=NAMES, dtype="float32")
@example(values=["1", "2.0", "3"], names=NAMES, dtype="int64")
def test_texts_come_to_what_the_general_way_comes_to(
    form: str, values: list[str], names: tuple[str, ...], dtype: str
) -> None:
    sig, asked = signature(dtype, names), TEXTS[form](values)
    try:
        found = body(asked)
    except SetsailError:
        return
    if isinstance(found, Digits):
        assert outcome(sig, lambda: found) == outcome(sig, found.again)


@pytest.mark.parametrize("form", BYTES)
@pytest.mark.parametrize("held", ["<f4", "<f8", "<f2", "<i8", "<u8", "<i1", ">f4", "|b1"])
def test_bytes_come_to_what_the_general_way_comes_to(form: str, held: str) -> None:
    if form in ("binary", "graphpipe") and held == ">f4":
        pytest.skip("the protocol has one byte order")
    with np.errstate(invalid="ignore"):
        arrays = [
            np.array(rows, np.float64).astype(held)
            for rows in ([[1, 2, 3]], [[0.5, 0, 250]], [[np.nan, 1, np.inf]], [[1, 2, 3], [4, 5, 6]], [[1, 2]])
        ]
    for dtype in DTYPES:
        for names in ((), NAMES):
            sig = signature(dtype, names)
            for array in arrays:
                first, second = body(BYTES[form](array)), body(BYTES[form](array[:, ::-1].copy()))
                for found in (first, second):
                    if isinstance(found, Digits):
                        assert outcome(sig, lambda one=found: one) == outcome(sig, found.again)  # type: ignore[misc]
    plain = body(BYTES[form](np.ones((1, 3), held)))
    # GraphPipe has no truth values: they travel as uint8.
    assert isinstance(plain, Digits) == (held not in (">f4", "|b1") or (form == "graphpipe" and held == "|b1"))


@pytest.mark.parametrize("form", [*TEXTS, *BYTES])
@pytest.mark.parametrize("fits", [True, False])
def test_joined_they_are_the_rows_in_order(form: str, fits: bool) -> None:
    """Where the model takes just such numbers, and where each body has to be read for itself."""
    table = np.arange(12, dtype=np.float32).reshape(4, 3) + 5
    if form in BYTES:
        bodies = [body(BYTES[form](row[None])) for row in table]
    else:
        bodies = [body(TEXTS[form]([str(v) for v in row.tolist()])) for row in table]
    assert all(isinstance(one, Digits) for one in bodies[1:])
    bodies = bodies[1:]
    assert len({portion(one) for one in bodies}) == 1
    if not fits:
        bodies = [one.again() for one in bodies]
    joined = bind(signature("float32" if fits else "float64", NAMES), merge(bodies))["x"]
    assert joined.tolist() == table[1:].tolist()


def test_a_row_that_may_be_the_header_is_not_joined_with_others() -> None:
    """A table without names calls its columns 0, 1, 2; so this is a header, and there are no rows."""
    bodies = [body(TEXTS["headless"](values)) for values in (["5", "6", "7"], ["0", "1", "2"])]
    for sig in (signature("float32", ()), signature("float32", ("0", "1", "2"))):
        with pytest.raises(SetsailError):
            bind(sig, merge(bodies))
        with pytest.raises(SetsailError):
            bind(sig, merge([one.again() for one in bodies]))
    assert bind(signature("float32", NAMES), merge(bodies))["x"].tolist() == [[5, 6, 7], [0, 1, 2]]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a[1]": [], "b": [2], "c": [3]}', b'{"a": [1], "a": [2], "b": [3]}', b'{"a": [1], "b": [2, 3]}',
        b'{"a": [1], "b": ["x"]}', b'{"input": [1]}', b'{"a": {"b": [1]}}', b'[{"a": [1]}]', b'{"a": [[1]], "b": [2]}',
        b'{"a:1,": 2, "b": []}', b'{"a": 1, "b": {"c": 2}}', b'{"data": 1}', b'{"a": 1, "b": "2"}', b'{"a": 1',
    ],
)  # fmt: skip
def test_other_objects_are_read_at_once(raw: bytes) -> None:
    try:
        found = body(("/predict/m", {"content-type": JSON}, raw))
    except SetsailError:
        return
    assert not isinstance(found, Digits)


def test_an_archive_whose_sum_is_wrong_is_refused_as_ever() -> None:
    raw = npz(np.ones((1, 3)))
    for _ in range(2):
        assert bind(signature("float32", NAMES), body(("/predict/m", {"content-type": "application/x-npz"}, raw)))
    spoilt = bytearray(raw)
    spoilt[raw.index(b"\x93NUMPY") + 130] ^= 1
    with pytest.raises(SetsailError) as caught:
        body(("/predict/m", {"content-type": "application/x-npz"}, bytes(spoilt)))
    assert caught.value.code == "request.binary"
