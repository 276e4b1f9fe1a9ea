"""Triton's repositories as they are: what is read of a configuration, and real trees served to Triton's own client."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scaled import artifact, program

from setsail.catalog import Policy
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.server.foreign import triton
from setsail.server.foreign.triton_config import read
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import BY_NAME

http = pytest.importorskip("tritonclient.http")

WHOLE = """
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))


Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Make a model of a repository: versions by number and scale, and what stands beside them."""

    def run(name: str, config: str | None = None, versions: dict[int, float] | None = None, **files: bytes) -> Path:
        folder = tmp_path / "repository" / name
        folder.mkdir(parents=True, exist_ok=True)
        if config is not None:
            (folder / "config.pbtxt").write_text(config)
        for version, scale in (versions or {}).items():
            (folder / str(version)).mkdir()
            (folder / str(version) / "model.onnx").write_bytes(program(scale))
        for file, data in files.items():
            path = folder / file.replace("__", "/").replace("_txt", ".txt")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return folder

    return run


def served(folder: Path, *flags: Any, **settings: Any) -> Server:
    made = Server(Settings(as_="triton", ports="8000=0,8001=0,8002=0", admin_port=-1, **settings))
    made.open(folder)
    return made.start()


# -- what a configuration says ----------------------------------------------------------------------------------------


def test_a_whole_configuration(put: Put) -> None:
    text = (
        WHOLE
        + """
name: "twice"
version_policy { specific { versions: [1, 3] } }
instance_group [ { count: 2 kind: KIND_GPU } ]
dynamic_batching { preferred_batch_size: [4, 8] max_queue_delay_microseconds: 2500 }
optimization { execution_accelerators { gpu_execution_accelerator : [ { name : "tensorrt" } ] } }
parameters { key: "intra_op_thread_count" value { string_value: "2" } }
model_warmup { name: "w" batch_size: 2 count: 3
  inputs { key: "x" value { data_type: TYPE_FP32 dims: 2 random_data: true } } }
"""
    )
    found = read(put("twice", text))
    assert (found.batched, found.file, found.policy) == (True, "model.onnx", Policy(specific=(1, 3)))
    assert [(t.name, t.dtype.oip, t.dims) for t in found.inputs] == [("x", "FP32", (2,))]
    assert [(t.name, t.labels) for t in found.outputs] == [("y", "labels.txt")]
    assert [(w.name, w.batch, w.count, w.inputs[0].how) for w in found.warm_ups] == [("w", 2, 3, "random_data")]
    assert [note.split(":")[1].strip() for note in found.notes] == [
        "instance_group", "optimization", "parameters", "dynamic_batching",
    ]  # fmt: skip
    assert "--max-delay 0.0025" in found.notes[-1]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("", Policy(latest=1)), ("version_policy: { all {} }", Policy()),
        ("version_policy: { latest { num_versions: 2 } }", Policy(latest=2)),
    ],
)  # fmt: skip
def test_versions_are_those_of_the_policy(put: Put, policy: str, wanted: Policy) -> None:
    assert read(put("m", WHOLE + policy)).policy == wanted


@pytest.mark.parametrize(
    ("text", "field", "todo"),
    [
        ("ensemble_scheduling { step [] }", "ensemble_scheduling", "one after the other"),
        ("sequence_batching { }", "sequence_batching", "state in the client"),
        ('backend: "python"', "backend", "--trust app"),
        ('platform: "tensorrt_plan"', "platform", "ONNX file that the plan was built from"),
        ('platform: "pytorch_libtorch"', "platform", "setsail pack model.pt"),
        ('platform: "tensorflow_savedmodel"', "platform", "setsail pack model.savedmodel"),
        ('platform: "ensemble"', "platform", "one ONNX graph"),
        ('backend: "fil"', "backend", "booster"),
        ('backend: "mine"', "backend", ""),
        ("batch_input [ { kind: BATCH_ELEMENT_COUNT } ]", "batch_input", "into the graph"),
        ('model_operations { op_library_filename: "x.so" }', "model_operations", "custom operators"),
        ("model_transaction_policy { decoupled: true }", "model_transaction_policy.decoupled", ""),
        ('model_repository_agents { agents { name: "checksum" } }', "model_repository_agents", ""),
        ("invented: 1", "invented", ""),
        ('name: "other"', "name", ""),
        ('default_model_filename: "../../etc/model.onnx"', "default_model_filename", ""),
        ('max_batch_size: "8"', "max_batch_size", ""),
        ("input: 1", "input", ""),
        ('input { name: "x" data_type: TYPE_FP4 dims: 2 }', "input.data_type", ""),
        ('input { name: "x" data_type: TYPE_FP32 dims: 2 reshape { shape: [] } }', "input.reshape", "Reshape"),
        ('input { name: "x" data_type: TYPE_FP32 dims: 2 optional: true }', "input.optional", ""),
        ('input { name: "x" data_type: TYPE_FP32 dims: 2 colour: 1 }', "input.colour", ""),
        ('output { name: "y" data_type: TYPE_FP32 dims: 2 label_filename: "../x" }', "label_filename", ""),
        ("version_policy { newest {} }", "version_policy.newest", ""),
        ('model_warmup { batch_size: 2 inputs { key: "x" value { } } }', "model_warmup.batch_size", ""),
        ('model_warmup { inputs { key: "x" value { data_type: TYPE_FP32 dims: 2 } } }', "model_warmup.inputs.value",
         ""),
        ('model_warmup { inputs { key: "x" value { data_type: TYPE_FP32 dims: -1 zero_data: true } } }',
         "model_warmup.inputs.value.dims", ""),
    ],
)  # fmt: skip
def test_what_is_not_done_here_is_refused_by_name(put: Put, text: str, field: str, todo: str) -> None:
    with pytest.raises(SetsailError) as caught:
        read(put("m", text))
    assert (caught.value.code, caught.value.field) == ("repository.config", field)
    assert todo in caught.value.todo


def test_a_reshape_to_the_same_shape_is_none(put: Put) -> None:
    text = 'input { name: "x" data_type: TYPE_FP32 dims: 2 reshape { shape: 2 } }'
    assert read(put("m", text)).inputs[0].dims == (2,)


# -- trees that are served ---------------------------------------------------------------------------------------------


@pytest.fixture
def tree(put: Put) -> Path:
    """Two versions of one model, one without a configuration, one that is refused."""
    put("twice", WHOLE + "version_policy { all {} }", {1: 2.0, 2: 3.0}, labels_txt=b"cat\ndog\n")
    put("bare", None, {1: 5.0, 4: 6.0})
    return put("pipe", 'platform: "ensemble" ensemble_scheduling { step [] }').parent


@pytest.fixture
def client(tree: Path) -> Iterator[Any]:
    with served(tree) as server:
        client = http.InferenceServerClient(server.url.partition("://")[2])
        yield client
        client.close()


def infer(client: Any, name: str, version: str = "", outputs: Any = None) -> Any:
    asked = http.InferInput("x", [2, 2], "FP32")
    asked.set_data_from_numpy(np.array([[1, 2], [4, 3]], np.float32))
    return client.infer(name, [asked], model_version=version, outputs=outputs)


def test_a_repository_is_served_to_tritons_client(client: Any) -> None:
    assert infer(client, "twice").as_numpy("y").tolist() == [[3, 6], [12, 9]]
    assert infer(client, "twice", "1").as_numpy("y").tolist() == [[2, 4], [8, 6]]
    assert infer(client, "bare").as_numpy("y").tolist() == [[6, 12], [24, 18]]
    found = infer(client, "twice", outputs=[http.InferRequestedOutput("y", binary_data=False, class_count=1)])
    assert found.as_numpy("y").tolist() == [["6.000000:1:dog"], ["12.000000:0:cat"]]
    index = {(one["name"], one["version"]): one for one in client.get_model_repository_index()}
    assert {at: one["state"] for at, one in index.items()} == {
        ("twice", "1"): "READY", ("twice", "2"): "READY", ("bare", "4"): "READY", ("pipe", "1"): "UNAVAILABLE",
    }  # fmt: skip
    assert "ensemble" in index["pipe", "1"]["reason"]
    assert not client.is_model_ready("pipe")


def test_clients_must_have_been_told_what_the_program_is(put: Put) -> None:
    wrong = {
        "name": WHOLE.replace('"x"', '"z"'),
        "dtype": WHOLE.replace('"x" data_type: TYPE_FP32', '"x" data_type: TYPE_INT64'),
        "dims": WHOLE.replace("dims: [ 2 ] } ]\noutput", "dims: [ 3 ] } ]\noutput"),
        "output": WHOLE.replace('"y"', '"scores"'), "few": WHOLE.replace("max_batch_size: 8", "max_batch_size: 0"),
    }  # fmt: skip
    fields = {"name": "input.name", "dtype": "input.data_type", "dims": "input.dims", "output": "output.name",
              "few": "input.dims"}  # fmt: skip
    for name, text in wrong.items():
        put(name, text.replace('label_filename: "labels.txt"', ""), {1: 2.0})
    place = put("labels", WHOLE, {1: 2.0}, labels_txt=b"one\ntwo\nthree\n").parent
    server = Server(Settings(admin_port=-1))
    server.open(put("right", WHOLE, {1: 2.0}, labels_txt=b"a\nb").parent)
    states = {s.name: s for name in (*wrong, "labels", "right") for s in server.house.table.status(ModelRef(name))}
    server.close()
    assert {name for name, status in states.items() if status.ready} == {"right"}
    for name, field in fields.items():
        assert f"{field} is not what can be served" in states[name].reason, name
    assert "3 labels fit no output" in states["labels"].reason
    assert place.is_dir()


def test_an_artifact_in_a_version_is_taken_instead_of_the_file(put: Put) -> None:
    folder = put("twice", WHOLE.replace('label_filename: "labels.txt"', ""), {})
    artifact(folder / "7" / "packed.setsail", 4.0).close()
    with served(folder) as server:  # a model's own folder is a repository of one
        assert server.predict({"x": np.ones((1, 2), np.float32)}, "twice")["y"].tolist() == [[4.0, 4.0]]


def test_a_changed_configuration_is_a_changed_version(put: Put) -> None:
    def pack(source: Path, **given: Any) -> Path:
        raise AssertionError("scan packs nothing")

    folder = put("twice", WHOLE, {1: 2.0}, labels_txt=b"a\nb")
    before = triton.scan(folder.parent, pack)
    (folder / "labels.txt").write_bytes(b"other\nlabels\n")
    assert [f.stamp for f in triton.scan(folder.parent, pack).values()] != [f.stamp for f in before.values()]


# -- warm-up -----------------------------------------------------------------------------------------------------------

WARM = """
model_warmup {{ name: "sample" batch_size: 2 count: 2
  inputs {{ key: "{}" value {{ data_type: TYPE_FP32 dims: {} {} }} }} }}
"""


def test_warm_up_requests_run_before_anybody_is_answered(put: Put, caplog: pytest.LogCaptureFixture) -> None:
    row = struct.pack("<2f", 1.0, 2.0)
    plain = WHOLE.replace('label_filename: "labels.txt"', "")
    put("good", plain + WARM.format("x", 2, 'input_data_file: "row"'), {1: 2.0}, warmup__row=row)
    folder = put("odd", plain + WARM.format("x", 3, "zero_data: true"), {1: 2.0}).parent
    with caplog.at_level(logging.INFO, "setsail.serving"):
        server = Server(Settings(admin_port=-1))
        server.open(folder)
    ready = {status.name for status in server._ready()}
    server.close()
    assert ready == {"good", "odd"}  # Triton, too, says what failed and serves
    assert "good: 2 requests of model_warmup answered" in caplog.messages
    assert any("odd: request 1 of model_warmup is not answered" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("key", "how", "field"),
    [("z", "zero_data: true", "key"), ("x", 'input_data_file: "none"', "value.input_data_file"),
     ("x", 'input_data_file: "short"', "value.input_data_file")],
)  # fmt: skip
def test_warm_up_requests_that_cannot_be_made_are_faults(put: Put, key: str, how: str, field: str) -> None:
    folder = put("m", WHOLE + WARM.format(key, 2, how), {1: 2.0}, labels_txt=b"a\nb", warmup__short=b"1234567")
    (found,) = triton.scan(folder.parent, lambda source, **given: source).values()
    assert found.problem is not None
    assert found.problem.field == f"model_warmup.inputs.{field}"


def test_texts_of_a_warm_up_stand_after_their_lengths(put: Put) -> None:
    data = b"".join(struct.pack("<I", len(text)) + text for text in (b"ab", "ü".encode()))
    folder = put("m", None, {}, warmup__texts=data, warmup__cut=data[:-1])
    filled = {"name": "x", "dtype": BY_NAME["string"], "dims": (2,), "how": "input_data_file"}
    assert triton._filled(folder, triton.Filled(**filled, file="texts")).tolist() == ["ab", "ü"]
    with pytest.raises(SetsailError):
        triton._filled(folder, triton.Filled(**filled, file="cut"))
