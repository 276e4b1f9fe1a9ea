"""What `scripts/fuzz.py` throws bytes at: every reader of what a client sends, each with good cases to start from.

A target takes a case and returns what came of it, as something to compare: a case with a new outcome is kept and
changed further. It may raise nothing. Beside not failing, each target holds a law of its own to the case.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp
from typing import Any, NamedTuple

import numpy as np

from setsail.binding import _bind, bind
from setsail.catalog import Register, Registered
from setsail.errors import SetsailError
from setsail.messages import Request, Response, Unread
from setsail.protocols.budget import Budget
from setsail.protocols.compression import decompress
from setsail.protocols.grpc.calls import Arrived, Calls, Ended, Requested, Started
from setsail.protocols.grpc.calls import Refused as CallRefused
from setsail.protocols.grpc.methods import METHODS
from setsail.protocols.grpc.pool import message
from setsail.protocols.http import HttpReply, HttpRequest
from setsail.protocols.http1 import head as http1
from setsail.protocols.http1.reader import Reader
from setsail.protocols.http2 import frames
from setsail.protocols.http2.connection import Connection
from setsail.protocols.http2.events import Data, Opened, Whole
from setsail.protocols.http2.fields import encode
from setsail.protocols.http2.streams import Limits
from setsail.protocols.routes import Exchange
from setsail.protocols.table import DATA, Match, Table
from setsail.protocols.torchserve.management import MANAGEMENT
from setsail.server.foreign import torchserve as configuration
from setsail.serving.store import Store
from setsail.signature import Signature, TensorSpec
from setsail.tensors import Array

__all__ = ["TARGETS", "Target"]


MANAGING = Table.of(*MANAGEMENT)
STORE = Store()
STORE.allow(Path(mkdtemp(prefix="store")))


class Target(NamedTuple):
    """One thing to fuzz.

    Attributes:
        run: raises for what is a finding.
        words: pieces worth writing into a case.
        parts: how to cut a case into pieces that may change places, where bytes are not the unit.
    """

    run: Callable[[bytes], Hashable]
    seeds: Callable[[], Iterator[bytes]]
    words: tuple[bytes, ...] = ()
    parts: Callable[[bytes], list[bytes]] | None = None


def model(*inputs: str, **more: Any) -> Signature:
    read = map(TensorSpec.parse, inputs)
    out = TensorSpec.parse("y:float32[N]")
    return Signature(tuple(TensorSpec(s.name, s.dtype, s.shape, **more) for s in read), (out,), ("y",))


SIGNATURES = (
    model("x:float32[N,2]", columns=("a", "b")), model("x:float64[N]", nullable=True), model("x:int64[N,2]"),
    model("x:uint8[N,2,2]"), model("x:string[N]", nullable=True), model("x:float16[N,2]"), model("x:bool[N,2]"),
    model("a:float32[N]", "b:string[N]"), model("a:int32[N,*]", "b:float64[N]"),
)  # fmt: skip
TEXTS = model("x:string[N]", categories=("u", "v"), closed=True)


# -- from a request's body to arrays -----------------------------------------------------------------------------------


def bound(signature: Signature, body: Any, way: Any = bind) -> Any:
    try:
        arrays: Mapping[str, Array] = way(signature, body)
    except SetsailError as fault:
        return fault.to_json()
    for spec in signature.inputs:
        array = arrays[spec.name]
        assert array.dtype == spec.dtype.numpy, (spec, array.dtype)
        assert array.ndim == len(spec.shape), (spec, array.shape)
    return {n: (a.shape, a.tobytes() if a.dtype != object else repr(a.tolist())) for n, a in arrays.items()}


def everywhere(request: Request) -> Hashable:
    """Bind to every signature, both ways; the short way says what the general one says."""
    codes = []
    for signature in (*SIGNATURES, TEXTS):
        short, general = bound(signature, request.body), bound(signature, request.body, _bind)
        assert short == general, (str(signature), short, general)
        codes.append(short.get("code", "bound"))
    return tuple(codes)


def posting(path: str, headers: Mapping[str, str] = {}) -> Callable[[bytes], Hashable]:
    match = DATA.find("POST", path)

    def run(body: bytes) -> Hashable:
        own = headers
        if "inference-header-content-length" in headers:  # the JSON part of a case is its first line
            text, _, blob = body.partition(b"\n")
            own, body = {"inference-header-content-length": str(len(text))}, text + blob
        try:
            exchange = match.decode(HttpRequest("POST", path, "", own, memoryview(body)))
        except SetsailError as fault:
            match.route.wire.render_error(fault)
            return fault.code
        return asked(match, exchange)

    return run


def asked(match: Match, exchange: Exchange) -> Hashable:
    """What came of a request that was decoded."""
    if not isinstance(exchange.ask, Request):
        return type(exchange.ask).__name__
    if isinstance(exchange.ask.body, Unread):  # which binding would refuse
        match.route.wire.render_error(exchange.ask.body.fault)
        return exchange.ask.body.fault.code
    outcome = everywhere(exchange.ask)
    if exchange.ask.outputs is None:
        try:
            reply = exchange.encode(ANSWER)
        except SetsailError as fault:
            match.route.wire.render_error(fault)
            return (outcome, fault.code)
        assert isinstance(reply, HttpReply)
        assert reply.status == 200
    return outcome


def typed(path: str, method: str = "POST") -> Callable[[bytes], Hashable]:
    """A case is a line with the content type, an empty one for none, and then the body."""
    match = DATA.find(method, path)

    def run(case: bytes) -> Hashable:
        kind, _, body = case.partition(b"\n")
        headers = {"content-type": kind.decode("latin-1"), "accept": "text/csv" if len(body) % 3 == 0 else ""}
        try:
            exchange = match.decode(HttpRequest(method, path, "", headers, memoryview(body)))
        except SetsailError as fault:
            match.route.wire.render_error(fault)
            return fault.code
        return asked(match, exchange)

    return run


ANSWER = Response("m", 1, {"y": np.float32([0.5, np.nan])}, ("y",), SIGNATURES[0])
TENSOR = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2.5, 3, 4]}


def dumps(*values: Any) -> Iterator[bytes]:
    yield from (json.dumps(v).encode() for v in values)


def infer_seeds() -> Iterator[bytes]:
    yield from dumps(
        {"inputs": [TENSOR]}, {"inputs": [TENSOR | {"data": [[1, 2], [3, 4]]}], "id": "7", "outputs": [{"name": "y"}]},
        {"inputs": [TENSOR | {"datatype": "BYTES", "shape": [2], "data": ["u", None]}], "parameters": {"a": 1}},
        {"inputs": [TENSOR | {"name": "a", "shape": [2], "data": [1, 2]}, TENSOR | {"name": "b", "shape": [2, 1]}]},
        {"inputs": [TENSOR | {"datatype": "INT64", "data": [2**63 - 1, -(2**63), 0, 2**64]}]},
        {"inputs": [TENSOR | {"shape": [1200, 2], "data": [0.5] * 2400}]},
        {"inputs": [TENSOR | {"shape": [1200, 2], "data": [[1, 2]] * 1200}]},
        {"inputs": [TENSOR | {"datatype": "BOOL", "data": [True, False, True, True]}]},
    )  # fmt: skip


def binary_seeds() -> Iterator[bytes]:
    raw = np.arange(4, dtype="<f4").tobytes()
    others = [({"datatype": "BYTES", "shape": [2]}, b"\1\0\0\0u\0\0\0\0"), ({"datatype": "BOOL"}, b"\0\1\2\3"),
              ({"datatype": "UINT8", "shape": [1, 2, 2]}, b"\0\1\2\3")]  # fmt: skip
    for extra, blob in [({}, raw), *others]:
        item = (
            {k: v for k, v in TENSOR.items() if k != "data"} | {"parameters": {"binary_data_size": len(blob)}} | extra
        )
        text = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
        yield text + b"\n" + blob


def predict_seeds() -> Iterator[bytes]:
    rows = [[1, 2.5], [3, 4]]
    yield from dumps(
        {"instances": rows}, {"inputs": rows}, {"instances": [{"x": r} for r in rows], "signature_name": "y"},
        {"inputs": {"a": [1, 2], "b": ["u", "v"]}}, {"instances": [{"a": 1, "b": "u"}]}, {"instances": rows * 700},
        {"instances": [{"b64": "aMOp"}, "v"]}, {"instances": [float("nan"), None, 1e39]}, {"instances": [[rows]]},
        {"inputs": [[2**63, -1]] * 700},
    )  # fmt: skip


def plain_seeds() -> Iterator[bytes]:
    yield from dumps(
        [[1, 2.5]], {"a": 1, "b": 2}, {"a": [1, 2], "b": ["u", "v"]}, [{"x": [1, 2]}], "u", 1.5, [[1, 2]] * 900
    )


def csv_seeds() -> Iterator[bytes]:
    yield from (b"a,b\n1,2\n3,4\n", b'x\n"u"\n"a,""b"\n', b"\xef\xbb\xbfb,a\r\nu,1e3\r\n", b"x\n\n", b"a,b\n,\n")


def examples_seeds() -> Iterator[bytes]:
    example = {"a": 1.5, "b": ["u"], "x": [1, 2]}
    yield from dumps(
        {"examples": [example]}, {"examples": [{"x": [True, 2]}, {"x": 2.5}], "context": {"b": "v"}},
        {"signature_name": "y", "examples": [{"b": {"b64": "aMOp"}, "a": 3}]}, {"examples": [{"x": [1, "u"]}]},
    )  # fmt: skip


# -- bodies by their type ----------------------------------------------------------------------------------------------


def of_type(kind: bytes, *bodies: bytes) -> Iterator[bytes]:
    yield from (kind + b"\n" + body for body in bodies)


def npy_bytes(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz_bytes(save: Any, **arrays: Any) -> bytes:
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def multipart(*parts: tuple[str, bytes]) -> bytes:
    head = b"--B\r\nContent-Disposition: form-data; "
    return b"".join(head + about.encode() + b"\r\n\r\n" + body + b"\r\n" for about, body in parts) + b"--B--\r\n"


NPY = (
    np.float32([[1, 2.5]]), np.arange(4), np.array(["u", "v"]), np.array([b"u"]), np.array([[True, False]]),
    np.float16([1]), np.array([(1, 2.5)], [("a", "<i4"), ("b", "<f8")]), np.asfortranarray(np.ones((2, 3))),
    np.float64(7), np.empty((0, 2)), np.arange(4).astype(">u2"),
)  # fmt: skip


def payload_seeds() -> Iterator[bytes]:
    yield from of_type(b"", *plain_seeds())
    yield from of_type(b"application/x-npy", *map(npy_bytes, NPY))
    arrays = {"a": np.float64([1, 2]), "b": np.array(["u", "v"])}
    yield from of_type(b"application/x-npz", *(npz_bytes(save, **arrays) for save in (np.savez, np.savez_compressed)))
    yield from of_type(b"application/x-www-form-urlencoded", b"a=1&b=u", b"x=1&x=2", b"input=%5B1%2C2%5D", b"x=%ff")
    files = (
        multipart(('name="a"', b"1"), ('name="b"', b"u")),
        multipart(('name="f"; filename="x.npy"', npy_bytes(NPY[0]))),
        multipart(('name="f"; filename="x.csv"', b"a,b\n1,u\n")),
        multipart(('name="a"; filename="a.npy"', npy_bytes(NPY[1])), ('name="b"; filename="b.json"', b'["u"]')),
        multipart(('name="x"\r\nContent-Type: application/json', b"[1,2]")),
    )
    yield from of_type(b"multipart/form-data; boundary=B", *files)
    yield from of_type(b"application/jsonlines", b"[1,2]\n[3,4]\n", b'{"a":1,"b":"u"}\n\n')
    yield from of_type(b"application/octet-stream", npy_bytes(NPY[0]), b"any text", files[0])
    yield from of_type(b"text/csv", *csv_seeds())


def invocations_seeds() -> Iterator[bytes]:
    frame = {"columns": ["a", "b"], "index": [0, 1], "data": [[1, "u"], [2, None]]}
    yield from of_type(b"application/json", *dumps(
        {"dataframe_split": frame}, {"dataframe_records": [{"a": 1, "b": "u"}, {"a": 2}]}, {"inputs": {"x": [[1, 2]]}},
        {"instances": [[1, 2]], "params": {"t": 1}}, {"dataframe_split": {"data": [[0.5, 1]] * 900}}, {"inputs": "u"},
        {"instances": [{"features": [1, 2]}]}, [[1, 2]], {"prompt": "hello"}, {"instances": [{"a": 1, "b": "u"}]},
    ))  # fmt: skip
    yield from of_type(b"text/csv", *csv_seeds(), b",a,b\n0,1,u\n", b"1,2\n3,4\n")
    yield from of_type(b"text/csv; header=absent", b"1,2\n")
    yield from (seed for seed in payload_seeds() if not seed.startswith(b"text/csv"))


def parquet_seeds() -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    frame = pa.table({"a": [1.5, None], "b": ["u", "v"], "x": [[1, 2], [3, 4]]})
    for columns, coding in ((["a", "b"], "snappy"), (["x"], "gzip"), (["b"], "none")):
        out = io.BytesIO()
        pq.write_table(frame.select(columns), out, compression=coding)
        yield b"application/vnd.apache.parquet\n" + out.getvalue()


# -- GraphPipe ---------------------------------------------------------------------------------------------------------


def graphpipe_seeds() -> Iterator[bytes]:
    from setsail.protocols.graphpipe.buffer import Writer

    def tensor(number: int, shape: list[int], raw: bytes, texts: list[str]) -> Any:
        return lambda out: out.table(
            number, lambda out: out.longs(shape), lambda out: out.data(raw),
            lambda out: out.children([lambda out, text=text: out.text(text) for text in texts]),
        )  # fmt: skip

    numbers, words = tensor(10, [2, 2], np.float32([1, 2, 3, 4]).tobytes(), []), tensor(12, [2], b"", ["u", "v"])
    for config, names, tensors, wanted in (
        ("", ["x"], [numbers], []), ("", [], [numbers], ["y"]), ('{"model": "m", "version": 1}', ["a", "b"],
        [tensor(7, [2], bytes(16), []), words], []), ("", ["x"], [words], []), ("", [], [], []),
    ):  # fmt: skip

        def listed(texts: list[str]) -> Any:
            return lambda out: out.children([lambda out, text=text: out.text(text) for text in texts])

        def infer(out: Any, parts: Any = (config, names, tensors, wanted)) -> Any:
            config, names, tensors, wanted = parts
            return out.table(lambda out: out.text(config), listed(names), lambda out: out.children(tensors),
                             listed(wanted))  # fmt: skip

        yield Writer().finish(lambda out, infer=infer: out.table(1, infer))
    yield Writer().finish(lambda out: out.table(2, lambda out: out.table()))


JSON_WORDS = (
    b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"-0", b"-0.0", b"18446744073709551616", b"9007199254740993",
    b"1E5", b"[", b"]", b"[]", b"[[", b"]]", b"{}", b",", b":", b'"', b"\\", b'"\\ud800"', b"\xff", b" ", b"\n",
    b'"data":[1]', b'"data"', b'"shape":', b'"parameters":{', b'"instances":', b'"inputs":', b'"b64"', b'"x":',
    b'"a":', b'"BYTES"', b'"INT64"', b'"FP16"', b'"binary_data_size":', b'"outputs":[', b"0.1", b"65520", b"3.5e38",
    b"-1", b"256", b'"' + "é😀".encode() + b'"',
)  # fmt: skip


def json_parts(data: bytes) -> list[bytes]:
    """Token by token."""
    return re.findall(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+|.', data, re.DOTALL) or [b""]


# -- HTTP/1 ------------------------------------------------------------------------------------------------------------

SMALL = http1.Limits(head=2048, headers=20, body=4096)


def http1_outcome(data: bytes, step: int) -> list[Any]:
    """What a reader makes of the bytes, `step` at a time; into its own buffer where it has one."""
    budget = Budget(8192)
    reader = Reader(http1.Heads(SMALL), budget, SMALL)
    seen: list[Any] = []
    at = 0
    while at < len(data) and reader.fault is None:
        room = reader.room()
        if room is not None:
            size = min(len(room), len(data) - at, step)
            room[:size] = data[at : at + size]
            reader.filled(size)
        else:
            size = min(step, len(data) - at)
            reader.feed(data[at : at + size])
        at += size
        assert reader.progress >= 0
        while reader.messages:
            got = reader.messages.popleft()
            seen.append(
                (got.head.method, got.head.path, got.head.query, sorted(got.head.headers.items()), bytes(got.body))
            )
            budget.give(got.taken)
    reader.eof()
    seen.append(reader.fault.code if reader.fault is not None else "")
    reader.close()
    assert budget.taken == 0, budget.taken
    return seen


def http1_run(data: bytes) -> Hashable:
    """The same requests, and a fault after them or none, whatever the pieces that the bytes came in."""
    whole = http1_outcome(data, len(data) + 1)
    for step in (1, 7):
        cut = http1_outcome(data, step)  # its fault may be another one, because less was read when it was seen
        assert cut[:-1] == whole[:-1], (step, whole, cut)
        assert bool(cut[-1]) == bool(whole[-1]), (step, whole, cut)
    return (len(whole), whole[-1], whole[0][0] if len(whole) > 1 else "")


def http1_seeds() -> Iterator[bytes]:
    post = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd"
    chunked = b"POST /a%20b?q=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nX: y\r\n\r\n"
    yield from (post, chunked, post * 3 + chunked, b"GET / HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
    yield (
        b"PUT http://h/x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: close\r\n"
        b"Content-Length: 3000\r\n\r\n" + bytes(3000)
    )
    yield b"\r\nHEAD /x HTTP/1.1\r\nHost: [::1]:80\r\nAccept: a\r\nAccept: b\r\nContent-Encoding: gzip\r\n\r\n"


HTTP_WORDS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"Content-Length: ",
    b"Content-Length: 4\r\n", b"4", b"+4", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: ", b"chunked",
    b"Host: ", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"0\r\n\r\n", b"ffffffffffffffff", b";ext=1",
    b" ", b"\t", b"\0", b"\x80", b"%", b"%00", b"%2f", b"http://h", b":", b"GET ", b"POST ", b"CONNECT ", b"*",
    b"Upgrade: h2c\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip


# -- HTTP/2 and gRPC ---------------------------------------------------------------------------------------------------

LIMITS = Limits(streams=8, message=1 << 20, resets=50, pings=50, settings=20, idle_frames=200)
INFER = "/inference.GRPCInferenceService/ModelInfer"
OK = encode([(":status", "200")])


def request_block(path: str = INFER, kind: str = "application/grpc", *more: tuple[str, str]) -> bytes:
    return encode([(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "h"),
                   ("content-type", kind), ("te", "trailers"), *more])  # fmt: skip


def grpc_message(path: str = INFER) -> bytes:
    ask = message("inference.ModelInferRequest")(model_name="m", id="1")
    item = ask.inputs.add(name="x", datatype="FP32", shape=[2, 2])
    item.contents.fp32_contents.extend([1, 2, 3, 4])
    return bytes(ask.SerializeToString())


def framed(data: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(data).to_bytes(4, "big") + data


def http2_seeds() -> Iterator[bytes]:
    hello = frames.PREFACE + frames.settings({})
    body = framed(grpc_message())
    block = request_block()
    call = [frames.frame(1, 4, n, block) + frames.frame(0, 1, n, body) for n in (1, 3, 5)]
    yield hello + b"".join(call)
    yield (
        hello
        + frames.frame(1, 0, 1, block[:9])
        + frames.frame(9, 4, 1, block[9:])
        + frames.frame(0, 0, 1, body[:7])
        + frames.frame(0, 1, 1, body[7:])
    )
    yield (
        hello
        + frames.frame(1, 0x2C, 1, b"\2" + bytes(5) + block + bytes(2))
        + frames.frame(0, 9, 1, b"\1" + body + b"\0")
        + frames.reset(1, 8)
    )
    yield (
        hello
        + frames.ping(b"12345678")
        + frames.window_update(0, 99)
        + frames.settings({4: 0, 5: 16384, 1: 0})
        + call[0]
        + frames.goaway(0, 0)
    )
    stream = request_block(
        "/inference.GRPCInferenceService/ModelStreamInfer", "application/grpc+proto", ("grpc-timeout", "5S")
    )
    yield (
        hello
        + frames.frame(1, 4, 1, stream)
        + frames.frame(0, 0, 1, body * 3)
        + frames.window_update(1, 10)
        + frames.frame(1, 5, 1, encode([("x-trailer", "1")]))
    )
    packed = request_block(INFER, "application/grpc", ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip"))
    yield (
        hello + frames.frame(1, 4, 1, packed) + frames.frame(0, 1, 1, framed(gzip.compress(grpc_message(), mtime=0), 1))
    )
    plain = encode([(":method", "GET"), (":scheme", "http"), (":path", "/v2/health/live"), (":authority", "h")])
    yield (
        hello
        + frames.frame(1, 5, 1, plain)
        + frames.frame(1, 5, 3, request_block("/nowhere"))
        + frames.frame(2, 0, 3, bytes(5))
    )
    yield (
        hello
        + frames.frame(1, 4, 1, request_block("/v2/models/m/infer", "application/json", ("content-length", "2")))
        + frames.frame(0, 1, 1, b"{}")
    )


def http2_parts(data: bytes) -> list[bytes]:
    """The preface, then frame by frame."""
    at = len(frames.PREFACE) if data.startswith(frames.PREFACE) else 0
    parts = [data[:at]]
    while at < len(data):
        size = 9 + int.from_bytes(data[at : at + 3], "big")
        parts.append(data[at : at + size])
        at += size
    return parts


def http2_run(data: bytes) -> Hashable:
    """Nothing is raised, everything is given back, and what is sent is frames."""
    step = 1 + len(data) // 3 if len(data) % 2 else len(data) + 1
    budget = Budget(1 << 20)
    ours = Connection(LIMITS, budget)
    kinds = []
    sent = b""
    for at in range(0, len(data), step):
        for event in ours.receive(data[at : at + step]):
            kinds.append(type(event).__name__)
            if isinstance(event, Data):
                ours.consumed(event.stream, len(event.data))
            if isinstance(event, Opened | Whole) and event.stream.number % 4 == 1:
                ours.headers(event.stream, OK)
                ours.data(event.stream, b"x" * 70000)
                ours.trailers(event.stream, OK, True)
        sent += ours.take_output()
    ours.refresh()
    ours.close()
    assert budget.taken == 0, budget.taken
    replies = [part[3] for part in http2_parts(sent) if part]
    assert all(kind <= 9 for kind in replies), replies
    return (tuple(kinds[:12]), ours.finished, tuple(sorted(set(replies))))


def calls_run(data: bytes) -> Hashable:
    """Every call is answered; messages are decoded, and what they ask is bound."""
    step = 1 + len(data) // 3 if len(data) % 2 else len(data) + 1
    budget = Budget(1 << 22)
    calls = Calls(LIMITS, budget, METHODS)
    seen: list[Hashable] = []
    for at in range(0, len(data), step):
        for event in calls.receive(data[at : at + step]):
            seen.append(type(event).__name__)
            if isinstance(event, Arrived):
                seen.append(decoded(calls, event))
            elif isinstance(event, Started):
                calls.go_on(event.call)
            elif isinstance(event, Ended):
                calls.finish(event.call)
            elif isinstance(event, CallRefused):
                calls.refuse(event.call, event.fault)
            elif isinstance(event, Requested):
                calls.respond(event.call, HttpReply(200, b"{}"), b"now")
        calls.connection.take_output()
    calls.close()
    assert budget.taken == 0, budget.taken
    return tuple(seen[:16])


def decoded(calls: Calls, event: Arrived) -> Hashable:
    method = event.call.method
    assert method is not None
    try:
        exchange = method.decode(event.message)
    except SetsailError as fault:
        if method.render_fault is not None:
            calls.reply(event.call, method.render_fault(fault, event.message))
        else:
            calls.refuse(event.call, fault)
        return fault.code
    calls.reply(
        event.call, exchange.encode(ANSWER) if isinstance(exchange.ask, Request) and not exchange.ask.outputs else b""
    )
    return type(exchange.ask).__name__


PREDICT = "/tensorflow.serving.PredictionService/Predict"


def method_run(path: str) -> Callable[[bytes], Hashable]:
    """One method's messages."""
    index = list(METHODS).index(path)
    return lambda data: protobuf_run(bytes([index]) + data)


def tensorflow_seeds() -> Iterator[bytes]:
    """Tensors in both encodings, of every dtype that both sides know; shapes that are given, left out or too large."""
    values = {
        1: ("float_val", [1.5, 2]), 2: ("double_val", [1.5]), 3: ("int_val", [1, -2]), 4: ("int_val", [255]),
        7: ("string_val", [b"u", b"v"]), 9: ("int64_val", [2**62]), 10: ("bool_val", [True, False]),
        14: ("half_val", [16256]), 19: ("half_val", [15360]), 22: ("uint32_val", [7]), 23: ("uint64_val", [2**63]),
    }  # fmt: skip
    for number, (field, some) in values.items():
        for shape in ([2, 2], [len(some)], None):
            ask = message("tensorflow.serving.PredictRequest")()
            ask.model_spec.name = "m"
            tensor = ask.inputs["x"]
            tensor.dtype = number
            getattr(tensor, field).extend(some)
            for size in shape or ():
                tensor.tensor_shape.dim.add(size=size)
            yield ask.SerializeToString()
    for number, raw in ((1, np.float32([1, 2, 3, 4]).tobytes()), (7, b"\1\2uvw"), (9, bytes(32)), (10, b"\0\1")):
        ask = message("tensorflow.serving.PredictRequest")()
        ask.model_spec.version.value = 1
        ask.output_filter.append("y")
        tensor = ask.inputs["a"]
        tensor.dtype, tensor.tensor_content = number, raw
        for size in (2, 2) if number in (1, 9) else (2,):
            tensor.tensor_shape.dim.add(size=size)
        yield ask.SerializeToString()


def more_messages(path: str) -> Iterator[bytes]:
    """Good messages of methods whose seeds are not an infer request."""
    if path == PREDICT:
        yield from tensorflow_seeds()
    elif path.endswith(("/Classify", "/Regress")):
        kind = "Classification" if path.endswith("Classify") else "Regression"
        ask = message(f"tensorflow.serving.{kind}Request")()
        example = ask.input.example_list.examples.add()
        example.features.feature["a"].float_list.value.extend([1, 2])
        example.features.feature["b"].bytes_list.value.append(b"u")
        yield ask.SerializeToString()
    elif path.endswith("Predictions"):
        ask = message("org.pytorch.serve.grpc.inference.PredictionsRequest")(model_name="m", model_version="1.0")
        ask.input["data"] = b"[[1, 2]]"
        yield ask.SerializeToString()
        ask.input["b"] = b"u"
        yield ask.SerializeToString()


def protobuf_run(data: bytes) -> Hashable:
    """The first byte chooses the method, the rest is its message."""
    method = list(METHODS.values())[data[0] % len(METHODS)] if data else METHODS[INFER]
    try:
        exchange = method.decode(memoryview(data[1:]))
    except SetsailError as fault:
        if method.render_fault is not None:
            method.render_fault(fault, data[1:])
        return (method.path, fault.code)
    if not isinstance(exchange.ask, Request):
        return (method.path, type(exchange.ask).__name__)
    if not exchange.ask.outputs:
        exchange.encode(ANSWER)
    return (method.path, everywhere(exchange.ask))


def protobuf_seeds() -> Iterator[bytes]:
    infer = grpc_message()
    raw = message("inference.ModelInferRequest").FromString(infer)
    raw.inputs[0].ClearField("contents")
    raw.raw_input_contents.append(np.arange(4, dtype="<f4").tobytes())
    text = message("inference.ModelInferRequest")(model_name="m")
    text.inputs.add(name="x", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([b"u", b"\xff"])
    for index, path in enumerate(METHODS):
        yield bytes([index])
        yield bytes([index]) + b"\n\1m\x12\1001"
        if path.endswith("Infer"):
            yield from (bytes([index]) + m for m in (infer, raw.SerializeToString(), text.SerializeToString()))
        yield from (bytes([index]) + m for m in more_messages(path))


# -- compression -------------------------------------------------------------------------------------------------------


def inflate_run(data: bytes) -> Hashable:
    try:
        made = decompress(data, "gzip" if len(data) % 2 else "deflate", 1000)
    except SetsailError as fault:
        return fault.code
    assert len(made) <= 1000
    return len(made).bit_length()


def inflate_seeds() -> Iterator[bytes]:
    for size in (0, 1, 999, 1000, 1001, 5000):
        yield gzip.compress(b"x" * size, mtime=0)
        yield zlib.compress(b"x" * size) + b"\0"
        yield gzip.compress(b"x" * size, mtime=0) * 2


# -- management -----------------------------------------------------------------------------------------------------


def registering_run(data: bytes) -> Hashable:
    """The first line is the query, the rest a JSON body; what is decoded is also written as an answer."""
    query, _, body = data.partition(b"\n")
    match = MANAGING.find("POST", "/models")
    own = {"content-type": "application/json"} if body else {}
    request = HttpRequest("POST", "/models", query.decode("latin-1"), own, body)
    try:
        exchange = match.decode(request)
    except SetsailError as fault:
        return match.route.wire.render_error(fault).status, fault.code
    assert isinstance(exchange.ask, Register)
    try:
        STORE.find(exchange.ask.url)
    except SetsailError as fault:
        return exchange.encode(Registered("m", 1, "/m")).status, fault.code
    raise AssertionError(f"{exchange.ask.url!r} is something in an empty folder")


def registering_seeds() -> Iterator[bytes]:
    yield from (
        b"url=a.mar",
        b"url=../a&initial_workers=1&synchronous=true&batch_size=x",
        b"url=file:///etc/passwd",
        b"",
    )
    for told in ({"url": "a.mar", "initial_workers": 2}, {"url": "/etc/passwd"}, {"url": 3, "handler": "h"}, [1], {}):
        yield b"\n" + json.dumps(told).encode()


def properties_run(data: bytes) -> Hashable:
    """A file's pairs, and what becomes of them."""
    with NamedTemporaryFile(suffix=".properties") as file:
        file.write(data)
        file.flush()
        try:
            found = configuration.read(Path(file.name))
        except SetsailError as fault:
            return fault.code, fault.field
    return tuple(sorted(found.settings)), len(found.asks), len(found.notes)


def properties_seeds() -> Iterator[bytes]:
    yield b"inference_address=http://0.0.0.0:8080\nload_models=all\nmodel_store=/nowhere\n# x\nmax_request_size: 5\n"
    yield b'load_models=a=a.mar,b.mar\nmodels={\\\n "a": {"1.0": {"marName": "a.mar", "minWorkers": 2}}}\n\\u0041=\\t'
    yield b'model_snapshot={"models": {"a": {"1.0": {"defaultVersion": true}}}}\ndisable_token_authorization=false'


TYPE_WORDS = (
    b"application/json", b"text/csv", b"application/x-npy", b"application/x-npz", b"multipart/form-data; boundary=B",
    b"application/x-www-form-urlencoded", b"application/jsonlines", b"application/octet-stream", b"\x93NUMPY\1\0",
    b"'descr': '<f8'", b"'descr': '|O'", b"'shape': (2,)", b"'shape': (1000000000,)", b"'fortran_order': True", b"--B",
    b"--B--", b"\r\n\r\n", b"Content-Disposition: form-data; ", b'name="x"', b'filename="a.npz"', b"PK\3\4", b"&", b"=",
    b"%5B", b'"dataframe_split":', b'"columns":', b'"data":', b'"dataframe_records":', b'"params":', b"features",
)  # fmt: skip

TARGETS: Mapping[str, Target] = {
    "http1": Target(http1_run, http1_seeds, HTTP_WORDS),
    "http2": Target(http2_run, http2_seeds, (), http2_parts),
    "grpc": Target(calls_run, http2_seeds, (), http2_parts),
    "protobuf": Target(protobuf_run, protobuf_seeds),
    "infer": Target(posting("/v2/models/m/infer"), infer_seeds, JSON_WORDS, json_parts),
    "infer-binary": Target(
        posting("/v2/models/m/infer", {"inference-header-content-length": ""}), binary_seeds, JSON_WORDS, json_parts
    ),
    "predict": Target(posting("/v1/models/m:predict"), predict_seeds, JSON_WORDS, json_parts),
    "plain": Target(posting("/predict/m"), plain_seeds, JSON_WORDS, json_parts),
    "csv": Target(
        posting("/predict/m", {"content-type": "text/csv"}), csv_seeds, (b",", b'"', b"\n", b"\r", b"a", b"x", b"nan")
    ),
    "examples": Target(posting("/v1/models/m:classify"), examples_seeds, JSON_WORDS, json_parts),
    "payload": Target(typed("/predict/m"), payload_seeds, (*JSON_WORDS, *TYPE_WORDS)),
    "torchserve": Target(typed("/predictions/m"), payload_seeds, (*JSON_WORDS, *TYPE_WORDS)),
    "invocations": Target(typed("/invocations"), invocations_seeds, (*JSON_WORDS, *TYPE_WORDS)),
    "parquet": Target(typed("/invocations"), parquet_seeds, (b"PAR1",)),
    "graphpipe": Target(posting("/graphpipe/m"), graphpipe_seeds),
    "tensorflow": Target(method_run(PREDICT), tensorflow_seeds),
    "inflate": Target(inflate_run, inflate_seeds),
    "registering": Target(registering_run, registering_seeds, (*JSON_WORDS, b"url=", b"%2e%2e/", b"file://", b"\n")),
    "properties": Target(properties_run, properties_seeds, tuple(f"{key}=".encode() for key in configuration.KEYS)),
}  # fmt: skip
