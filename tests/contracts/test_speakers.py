"""What every wire owes, over real sockets: one suite, every form of every wire (`doubles/speakers`).

The models are Python functions in a real house. Each cell of the table in docs/wires/README.md is a case here.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeModel, iris, people
from furnished import furnish
from gated import Gate
from speakers import SPEAKERS, Ask, Speaker
from speakers.line import SECONDS, Line, RefusedError

from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.table import DATA
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, DTYPES, NULL, Array, DType

pytest.importorskip("grpc")

QUEUE = 100  # rows
MAX_BODY = 1 << 20
BAD = (500, 502, 504, 2, 13)  # of HTTP and gRPC: statuses that no client's fault may have


def pair(dtype: DType, name: str = "", **more: Any) -> FakeModel:
    """Answers its table of two columns."""
    spec = TensorSpec("x", dtype, ("N", 2), columns=("a", "b"), nullable=dtype.kind in ("float", "string"))
    out = TensorSpec("y", dtype, ("N", 2), columns=("a", "b"))
    made = FakeModel(name or f"pair-{dtype.name}", Signature((spec,), (out,), ("y",)), lambda x: {"y": x["x"]})
    return made


MODELS = {m.name: m for m in (*map(pair, DTYPES), iris(), people(), pair(BY_NAME["float32"], "sleepy"))}
MODELS["sleepy"].state = "loading"
FLOATS = MODELS["pair-float32"].signature


class Live:
    def __init__(self) -> None:
        self.gate = Gate()
        self.server = Server(Settings(port=0, admin_port=-1, max_body=MAX_BODY, queue_rows=QUEUE))
        furnish(self.server.house, *MODELS.values())
        furnish(self.server.house, self.gate.model(), ladder={1: 0.01, 64: 0.012})  # too long for the event loop
        self.server.start()
        self.target = self.server.url.removeprefix("http://")
        self.line = Line(self.target)

    def close(self) -> None:
        self.gate.opened.set()
        self.line.close()
        self.server.close()


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    made = Live()
    yield made
    made.close()


@pytest.fixture
def gate(live: Live) -> Iterator[Gate]:
    live.gate.shut()
    yield live.gate
    live.gate.opened.set()


every_speaker = pytest.mark.parametrize("name", SPEAKERS)


def floats(model: str = "pair-float32", rows: int = 1, **more: Any) -> Ask:
    return Ask(model, FLOATS, {"x": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)}, **more)


def refused(live: Live, speaker: Speaker, asked: Ask, fault: str, code: str) -> None:
    """The fault has its one code, a status that is not the server's fault, and is told in the wire's own form.

    Args:
        fault: its name in `Speaker.odd`.
    """
    code = speaker.odd.get(fault, code)
    if not code:
        live.line.ask(speaker, asked)
        return
    with pytest.raises(RefusedError) as caught:
        live.line.ask(speaker, asked)
    heard = caught.value.heard
    assert heard.code == code, heard
    assert heard.status in speaker.faulty or heard.status not in BAD
    assert len(speaker.error(heard)) > 10


def test_every_wire_has_a_speaker() -> None:
    """Of those that predict: a wire that is added needs a row."""
    spoken = {speaker.wire for speaker in SPEAKERS.values()}
    assert {route.wire.name for route in DATA.routes if route.predicts} <= spoken
    services = {path.split("/")[1] for path, method in METHODS.items() if method.model is not None}
    asked = {speaker.say(floats()).path.split("/")[1] for speaker in SPEAKERS.values() if speaker.say(floats()).grpc}
    assert services <= asked


# -- every dtype -------------------------------------------------------------------------------------------------------

VALUES: Mapping[str, list[Any]] = {
    "bool": [True, False], "uint8": [0, 255], "uint16": [0, 65535], "uint32": [0, 2**32 - 1],
    "uint64": [2**53 + 1, 2**64 - 1], "int8": [-128, 127], "int16": [-(2**15), 2**15 - 1],
    "int32": [-(2**31), 2**31 - 1], "int64": [-(2**63), 2**53 + 1],
    "float16": [np.float16(0.1), 65504.0], "float32": [np.float32(0.1), 3.4028235e38],
    "float64": [0.1, 1.7976931348623157e308], "string": ['a"b,c', "é\n\u2028😀"],
}  # fmt: skip


def array(dtype: DType, values: list[Any]) -> Array:
    made = np.empty(len(values), dtype.numpy)
    made[:] = values
    return made.reshape(1, -1)


def same(found: Array, expected: Array) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if expected.dtype == object:
        assert found.tolist() == [[NULL if v is None else v for v in row] for row in expected.tolist()]
    else:
        assert found.tobytes() == expected.tobytes()


@every_speaker
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_values_of_every_dtype_come_back_exactly(live: Live, name: str, dtype: DType) -> None:
    speaker, model = SPEAKERS[name], MODELS[f"pair-{dtype.name}"]
    asked = Ask(model.name, model.signature, {"x": array(dtype, VALUES[dtype.name])})
    if dtype.name in speaker.lacks:
        refused(live, speaker, asked, "", speaker.lacks[dtype.name])
    else:
        same(live.line.ask(speaker, asked)["y"], asked.inputs["x"])


@every_speaker
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_not_finite(live: Live, name: str, dtype: str) -> None:
    speaker, model = SPEAKERS[name], MODELS[f"pair-{dtype}"]
    asked = Ask(model.name, model.signature, {"x": np.array([[np.nan, np.inf], [-np.inf, -0.0]], dtype)})
    same(live.line.ask(speaker, asked)["y"], asked.inputs["x"])


@every_speaker
def test_missing_texts(live: Live, name: str) -> None:
    speaker, model = SPEAKERS[name], MODELS["pair-string"]
    if not speaker.missing_text:
        pytest.skip("it has none")
    asked = Ask(model.name, model.signature, {"x": array(BY_NAME["string"], [None, "a"])})
    same(live.line.ask(speaker, asked)["y"], asked.inputs["x"])


@every_speaker
def test_a_large_batch(live: Live, name: str) -> None:
    speaker = SPEAKERS[name]
    x = np.random.default_rng(0).standard_normal((speaker.rows, 2)).astype(np.float32)
    same(live.line.ask(speaker, Ask("pair-float32", FLOATS, {"x": x}))["y"], x)


# -- what can be chosen ------------------------------------------------------------------------------------------------

IRIS = Ask("iris", MODELS["iris"].signature, {"input": np.array([[5.1, 3.5, 1.4, 0.2], [6.0, 2.0, 4.0, 1.0]])})


@every_speaker
def test_outputs_that_were_asked_for(live: Live, name: str) -> None:
    speaker = SPEAKERS[name]
    found = live.line.ask(speaker, IRIS)
    assert list(found) == (["label", "probabilities"] if speaker.outputs == "all" else ["probabilities"])
    if speaker.filters:
        assert list(live.line.ask(speaker, IRIS._replace(outputs=("label",)))) == ["label"]
        refused(live, speaker, IRIS._replace(outputs=("nothing",)), "output", "output.unknown")


@every_speaker
def test_versions(live: Live, name: str) -> None:
    speaker = SPEAKERS[name]
    assert live.line.ask(speaker, floats(version="1"))
    refused(live, speaker, floats(version="7"), "version", "model.version")


@every_speaker
def test_signatures(live: Live, name: str) -> None:
    speaker = SPEAKERS[name]
    if not speaker.signatures:
        pytest.skip("it has none")
    label = Signature(IRIS.signature.inputs, IRIS.signature.outputs, ("label",))
    assert live.line.ask(speaker, IRIS._replace(name="label", signature=label))["label"].shape == (2,)
    refused(live, speaker, IRIS._replace(name="nothing"), "signature", "model.signature")


# -- faults ------------------------------------------------------------------------------------------------------------

PEOPLE = {
    "age": np.array([1.0]), "city": np.array(["Rome"], object), "children": np.array([1]), "member": np.array([True]),
}  # fmt: skip
TEXT = np.array([["u", "v"]], object)
FAULTS: Mapping[str, tuple[Ask, str]] = {
    "model": (floats("nobody"), "model.unknown"),
    "not ready": (floats("sleepy"), "model.not_ready"),
    "dtype": (Ask("pair-float32", FLOATS, {"x": TEXT}), "input.dtype"),
    "shape": (Ask("pair-float32", FLOATS, {"x": np.ones((1, 3), np.float32)}), "input.shape"),
    "empty": (Ask("pair-float32", FLOATS, {"x": np.ones((0, 2), np.float32)}), "input.empty"),
    "missing": (Ask("people", MODELS["people"].signature, {n: v for n, v in PEOPLE.items() if n != "city"}),
                "input.missing"),
    "extra": (Ask("people", MODELS["people"].signature, PEOPLE | {"shoe": np.array([46.0])}), "input.unknown"),
    "category": (Ask("people", MODELS["people"].signature, PEOPLE | {"city": np.array(["Paris"], object)}),
                 "input.category"),
    "range": (Ask("pair-uint8", MODELS["pair-uint8"].signature, {"x": np.array([[1, 256]])}), "input.range"),
}  # fmt: skip


@every_speaker
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_one_code_on_every_wire(live: Live, name: str, fault: str) -> None:
    asked, code = FAULTS[fault]
    if not SPEAKERS[name].can(asked.signature, asked.inputs):
        pytest.skip("it cannot be written in this form")
    refused(live, SPEAKERS[name], asked, fault, code)


@every_speaker
def test_a_body_that_is_too_large(live: Live, name: str) -> None:
    asked = Ask("pair-float64", MODELS["pair-float64"].signature, {"x": np.full((80_000, 2), 0.123456789)})
    refused(live, SPEAKERS[name], asked, "too large", "request.too_large")


# -- many at once ------------------------------------------------------------------------------------------------------


class Waiting:
    """A request that is under way on a connection of its own."""

    def __init__(self, live: Live, speaker: Speaker, asked: Ask) -> None:
        said = speaker.say(asked)
        self.call: Any = None
        if said.grpc:
            self.call = live.line.channel.unary_unary(said.path).future(said.body, timeout=SECONDS)
            return
        host, _, port = live.target.partition(":")
        self.socket = socket.create_connection((host, int(port)))
        lines = [f"POST {said.path} HTTP/1.1", "host: h", *(f"{k}: {v}" for k, v in said.headers.items())]
        head = "\r\n".join([*lines, f"content-length: {len(said.body)}", "", ""])
        self.socket.sendall(head.encode() + said.body)

    def cancel(self) -> None:
        if self.call is not None:
            self.call.cancel()
        else:  # a reset: of a client that only ends what it sends, nobody can tell whether it still listens
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()

    def done(self) -> None:
        if self.call is not None:
            assert self.call.result()
        else:
            self.socket.settimeout(SECONDS)
            assert self.socket.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            self.socket.close()


@every_speaker
def test_a_request_whose_client_went_away_is_not_run(live: Live, gate: Gate, name: str) -> None:
    speaker = SPEAKERS[name]
    running = Waiting(live, speaker, floats("gate"))
    assert gate.entered.wait(SECONDS)
    waiting = [Waiting(live, speaker, floats("gate", rows=3)) for _ in range(2)]
    time.sleep(0.1)
    for one in waiting:
        one.cancel()
    time.sleep(0.1)
    gate.opened.set()
    running.done()
    assert live.line.ask(speaker, floats("gate"))
    assert sum(gate.runs) == 2


@every_speaker
def test_a_full_queue(live: Live, gate: Gate, name: str) -> None:
    speaker = SPEAKERS[name]
    running = Waiting(live, speaker, floats("gate"))
    assert gate.entered.wait(SECONDS)
    sizes = [QUEUE] if speaker.counted else [1] * QUEUE
    waiting = [Waiting(live, speaker, floats("gate", rows=rows)) for rows in sizes]
    time.sleep(0.2)
    refused(live, speaker, floats("gate"), "busy", "model.busy")
    assert live.line.ask(speaker, floats())  # other models answer meanwhile
    gate.opened.set()
    running.done()
    for one in waiting:
        one.done()
    assert live.line.ask(speaker, floats("gate"))
