"""GraphPipe's messages, written here with our own writer; its real client is in `tests/contracts/test_graphpipe.py`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeHouse, gallery

from setsail.errors import SetsailError
from setsail.protocols.graphpipe import EVERYWHERE
from setsail.protocols.graphpipe.buffer import Reader, Table, Writer
from setsail.protocols.graphpipe.wire import _written
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.plain import ONLY_MODEL
from setsail.protocols.table import DATA
from setsail.protocols.table import Table as Paths
from setsail.tensors import DTYPES, DType

NINE = Paths.of(*EVERYWHERE)
NAMES = [
    None, "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
    "string",
]  # fmt: skip


def text(value: str | bytes) -> Any:
    return partial(Writer.text, value=value)


def infer(
    *tensors: Any, names: Sequence[str] = (), outputs: Sequence[str | bytes] = (), config: str = "", kind: int = 1
) -> bytes:
    """A Request; a tensor is an array, or what writes one."""
    made = [tensor if callable(tensor) else partial(_written, array=np.asarray(tensor)) for tensor in tensors]
    return Writer().finish(
        lambda out: out.table(
            kind,
            lambda out: out.table(
                text(config),
                lambda out: out.children([text(name) for name in names]),
                lambda out: out.children(made),
                lambda out: out.children([text(name) for name in outputs]),
            ),
        )
    )


METADATA = Writer().finish(lambda out: out.table(2, lambda out: out.table()))


def post(path: str, raw: bytes, house: FakeHouse | None = None, table: Paths = DATA) -> HttpReply:
    exchange = table.route(HttpRequest("POST", path, "", {}, raw))
    return exchange.encode((house or gallery()).answer(exchange.ask))


def array(tensor: Table) -> Any:
    name = NAMES[tensor.byte(0)]
    if name == "string":
        made = np.empty(len(tensor.texts(3)), object)
        made[:] = [value.decode() for value in tensor.texts(3)]
        return made.reshape(tensor.longs(1))
    return np.frombuffer(tensor.data(2) or b"", name).reshape(tensor.longs(1))


def arrays(reply: HttpReply) -> list[Any]:
    root = Reader(reply.body).root()
    assert root.tables(1) == []
    return [array(tensor) for tensor in root.tables(0)]


def code_of(raw: bytes, path: str = "/graphpipe/iris") -> str:
    with pytest.raises(SetsailError) as caught:
        post(path, raw)
    return caught.value.code


IRIS = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]])


# -- inference ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind != "bool"], ids=str)
def test_every_type_comes_back_exactly(dtype: DType) -> None:
    values = np.array([["", "é\n😀"]], object) if dtype.kind == "string" else extremes(dtype)
    (back,) = arrays(post(f"/graphpipe/echo-{dtype.name}", infer(values)))
    assert back.dtype == dtype.numpy
    assert back.tolist() == values.tolist()


def extremes(dtype: DType) -> Any:
    info: Any = np.finfo(dtype.numpy) if dtype.kind == "float" else np.iinfo(dtype.numpy)
    return np.array([[info.min, info.max]], dtype.numpy)


def test_truth_values_travel_as_uint8() -> None:
    (back,) = arrays(post("/graphpipe/echo-bool", infer(np.array([[1, 0]], np.uint8))))
    assert (back.dtype, back.tolist()) == (np.uint8, [[1, 0]])
    assert code_of(infer(np.array([[2, 0]], np.uint8)), "/graphpipe/echo-bool") == "input.range"


def test_inputs_by_name_or_in_order() -> None:
    person = [np.array([42.0]), np.array(["Rome"], object), np.array([2]), np.array([1], np.uint8)]
    order = ["age", "city", "children", "member"]
    for raw in (
        infer(*person),
        infer(*person, names=order),
        infer(*reversed(person), names=order[::-1]),
        infer(*person, names=["age"]),
    ):
        (prediction,) = arrays(post("/graphpipe/people", raw))
        assert prediction.tolist() == [46.0]
    assert code_of(infer(*person, np.array([1])), "/graphpipe/people") == "input.unknown"
    assert code_of(infer(*person[:3]), "/graphpipe/people") == "input.missing"


def test_outputs_come_in_the_order_asked_for() -> None:
    names = ["probabilities", "label"]
    probabilities, label = arrays(post("/graphpipe/iris", infer(IRIS, outputs=names)))
    assert (probabilities.dtype, label.dtype) == (np.float32, object)
    (default,) = arrays(post("/graphpipe/iris", infer(IRIS)))
    exchange = DATA.route(HttpRequest("POST", "/graphpipe/iris", "", {}, infer(IRIS)))
    assert exchange.ask.outputs is None  # type: ignore[union-attr]
    assert default.shape[0] == 2
    assert code_of(infer(IRIS, outputs=["label", "nothing"])) == "output.unknown"


def test_types_are_never_narrowed() -> None:
    assert arrays(post("/graphpipe/iris", infer(IRIS.astype(np.float32))))[0].shape[0] == 2
    assert code_of(infer(np.array([[1.0, 2.0]])), "/graphpipe/echo-float32") == "input.dtype"
    assert code_of(infer(np.array([["a", "b"]], object)), "/graphpipe/echo-float32") == "input.dtype"


# -- which model -------------------------------------------------------------------------------------------------------


def test_the_model_is_named_by_the_path_or_the_config() -> None:
    def model(path: str, config: str = "") -> Any:
        return NINE.route(HttpRequest("POST", path, "", {}, infer(IRIS, config=config))).ask.model  # type: ignore[union-attr]

    assert model("/graphpipe/iris").name == "iris"
    assert str(model("/graphpipe/iris/versions/3")) == "iris/3"
    for path in ("/", "/any/path/at/all", "/graphpipe"):
        assert model(path).name == ONLY_MODEL
    assert str(model("/", '{"model": "iris", "version": 3}')) == "iris/3"
    for config in ("gpu", "[]", '{"model": 1}', '{"batch": 1}'):
        assert code_of(infer(IRIS, config=config)) == "request.form"
    assert code_of(infer(IRIS, config='{"version": 0}')) == "model.version"
    assert code_of(infer(IRIS), "/graphpipe/nobody") == "model.unknown"


def test_the_data_port_has_the_paths_with_a_name() -> None:
    with pytest.raises(SetsailError) as caught:
        DATA.route(HttpRequest("POST", "/anything", "", {}, infer(IRIS)))
    assert caught.value.code == "request.path"


# -- metadata and health ---------------------------------------------------------------------------------------------


def test_metadata() -> None:
    for raw in (METADATA, infer(kind=2)):
        root = Reader(post("/graphpipe/iris", raw).body).root()
        assert [root.text(i) for i in range(4)] == [b"iris", b"1", b"setsail", b"fake 1.0"]
        told = [(io.text(0), io.longs(2), NAMES[io.byte(3)]) for slot in (4, 5) for io in root.tables(slot)]
        assert told == [
            (b"input", (-1, 4), "float64"), (b"label", (-1,), "string"), (b"probabilities", (-1, 3), "float32"),
        ]  # fmt: skip


def test_health() -> None:
    house = gallery()

    def get(path: str) -> tuple[int, bytes]:
        exchange = NINE.route(HttpRequest("GET", path))
        reply = exchange.encode(house.answer(exchange.ask))
        return reply.status, reply.body

    assert get("/control/is_ready") == (503, b"not ready\n")
    assert get("/control/is_alive") == (200, b"ok\n")
    del house.models["sleepy"]
    assert get("/control/is_ready") == (200, b"ok\n")


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_fault_is_text() -> None:
    with pytest.raises(SetsailError) as caught:
        post("/graphpipe/iris", infer(np.array([[1.0]])))
    reply = DATA.wire_of("/graphpipe/iris").render_error(caught.value)
    assert (reply.status, dict(reply.headers)["content-type"]) == (400, "text/plain; charset=utf-8")
    assert dict(reply.headers)["x-setsail-error"] == "input.shape"
    assert reply.body.startswith(b"[input.shape] ")


def tensor(kind: int, shape: Sequence[int], data: bytes = b"", strings: Sequence[bytes] = ()) -> Any:
    return lambda out: out.table(
        kind,
        lambda out: out.longs(shape),
        lambda out: out.data(data),
        lambda out: out.children([text(s) for s in strings]),
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\0", b"hello, world", METADATA[:-1][:20],
        infer(tensor(0, [1], b"\0")), infer(tensor(13, [1], b"\0")), infer(tensor(11, [-1, 4], b"\0" * 32)),
        infer(tensor(11, [2**40, 2**40], b"\0" * 8)), infer(tensor(11, [1, 4], b"\0" * 31)),
        infer(tensor(11, [1, 4], b"\0" * 40)), infer(tensor(12, [2], strings=[b"a"])),
        infer(tensor(11, [1] * 33, b"\0" * 8)),
        infer(IRIS, names=["input", "more"]), infer(IRIS, outputs=[b"\xff"]), infer(*[tensor(1, [0])] * 1001),
    ],
)  # fmt: skip
def test_what_is_refused(raw: bytes) -> None:
    assert code_of(raw) == "request.binary"


def test_empty_batches_are_refused_by_the_model() -> None:
    assert code_of(infer(np.empty((0, 4)))) == "input.empty"
    assert code_of(infer(tensor(12, [1, 2], strings=[b"\xff", b"a"])), "/graphpipe/echo-string") == "input.dtype"
