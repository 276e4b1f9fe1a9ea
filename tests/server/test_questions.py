"""Asks and answers as bytes: what goes in comes out."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from setsail.catalog import (
    Card,
    Configure,
    Describe,
    Index,
    IsReady,
    Load,
    Locate,
    Metadata,
    ModelConfig,
    ModelDescription,
    ModelMetadata,
    Policy,
    Process,
    Register,
    Registered,
    Scale,
    ServerInfo,
    SetDefault,
    Statistics,
    Status,
    Terms,
    Unload,
    Unregister,
    VersionStatistics,
    VersionStatus,
)
from setsail.messages import Cells, Columns, Digits, Form, ModelRef, Request, Response, Rows, Tensor, Tensors
from setsail.server.questions import decode, decode_answer, encode, encode_answer, subject
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, NULL

REF = ModelRef("m", 2)
SIGNATURE = Signature(
    (
        TensorSpec("x", BY_NAME["float64"], ("N", 3), columns=("a", "b", "c"), nullable=True),
        TensorSpec("t", BY_NAME["string"], ("N",), categories=("u", "v"), closed=True),
    ),
    (TensorSpec("label", BY_NAME["string"], ("N",), labels=("no", "yes")), TensorSpec.parse("p:float32[N,2]")),
    ("label",),
)


def test_numbers_that_were_not_read_are_read_first() -> None:
    read = Rows([[1, 2]])
    ask = Request(REF, Digits(b"1,2", Form((1, 2)), b"[[1,2]]", lambda raw: read))
    assert decode(*encode(ask)) == Request(REF, read)


@pytest.mark.parametrize(
    "ask",
    [
        Index(True), Card(REF), Status(REF), Metadata(ModelRef("m", label="stable")), IsReady(), IsReady(REF),
        Load("m"),
        Unload("m"), Statistics(REF), Locate("a.setsail"), Register("a.setsail", "m", 1, Terms(0, 2, 8), True, False),
        Unregister("m", 2, True), SetDefault("m", 2), Scale("m", None, 0, 4), Describe("m"),
        Configure((ModelConfig("m", "/models/m", Policy(specific=(1, 2)), {"stable": 1}),)),
        Request(REF, Rows([[1, 2.5, None], {"a": "x"}]), ("p",), "serving_default", "id", {"priority": 1}),
        Request(REF, Columns({"x": [1.0], "t": ["u"]}, ignore_unknown=True)),
        Request(REF, Cells(("a", "b"), [["1", ""], ["2", "ü"]])),
        Request(REF, Tensors((Tensor("t", ["u", None], BY_NAME["string"], (2,)),))),
        Request(REF, Tensors((Tensor("t", ["u"]),), ignore_unknown=True, any_name=True)),
        Request(REF, Tensors((Tensor("t", ["u"]),), loose=True)),
    ],
    ids=lambda ask: type(ask).__name__ + type(getattr(ask, "body", None)).__name__,
)  # fmt: skip
def test_asks(ask: Any) -> None:
    kind, data = encode(ask)
    assert kind == type(ask).__name__
    assert decode(kind, data) == ask


def test_arrays_travel_as_bytes() -> None:
    data = np.array([[1.5, np.nan, -0.0]]), np.array(["u", NULL], dtype=object)
    ask = Request(REF, Tensors((Tensor("x", data[0], BY_NAME["float64"]), Tensor("t", data[1]))))
    again = decode(*encode(ask))
    assert isinstance(again, Request)
    assert isinstance(again.body, Tensors)
    x, t = again.body.tensors
    assert (x.name, x.dtype, t.dtype) == ("x", BY_NAME["float64"], None)
    assert x.data.tobytes() == data[0].tobytes()
    assert t.data.tolist() == data[1].tolist()


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (
            "Index",
            (VersionStatus("m", 1, "failed", "why", labels=("a",)), VersionStatus("m", 2, "ready", default=True)),
        ),
        ("Status", ()),
        ("IsReady", True),
        ("Load", None),
        ("Register", Registered("m", 2, "/models/m.setsail")),
        ("Unregister", True),
        ("Describe", (ModelDescription("m", 2, "m.setsail", "ready", labels=("a",), terms=Terms(0, 1),
                                       processes=(Process(7, 1.5, 1 << 20),)),)),
        ("Statistics", (VersionStatistics("m", 1, inferences=3),)),
        ("Card", (("parity", ("passed", "on 64 rows")), ("notes", ("one",)))),
        ("Metadata", ModelMetadata("m", 2, (1, 2), SIGNATURE, "scikit-learn", None, {"x": [1.0, None, 2.0], "t": "u"})),
    ],
)  # fmt: skip
def test_answers(kind: str, answer: Any) -> None:
    assert decode_answer(kind, encode_answer(kind, answer)) == answer


def test_a_response_keeps_the_order_of_its_outputs() -> None:
    outputs = {"p": np.array([[0.25, 0.75]], np.float32), "label": np.array(["yes"], dtype=object)}
    again = decode_answer("Request", encode_answer("Request", Response("m", 2, outputs, ("label",), SIGNATURE, "id")))
    assert list(again.outputs) == ["p", "label"]
    assert again.outputs["p"].dtype == np.float32
    assert again.outputs["label"].tolist() == ["yes"]
    assert (again.model, again.version, again.defaults, again.signature, again.id) == (
        "m", 2, ("label",), SIGNATURE, "id",
    )  # fmt: skip


def test_a_kind_that_is_not_in_the_table() -> None:
    with pytest.raises(KeyError):
        encode(ServerInfo())
    with pytest.raises(KeyError):
        decode("os.system", b"")


def test_bytes_of_another_type_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode("Load", msgspec.msgpack.encode({"name": 3}))


def test_whom_it_is_about() -> None:
    assert [subject(ask) for ask in (Load("a"), Unload("b"), Index())] == ["a", "b", ""]
    asks = (
        Register("f", "m", 3),
        Unregister("m"),
        Unregister("m", 3),
        SetDefault("m", 3),
        Scale("m", 3),
        Configure(()),
    )
    assert [subject(ask) for ask in asks] == ["m/3", "m", "m/3", "m/3", "m/3", ""]
