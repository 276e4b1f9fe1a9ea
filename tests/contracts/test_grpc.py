"""One suite that every engine passes: gRPC's own clients and Triton's, against live servers.

The models are Python functions in a real house, so that a model can be slow on purpose and every dtype has one.
"""

from __future__ import annotations

import asyncio
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakehouse import FakeModel, echo, image, iris, people, review
from furnished import furnish
from gated import Gate
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.protocols import binary
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import FILES, message
from setsail.server.grpc_engines import ENGINES
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, DTYPES, Array, DType

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc")
triton_aio = pytest.importorskip("tritonclient.grpc.aio")

OIP, HEALTH = "/inference.GRPCInferenceService/", "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"
SECONDS = 20.0
QUEUE = 100  # rows
Code = grpc.StatusCode
INFER = message("inference.ModelInferRequest")


class Live:
    """A server with one engine, and a channel of grpcio's to it."""

    def __init__(self, engine: str, gate: Gate, **options: Any) -> None:
        self.engine, self.gate = engine, gate
        self.server = Server(Settings(port=0, admin_port=-1, grpc_engine=engine, grpc_port=0, **options))
        sleepy = echo(BY_NAME["float32"], "sleepy")
        sleepy.state = "loading"
        furnish(self.server.house, *map(echo, DTYPES), iris(), people(), review(), image(), broken(), sleepy)
        furnish(self.server.house, gate.model(), ladder={1: 0.01, 64: 0.012})  # too long for the event loop
        self.server.start()
        self.target = self.server.grpc_target
        self.channel = grpc.insecure_channel(self.target, [("grpc.max_receive_message_length", -1)])

    def call(self, path: str, metadata: Any = None, timeout: float = SECONDS, **fields: Any) -> Any:
        """One unary call of grpcio's, with a message of the fields."""
        asked, told = types(path)
        rpc = self.channel.unary_unary(
            path, request_serializer=asked.SerializeToString, response_deserializer=told.FromString
        )
        return rpc(asked(**fields), timeout=timeout, metadata=metadata)

    def raw(self, path: str, data: bytes) -> bytes:
        answer: bytes = self.channel.unary_unary(path)(data, timeout=SECONDS)
        return answer

    def stream(self, path: str, messages: Any, timeout: float = SECONDS) -> Any:
        asked, told = types(path)
        rpc = self.channel.stream_stream(
            path, request_serializer=asked.SerializeToString, response_deserializer=told.FromString
        )
        return rpc(messages, timeout=timeout)

    def close(self) -> None:
        self.gate.opened.set()
        self.channel.close()
        self.server.close()


def broken() -> FakeModel:
    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        raise RuntimeError("a secret of the machine")

    spec = TensorSpec("x", BY_NAME["float32"], ("N", 2))
    return FakeModel("broken", Signature((spec,), (spec,), ("x",)), run)


def types(path: str) -> tuple[Any, Any]:
    """The message classes of a method, out of our own contracts."""
    full, _, name = path[1:].partition("/")
    package, _, service = full.rpartition(".")
    method = next(
        m for f in FILES.values() if f.package == package
        for s in f.service if s.name == service for m in s.method if m.name == name
    )  # fmt: skip
    return message(method.input_type[1:]), message(method.output_type[1:])


@pytest.fixture(scope="module", params=ENGINES)
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    made = Live(request.param, Gate(), max_body=1 << 20, queue_rows=QUEUE)
    yield made
    made.close()


@pytest.fixture
def gate(live: Live) -> Iterator[Gate]:
    live.gate.shut()
    yield live.gate
    live.gate.opened.set()


@pytest.fixture(params=ENGINES)
def another(request: pytest.FixtureRequest) -> Iterator[Callable[..., Live]]:
    """A server with settings of its own."""
    made: list[Live] = []

    def start(**options: Any) -> Live:
        made.append(Live(request.param, Gate(), **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def client(live: Live) -> Iterator[Any]:
    made = triton.InferenceServerClient(live.target)
    yield made
    made.close()


def until(done: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)


def infer(model: str, array: Array, datatype: str, name: str = "x", **fields: Any) -> dict[str, Any]:
    """The fields of a ModelInferRequest with one raw input."""
    tensor = {"name": name, "datatype": datatype, "shape": array.shape}
    return {"model_name": model, "inputs": [tensor], "raw_input_contents": [binary.pack(array)]} | fields


def floats(model: str, rows: int = 1, **fields: Any) -> dict[str, Any]:
    return infer(model, np.arange(2 * rows, dtype=np.float32).reshape(rows, 2), "FP32", **fields)


def back(answer: Any, index: int = 0) -> Array:
    """An output of an answer, which is always raw."""
    tensor = answer.outputs[index]
    assert not tensor.HasField("contents")
    dtype = next(d for d in DTYPES if d.oip == tensor.datatype)
    return binary.unpack("y", dtype, tuple(tensor.shape), memoryview(answer.raw_output_contents[index]))


def fault(caught: Any) -> tuple[Any, str, str]:
    """Status, code and text of a failed call."""
    error = caught.value
    found = dict(error.trailing_metadata() or ())
    return error.code(), found.get("x-setsail-error", ""), error.details()


# -- values ------------------------------------------------------------------------------------------------------------

VALUES: Mapping[str, list[Any]] = {
    "bool": [True, False],
    "uint8": [0, 255], "uint16": [0, 65535], "uint32": [0, 2**32 - 1], "uint64": [2**53 + 1, 2**64 - 1],
    "int8": [-128, 127], "int16": [-(2**15), 2**15 - 1], "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**53 + 1],
    "float16": [0.5, 65504.0], "float32": [float("nan"), 3.4028235e38], "float64": [float("-inf"), 1e308],
    "string": ["", 'é"\n\u2028😀'],
}  # fmt: skip
FIELDS = {
    "bool": "bool_contents", "uint8": "uint_contents", "uint16": "uint_contents", "uint32": "uint_contents",
    "uint64": "uint64_contents", "int8": "int_contents", "int16": "int_contents", "int32": "int_contents",
    "int64": "int64_contents", "float32": "fp32_contents", "float64": "fp64_contents", "string": "bytes_contents",
}  # fmt: skip


def array_of(dtype: DType) -> Array:
    array = np.empty((1, 2), dtype.numpy)
    array[0] = VALUES[dtype.name]
    return array


def same(found: Array, dtype: DType) -> None:
    expected = array_of(dtype)
    if dtype.kind == "string":
        assert [v.decode() if isinstance(v, bytes) else v for v in found.ravel()] == VALUES["string"]
    else:
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()  # NaN too, bit by bit


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_raw_values_of_every_dtype_come_back_exactly(live: Live, dtype: DType) -> None:
    for _ in range(2):  # the second time from memory
        answer = live.call(OIP + "ModelInfer", **infer(f"echo-{dtype.name}", array_of(dtype), dtype.oip, id="seven"))
        assert (answer.model_name, answer.model_version, answer.id) == (f"echo-{dtype.name}", "1", "seven")
        assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [("y", dtype.oip, [1, 2])]
        same(back(answer), dtype)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.name in FIELDS], ids=str)
def test_typed_values_come_back_exactly(live: Live, dtype: DType) -> None:
    values = [v.encode() for v in VALUES["string"]] if dtype.kind == "string" else VALUES[dtype.name]
    tensor = {"name": "x", "datatype": dtype.oip, "shape": [1, 2], "contents": {FIELDS[dtype.name]: values}}
    answer = live.call(OIP + "ModelInfer", model_name=f"echo-{dtype.name}", inputs=[tensor])
    same(back(answer), dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tritons_client_and_every_dtype(client: Any, dtype: DType) -> None:
    tensor = triton.InferInput("x", [1, 2], dtype.oip)
    tensor.set_data_from_numpy(array_of(dtype))
    same(client.infer(f"echo-{dtype.name}", [tensor]).as_numpy("y"), dtype)


def test_a_large_batch_both_ways(another: Callable[..., Live]) -> None:
    """Larger than every window and frame of HTTP/2: 12 MB there and back."""
    live = another()
    sent = np.random.default_rng(0).random((1_500_000, 2)).astype(np.float32)
    answer = live.call(OIP + "ModelInfer", **infer("echo-float32", sent, "FP32"))
    assert np.array_equal(back(answer), sent)


def test_outputs_asked_for_in_their_order(live: Live) -> None:
    table = np.array([[5.1, 3.5, 1.4, 0.2]])
    whole = live.call(OIP + "ModelInfer", **infer("iris", table, "FP64", "input"))
    assert [o.name for o in whole.outputs] == ["label", "probabilities"]
    assert back(whole).tolist() == [b"setosa"]
    assert back(whole, 1).shape == (1, 3)
    for names in (["probabilities", "label"], ["label"]):
        wanted = [{"name": name} for name in names]
        answer = live.call(OIP + "ModelInfer", **infer("iris", table, "FP64", "input", outputs=wanted))
        assert [o.name for o in answer.outputs] == names


def test_narrower_values_widen_and_columns_may_come_by_name(live: Live) -> None:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    columns = [np.array([v], np.float32) for v in (5.0, 3.5, 1.5, 0.25)]
    answer = live.call(
        OIP + "ModelInfer", model_name="iris", raw_input_contents=[c.tobytes() for c in columns],
        inputs=[{"name": name, "datatype": "FP32", "shape": [1]} for name in names],
    )  # fmt: skip
    assert back(answer).tolist() == [b"setosa"]


def test_many_at_once_get_their_own_answers(live: Live) -> None:
    def ask(number: int) -> Any:
        return infer("echo-int64", np.array([[number, number]]), "INT64", id=str(number))

    rpc = live.channel.unary_unary(
        OIP + "ModelInfer", request_serializer=lambda fields: INFER(**fields).SerializeToString(),
        response_deserializer=message("inference.ModelInferResponse").FromString,
    )  # fmt: skip
    calls = [(number, rpc.future(ask(number), timeout=SECONDS)) for number in range(64)]
    for number, call in calls:
        answer = call.result()
        assert (answer.id, back(answer).tolist()) == (str(number), [[number, number]])


@pytest.mark.parametrize("coding", ["Gzip", "Deflate"])
def test_compressed_messages(live: Live, coding: str) -> None:
    rpc = live.channel.unary_unary(OIP + "ModelInfer")
    data = INFER(**floats("echo-float32", 5000)).SerializeToString()
    answer = rpc(data, timeout=SECONDS, compression=getattr(grpc.Compression, coding))
    assert back(message("inference.ModelInferResponse").FromString(answer))[-1].tolist() == [9998.0, 9999.0]


# -- one fault, one code, one text -------------------------------------------------------------------------------------

KINDS = {"age": "FP64", "city": "BYTES", "children": "INT64", "member": "BOOL"}


def person(**changes: Any) -> dict[str, Any]:
    """The fields of a request for the model of people; None leaves an input out."""
    columns: dict[str, Any] = {
        "age": np.array([1.0]), "city": np.array(["Rome"], object), "children": np.array([1]),
        "member": np.array([True]),
    } | changes  # fmt: skip
    kept = {name: array for name, array in columns.items() if array is not None}
    kinds = KINDS | {"shoe": "FP64"}
    return {
        "model_name": "people",
        "inputs": [{"name": n, "datatype": kinds[n], "shape": a.shape} for n, a in kept.items()],
        "raw_input_contents": [binary.pack(a) for a in kept.values()],
    }


TEXT = np.array([["a", "b"]], object)
IRIS = np.ones((1, 4))
FAULTS: list[tuple[str, Any, dict[str, Any]]] = [
    ("input.missing", Code.INVALID_ARGUMENT, person(city=None)),
    ("input.unknown", Code.INVALID_ARGUMENT, person(shoe=np.array([46.0]))),
    ("input.category", Code.INVALID_ARGUMENT, person(city=np.array(["Paris"], object))),
    ("input.length", Code.INVALID_ARGUMENT, person(age=np.array([1.0, 2.0]))),
    ("input.dtype", Code.INVALID_ARGUMENT, infer("echo-float32", np.ones((1, 2)), "FP64")),
    ("input.dtype", Code.INVALID_ARGUMENT, infer("echo-float32", TEXT, "BYTES")),
    ("input.dtype", Code.INVALID_ARGUMENT, infer("echo-float16", np.ones((1, 2), np.float16), "BF16")),
    ("input.dtype", Code.INVALID_ARGUMENT, infer("echo-string", np.array([[b"\xff", b""]], object), "BYTES")),
    ("input.shape", Code.INVALID_ARGUMENT, infer("iris", np.ones((1, 3)), "FP64", "input")),
    ("input.nan", Code.INVALID_ARGUMENT, infer("iris", IRIS * np.nan, "FP64", "input")),
    ("input.empty", Code.INVALID_ARGUMENT, infer("iris", np.ones((0, 4)), "FP64", "input")),
    ("input.empty", Code.INVALID_ARGUMENT, infer("echo-string", np.empty((0, 2), object), "BYTES")),
    ("output.unknown", Code.INVALID_ARGUMENT, floats("echo-float32", outputs=[{"name": "nobody"}])),
    ("request.binary", Code.INVALID_ARGUMENT, floats("echo-float32") | {"raw_input_contents": [bytes(7)]}),
    ("request.binary", Code.INVALID_ARGUMENT, floats("echo-float32") | {"raw_input_contents": [bytes(8)] * 2}),
    ("request.unsupported", Code.UNIMPLEMENTED, floats("iris", parameters={"sequence_id": {"int64_param": 3}})),
    ("model.unknown", Code.NOT_FOUND, floats("nobody")),
    ("model.unknown", Code.NOT_FOUND, {}),
    ("model.version", Code.NOT_FOUND, floats("echo-float32", model_version="2")),
    ("model.version", Code.NOT_FOUND, floats("echo-float32", model_version="x")),
    ("model.not_ready", Code.UNAVAILABLE, floats("sleepy")),
]


@pytest.mark.parametrize(("code", "status", "fields"), FAULTS, ids=[f"{i}-{f[0]}" for i, f in enumerate(FAULTS)])
def test_a_fault_has_one_code_and_one_text(live: Live, code: str, status: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live.call(OIP + "ModelInfer", **fields)
    assert fault(caught)[:2] == (status, code)
    assert fault(caught)[2].startswith(f"[{code}] ")


def test_the_text_is_that_of_the_other_wires(live: Live) -> None:
    import httpx

    table = {"name": "input", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}
    reply = httpx.post(f"{live.server.url}/v2/models/iris/infer", json={"inputs": [table]})
    with pytest.raises(grpc.RpcError) as caught:
        live.call(OIP + "ModelInfer", **infer("iris", np.ones((1, 3)), "FP64", "input"))
    assert caught.value.details() == reply.json()["error"]


def test_bytes_that_are_no_message(live: Live) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live.raw(OIP + "ModelInfer", b"\xff\xff\xff")
    assert fault(caught)[:2] == (Code.INVALID_ARGUMENT, "request.malformed")


def test_what_the_model_fails_of_stays_in_the_log(live: Live) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live.call(OIP + "ModelInfer", **floats("broken"))
    status, code, text = fault(caught)
    assert (status, code in ("model.run", "server.fault")) == (Code.INTERNAL, True)
    assert "secret" not in text
    assert dict(caught.value.trailing_metadata())["x-setsail-error-id"] in text


def test_a_message_over_the_limit(live: Live) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live.call(OIP + "ModelInfer", **floats("echo-float32", 200_000))
    assert caught.value.code() == Code.RESOURCE_EXHAUSTED
    assert live.call(OIP + "ServerLive").live


@pytest.mark.parametrize("path", [OIP + "Nothing", "/nobody.Service/Method", "/x"])
def test_methods_nobody_has(live: Live, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live.raw(path, b"")
    assert caught.value.code() == Code.UNIMPLEMENTED


REFUSED = [path for path in METHODS if "SharedMemory" in path or path.endswith(("TraceSetting", "LogSettings"))]


@pytest.mark.parametrize("path", REFUSED)
def test_what_triton_has_and_we_have_not(live: Live, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live.call(path)
    assert fault(caught)[:2] == (Code.UNIMPLEMENTED, "request.unsupported")
    assert path.rpartition("/")[2] in caught.value.details()


SCALARS = st.sampled_from(["", "x", "iris", "input", "FP32", "BYTES", "FP64", "1", "\x00"])


def test_no_message_makes_the_server_fail(live: Live) -> None:
    tensor = st.fixed_dictionaries({
        "name": SCALARS, "datatype": SCALARS,
        "shape": st.lists(st.sampled_from([0, 1, 2, 4, 2**31, 2**62, -1]), max_size=4),
        "contents": st.none() | st.fixed_dictionaries({"fp64_contents": st.lists(st.floats(), max_size=4)}),
    })  # fmt: skip
    fields = st.fixed_dictionaries({
        "model_name": st.sampled_from(["iris", "echo-string", "echo-float64", ""]), "model_version": SCALARS,
        "id": SCALARS, "inputs": st.lists(tensor, max_size=2),
        "raw_input_contents": st.lists(st.binary(max_size=32), max_size=2),
        "outputs": st.lists(st.fixed_dictionaries({"name": SCALARS}), max_size=2),
    })  # fmt: skip

    @settings(max_examples=50, deadline=None)
    @given(fields | st.binary(max_size=40))
    def check(asked: Any) -> None:
        data = asked if isinstance(asked, bytes) else INFER(**asked).SerializeToString()
        call = live.channel.unary_unary(OIP + "ModelInfer").future(data, timeout=SECONDS)
        assert call.code() in (Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND), call.details()

    check()


# -- time and load -----------------------------------------------------------------------------------------------------


def futures(live: Live, count: int, timeout: float | None = None) -> list[Any]:
    """Calls of the gate. Without a time-out, none is refused for one."""
    rpc = live.channel.unary_unary(OIP + "ModelInfer")
    data = INFER(**floats("gate")).SerializeToString()
    return [rpc.future(data, timeout=timeout) for _ in range(count)]


def fill(live: Live) -> tuple[list[Any], list[Any]]:
    """One request that runs and more than the queue takes: those that wait, and those that were refused."""
    (running,) = futures(live, 1)
    assert live.gate.entered.wait(SECONDS)
    others = futures(live, QUEUE + 20)
    until(lambda: sum(call.done() for call in others) >= 20)
    refused = [call for call in others if call.done()]
    return [running, *(call for call in others if call not in refused)], refused


def test_a_full_queue_refuses(live: Live, gate: Gate) -> None:
    waiting, refused = fill(live)
    assert {call.code() for call in refused} == {Code.RESOURCE_EXHAUSTED}
    told = dict(refused[0].trailing_metadata())
    assert told["x-setsail-error"] == "model.busy"
    assert int(told["retry-after"]) >= 1
    assert live.call(OIP + "ServerLive").live  # the others answer meanwhile
    gate.opened.set()
    assert len(waiting) == QUEUE + 1
    assert all(call.result() for call in waiting)


def test_a_cancelled_call_is_not_run(live: Live, gate: Gate) -> None:
    (running,) = futures(live, 1)
    assert gate.entered.wait(SECONDS)
    waiting = futures(live, 3)
    time.sleep(0.1)
    for call in waiting:
        call.cancel()
    assert [call.code() for call in waiting] == [Code.CANCELLED] * 3
    time.sleep(0.1)
    gate.opened.set()
    assert running.result()
    assert live.call(OIP + "ModelInfer", **floats("gate"))
    assert sum(gate.runs) == 2


def test_a_deadline_ends_the_wait(live: Live, gate: Gate) -> None:
    (running,) = futures(live, 1)
    assert gate.entered.wait(SECONDS)
    began = time.monotonic()
    (late,) = futures(live, 1, timeout=0.3)
    assert late.exception().code() == Code.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 5
    gate.opened.set()
    assert running.result()
    assert live.call(OIP + "ModelInfer", **floats("gate"))
    assert sum(gate.runs) == 2


# -- what is told of the server and its models -------------------------------------------------------------------------


def test_the_server_and_its_models(client: Any) -> None:
    assert client.is_server_live()
    assert not client.is_server_ready()  # one model is still loading
    assert client.is_model_ready("iris", "1")
    assert not client.is_model_ready("sleepy")
    assert client.get_server_metadata().name == "setsail"
    told = client.get_model_metadata("iris", as_json=True)
    assert told["inputs"] == [{"name": "input", "datatype": "FP64", "shape": ["-1", "4"]}]
    config = client.get_model_config("iris", as_json=True)["config"]
    assert (config["input"][0]["data_type"], config["input"][0]["dims"]) == ("TYPE_FP64", ["4"])
    states = {m.name: m.state for m in client.get_model_repository_index().models}
    assert (states["iris"], states["sleepy"]) == ("READY", "LOADING")
    with pytest.raises(triton.InferenceServerException, match=r"\[model.unknown\]"):
        client.get_model_metadata("nobody")


def test_statistics_count(live: Live, client: Any) -> None:
    live.call(OIP + "ModelInfer", **floats("echo-float32", 3))
    (before,) = client.get_inference_statistics("echo-float32").model_stats
    live.call(OIP + "ModelInfer", **floats("echo-float32", 3))
    (after,) = client.get_inference_statistics("echo-float32", "1").model_stats
    assert (after.name, after.version) == ("echo-float32", "1")
    assert after.inference_count - before.inference_count == 3
    assert after.execution_count - before.execution_count == 1
    assert after.inference_stats.success.count - before.inference_stats.success.count == 1
    assert after.inference_stats.success.ns > before.inference_stats.success.ns
    names = {row.name for row in client.get_inference_statistics().model_stats}
    assert {"iris", "echo-float32"} <= names


@pytest.mark.parametrize("verb", ["load_model", "unload_model"])
def test_without_control_nothing_is_loaded(client: Any, verb: str) -> None:
    with pytest.raises(triton.InferenceServerException, match=r"\[control.refused\]") as caught:
        getattr(client, verb)("iris")
    assert caught.value.status() == "StatusCode.PERMISSION_DENIED"


def test_with_control_it_is(another: Callable[..., Live]) -> None:
    live = another(model_control="explicit")
    with triton.InferenceServerClient(live.target) as client:
        client.unload_model("iris")
        assert not client.is_model_ready("iris")
        with pytest.raises(triton.InferenceServerException, match=r"\[model.unknown\]"):
            client.load_model("nobody")
        with pytest.raises(triton.InferenceServerException, match=r"\[request.unsupported\]"):
            client.load_model("iris", config="{}")


def test_health_is_watched(another: Callable[..., Live]) -> None:
    live = another()
    asked, told = types(HEALTH + "Watch")
    watching = live.channel.unary_stream(HEALTH + "Watch", asked.SerializeToString, told.FromString)(asked())
    assert next(watching).status == 2
    assert live.call(HEALTH + "Check").status == 2
    house = live.server.house
    house.table = house.table.moved("sleepy", 1, "failed", reason="no").moved("sleepy", 1, "gone")
    assert next(watching).status == 1
    assert live.call(HEALTH + "Check", service="inference.GRPCInferenceService").status == 1
    watching.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        live.call(HEALTH + "Check", service="nobody")
    assert caught.value.code() == Code.NOT_FOUND
    unknown = live.channel.unary_stream(HEALTH + "Watch", asked.SerializeToString, told.FromString)(asked(service="?"))
    assert next(unknown).status == 3
    unknown.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(live: Live, version: str) -> None:
    path = REFLECTION.format(version)
    asked = types(path)[0]
    questions = [asked(list_services=""), asked(file_containing_symbol="nobody"), asked(), asked(list_services="")]
    answers = list(live.stream(path, iter(questions)))
    kinds = [a.WhichOneof("message_response") for a in answers]
    assert kinds == ["list_services_response", "error_response", "error_response", "list_services_response"]
    assert "inference.GRPCInferenceService" in {s.name for s in answers[0].list_services_response.service}


def test_a_key_is_needed_where_there_are_keys(another: Callable[..., Live], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret-key\n")
    live = another(api_key_file=str(keys))
    for metadata in (None, [("authorization", "Bearer wrong")], [("authorization", "Basic secret-key")]):
        with pytest.raises(grpc.RpcError) as caught:
            live.call(OIP + "ModelInfer", metadata, **floats("echo-float32"))
        assert fault(caught)[:2] == (Code.UNAUTHENTICATED, "request.key")
    assert live.call(OIP + "ModelInfer", [("authorization", "Bearer secret-key")], **floats("echo-float32"))
    assert live.call(OIP + "ServerLive").live
    assert live.call(HEALTH + "Check").status
    with pytest.raises(grpc.RpcError) as caught:
        list(live.stream(OIP + "ModelStreamInfer", iter([INFER(**floats("echo-float32"))])))
    assert caught.value.code() == Code.UNAUTHENTICATED


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls_and_clients_that_must_have_a_certificate(another: Callable[..., Live], tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    live = another(tls_cert=str(cert), tls_key=str(key), tls_client_ca=str(cert))
    root, secret = cert.read_bytes(), key.read_bytes()
    with grpc.secure_channel(live.target, grpc.ssl_channel_credentials(root, secret, root)) as channel:
        assert channel.unary_unary(OIP + "ServerLive")(b"", timeout=SECONDS) == b"\x08\x01"
    with grpc.secure_channel(live.target, grpc.ssl_channel_credentials(root)) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(OIP + "ServerLive")(b"", timeout=SECONDS)
        assert caught.value.code() == Code.UNAVAILABLE


# -- streams -----------------------------------------------------------------------------------------------------------


def test_a_stream_answers_every_message_in_order(live: Live) -> None:
    messages = [INFER(**floats("echo-float32", 1 + i % 3, id=str(i))) for i in range(40)]
    messages[7] = INFER(**floats("nobody", id="7"))
    messages[8] = INFER(model_name="iris", id="8")
    answers = list(live.stream(OIP + "ModelStreamInfer", iter(messages)))
    assert [a.infer_response.id for a in answers] == [str(i) for i in range(40)]
    assert [i for i, a in enumerate(answers) if a.error_message] == [7, 8]
    assert answers[7].error_message.startswith("[model.unknown]")
    assert all(a.infer_response.parameters["triton_final_response"].bool_param for a in answers)
    assert back(answers[5].infer_response).shape == (3, 2)


def test_a_stream_is_a_conversation(live: Live) -> None:
    """Each message is sent after the answer to the one before."""
    sent: queue.Queue[Any] = queue.Queue()
    answers = live.stream(OIP + "ModelStreamInfer", iter(sent.get, None))
    for number in range(3):
        sent.put(INFER(**floats("echo-float32", id=str(number))))
        assert next(answers).infer_response.id == str(number)
    sent.put(None)
    assert list(answers) == []
    assert answers.code() == Code.OK


def test_a_stream_may_be_empty_or_cancelled(live: Live, gate: Gate) -> None:
    assert list(live.stream(OIP + "ModelStreamInfer", iter(()))) == []
    answers = live.stream(OIP + "ModelStreamInfer", iter([INFER(**floats("gate"))] * 3))
    assert gate.entered.wait(SECONDS)
    answers.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() == Code.CANCELLED
    gate.opened.set()
    assert live.call(OIP + "ModelInfer", **floats("gate"))


def test_a_full_queue_is_an_answer_in_a_stream(live: Live, gate: Gate) -> None:
    waiting, _ = fill(live)
    messages = [INFER(**floats("gate", id="a")), INFER(**floats("echo-float32", id="b"))]
    refused, answered = live.stream(OIP + "ModelStreamInfer", iter(messages))
    assert refused.error_message.startswith("[model.busy]")
    assert (refused.infer_response.id, answered.infer_response.id) == ("a", "b")
    assert not answered.error_message
    gate.opened.set()
    assert all(call.result() for call in waiting)


def test_tritons_client_streams(client: Any) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    tensor = triton.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.float32([[1, 2]]))
    client.async_stream_infer("echo-float32", [tensor], request_id="a", enable_empty_final_response=True)
    client.async_stream_infer("nobody", [tensor], request_id="b")
    client.async_stream_infer("echo-float32", [tensor], request_id="c")
    got = [answers.get(timeout=SECONDS) for _ in range(3)]
    client.stop_stream()
    assert got[0][0].as_numpy("y").tolist() == [[1, 2]]
    assert got[0][0].get_response().parameters["triton_final_response"].bool_param
    assert "[model.unknown]" in str(got[1][1])
    assert got[2][0].get_response().id == "c"


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_drain_loses_nothing_and_waits_for_nobody_who_is_silent(another: Callable[..., Live]) -> None:
    live = another()
    asked, told = types(HEALTH + "Watch")
    watching = live.channel.unary_stream(HEALTH + "Watch", asked.SerializeToString, told.FromString)(asked(service="?"))
    assert next(watching).status == 3
    sent: queue.Queue[Any] = queue.Queue()
    answers = live.stream(OIP + "ModelStreamInfer", iter(sent.get, None))
    sent.put(INFER(**floats("echo-float32", id="first")))
    assert next(answers).infer_response.id == "first"
    (running,) = futures(live, 1)
    assert live.gate.entered.wait(SECONDS)
    ended: list[bool] = []
    draining = threading.Thread(target=lambda: ended.append(live.server.drain()))
    draining.start()
    for silent in (watching, answers):
        with pytest.raises(grpc.RpcError) as caught:
            next(silent)
        assert fault(caught)[:2] == (Code.UNAVAILABLE, "server.draining")
    live.gate.opened.set()
    assert running.result(SECONDS)
    draining.join(SECONDS)
    assert ended == [True]
    sent.put(None)


# -- other clients -----------------------------------------------------------------------------------------------------


def test_tritons_asynchronous_client(live: Live) -> None:
    tensor = triton_aio.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.float32([[1, 2]]))

    async def requests() -> Any:
        for number in range(3):
            yield {"model_name": "echo-float32", "inputs": [tensor], "request_id": str(number)}

    async def run() -> None:
        async with triton_aio.InferenceServerClient(live.target) as client:
            assert await client.is_server_live()
            results = await asyncio.gather(*(client.infer("echo-float32", [tensor]) for _ in range(8)))
            assert [r.as_numpy("y").tolist() for r in results] == [[[1, 2]]] * 8
            streamed = [r.get_response().id async for r, error in client.stream_infer(requests()) if error is None]
            assert streamed == ["0", "1", "2"]

    asyncio.run(run())


def test_grpcios_asynchronous_client(live: Live) -> None:
    async def run() -> None:
        async with grpc.aio.insecure_channel(live.target) as channel:
            rpc = channel.unary_unary(OIP + "ModelInfer")
            data = INFER(**floats("echo-float32")).SerializeToString()
            answers = await asyncio.gather(*(rpc(data, timeout=SECONDS) for _ in range(20)))
            assert len(set(answers)) == 1
            stream = channel.stream_stream(OIP + "ModelStreamInfer")(timeout=SECONDS)
            await stream.write(data)
            assert await stream.read()
            await stream.done_writing()
            assert await stream.read() == grpc.aio.EOF

    asyncio.run(run())


def test_every_engine_is_tested() -> None:
    from setsail.server.settings import rows

    (row,) = (row for row in rows() if row.name == "grpc_engine")
    assert set(row.choices) == set(ENGINES)
