"""TensorFlow Serving's own Python client, in an environment of its own, against a live server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_envs import ask_client, client_python
from fakehouse import echo, iris, people, review
from furnished import furnish
from scaled import artifact, program
from shell import run

from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.tensors import DTYPES

pytestmark = pytest.mark.slow
# The client's messages import TensorFlow's own, so all of TensorFlow is part of it.
PINS = ("tensorflow-cpu==2.20.0", "grpcio==1.85.1", "--no-deps", "tensorflow-serving-api==2.20.0")
PAGE = Path(__file__).parents[2] / "docs" / "wires" / "tf-serving-grpc.md"
HEAD = """
import json, sys
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2, inference_pb2, input_pb2,
    model_management_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc, regression_pb2,
)
channel = grpc.insecure_channel(sys.argv[1])
predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)

def predict(model, outputs=(), signature="", **inputs):
    asked = predict_pb2.PredictRequest(output_filter=outputs)
    asked.model_spec.name, asked.model_spec.signature_name = model, signature
    for name, values in inputs.items():
        asked.inputs[name].CopyFrom(values if hasattr(values, "tensor_shape") else tf.make_tensor_proto(values))
    return predictions.Predict(asked, 20)

def refused(call):
    try:
        call()
    except grpc.RpcError as fault:
        return [fault.code().name, fault.details(), dict(fault.trailing_metadata())["x-setsail-error"]]

def example(**features):
    kinds = {bytes: ("bytes_list", tf.train.BytesList), float: ("float_list", tf.train.FloatList),
             int: ("int64_list", tf.train.Int64List)}
    told = {}
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        field, kind = kinds[type(values[0])]
        told[name] = tf.train.Feature(**{field: kind(value=values)})
    return tf.train.Example(features=tf.train.Features(feature=told))

def examples(*rows):
    return input_pb2.Input(example_list=input_pb2.ExampleList(examples=rows))

told = {}
"""
FLOWER = "example(sepal_length=9.0, sepal_width=1.0, petal_length=1.0, petal_width=1.0)"
TAIL = "\nprint(json.dumps(told))\n"


@pytest.fixture(scope="module")
def python() -> Path:
    return client_python("tf-serving", *PINS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("store")
    (store / "twice").mkdir()
    artifact(store / "twice" / "1.setsail", 2.0, name="twice").close()
    made = Server(Settings(port=0, admin_port=-1, model_control="explicit", model_store=str(store)))
    sleepy = echo(DTYPES[-3], "sleepy")
    sleepy.state = "loading"
    furnish(made.house, iris(), people(), review(), sleepy, *map(echo, DTYPES))
    made.start()
    yield made
    made.close()


def told(python: Path, server: Server, script: str, *args: str) -> Any:
    return ask_client(python, HEAD + script + TAIL, server.url.removeprefix("http://"), *args, seconds=180).json()


def test_the_pages_example(python: Path, server: Server) -> None:
    (code,) = re.findall(r"^```python no-run\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    here = code.replace("127.0.0.1:8080", server.url.removeprefix("http://"))
    ended = ask_client(python, here.replace("[[5.1, 3.5, 1.4, 0.2]]", "[[9.0, 1.0, 1.0, 1.0]]"))
    assert ended.rc == 0, ended.err
    assert ended.out.startswith("[[9.99"), ended.out


def test_predictions(python: Path, server: Server) -> None:
    """Arrays of every dtype there and back, in both encodings, and what an answer says of the model."""
    script = """
kinds = {"bool": [True, False], "float16": [0.1, 65504.0], "float32": [0.1, 3.4028235e38], "float64": [0.1, 1e308],
         "int64": [-(2**63), 2**53 + 1], "uint64": [1, 2**64 - 1]}
for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32"):
    kinds[name] = [np.iinfo(name).min, np.iinfo(name).max]
for name, values in kinds.items():
    array = np.array([values] * 3, name)
    typed = tf.make_tensor_proto(array[:1])
    one = tf.make_tensor_proto(array[0, 0], shape=[2, 2])
    backs = [tf.make_ndarray(predict("echo-" + name, x=sent).outputs["y"]) for sent in (array, typed, one)]
    told[name] = [bool((backs[0] == array).all()) and backs[0].dtype == array.dtype,
                  bool((backs[1] == array[:1]).all()), bool((backs[2] == array[0, 0]).all())]
text = np.array([["a", "h\\u00e9"]], object)
told["string"] = [tf.make_ndarray(predict("echo-string", x=text).outputs["y"])[0, 1].decode() == "h\\u00e9"]
half = tf.make_tensor_proto(np.ones((1, 2)), dtype=tf.bfloat16)
told["bfloat16"] = [tf.make_ndarray(predict("echo-float32", x=half).outputs["y"]).tolist() == [[1.0, 1.0]]]
rows = np.array([[9.0, 1, 1, 1]])
answer = predict("iris", input=rows)
told["spec"] = [answer.model_spec.name, answer.model_spec.version.value, answer.model_spec.signature_name]
told["default"] = sorted(answer.outputs)
told["filter"] = sorted(predict("iris", ["label", "probabilities"], input=rows).outputs)
told["label"] = predict("iris", signature="label", input=rows).outputs["label"].string_val[0].decode()
told["float_val"] = len(answer.outputs["probabilities"].float_val)
"""
    found = told(python, server, script)
    assert found.pop("spec") == ["iris", 1, "serving_default"]
    assert found.pop("default") == ["probabilities"]
    assert found.pop("filter") == ["label", "probabilities"]
    assert (found.pop("label"), found.pop("float_val")) == ("setosa", 3)
    assert set(found) == {dtype.name for dtype in DTYPES} | {"bfloat16"}
    assert {name: all(values) for name, values in found.items()} == dict.fromkeys(found, True)


def test_examples(python: Path, server: Server) -> None:
    script = f"""
flower = {FLOWER}
asked = classification_pb2.ClassificationRequest(input=examples(flower, flower))
asked.model_spec.name = "iris"
told["classes"] = [[c.label for c in row.classes] for row in predictions.Classify(asked, 20).result.classifications]
asked = regression_pb2.RegressionRequest(input=examples(example(x=[2.0, 1.0])))
asked.model_spec.name = "iris"
told["no regressor"] = refused(lambda: predictions.Regress(asked, 20))
asked = inference_pb2.MultiInferenceRequest(input=examples(flower))
task = asked.tasks.add(method_name="tensorflow/serving/classify")
task.model_spec.name = "iris"
task = asked.tasks.add(method_name="tensorflow/serving/classify")
task.model_spec.name, task.model_spec.signature_name = "iris", "label"
told["tasks"] = [len(r.classification_result.classifications[0].classes) for r in
                 predictions.MultiInference(asked, 20).results]
"""
    found = told(python, server, script)
    assert found["classes"] == [["setosa", "versicolor", "virginica"]] * 2
    assert found["tasks"] == [3, 1]
    assert found["no regressor"][::2] == ["INVALID_ARGUMENT", "input.missing"]


def test_models(python: Path, server: Server) -> None:
    """Metadata, states, and a list of models that is loaded, answers, and is gone again."""
    script = """
asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
asked.model_spec.name = "iris"
packed = predictions.GetModelMetadata(asked, 20).metadata["signature_def"]
signatures = get_model_metadata_pb2.SignatureDefMap()
packed.Unpack(signatures)
default = signatures.signature_def["serving_default"]
told["inputs"] = {name: [info.dtype, [d.size for d in info.tensor_shape.dim]] for name, info in default.inputs.items()}
told["method"] = default.method_name

def state(model):
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = model
    return [[s.version, s.state] for s in models.GetModelStatus(asked, 20).model_version_status]

def reload(**config):
    asked = model_management_pb2.ReloadConfigRequest()
    if config:
        asked.config.model_config_list.config.add(**config)
    else:
        asked.config.model_config_list.SetInParent()
    return models.HandleReloadConfigRequest(asked, 60).status.error_code

told["states"] = [state("iris"), state("sleepy")]
told["reloaded"] = reload(name="double", base_path=sys.argv[2] + "/twice", model_platform="tensorflow")
told["double"] = [state("double"), tf.make_ndarray(predict("double", x=np.float32([[3, 4]])).outputs["y"]).tolist()]
told["outside"] = refused(lambda: reload(name="double", base_path="/etc"))
told["emptied"] = reload()
told["gone"] = refused(lambda: predict("double", x=np.float32([[3, 4]])))
"""
    found = told(python, server, script, server.settings.model_store)
    assert found["inputs"] == {"input": [2, [-1, 4]]}
    assert found["method"] == "tensorflow/serving/predict"
    assert found["states"] == [[[1, 30]], [[1, 20]]]
    assert found["reloaded"] == found["emptied"] == 0
    assert found["double"][0] == [[1, 30]]
    assert found["outside"][::2] == ["PERMISSION_DENIED", "store.outside"]
    assert found["gone"][0] == "NOT_FOUND"


MODELS = """
model_config_list {{ config {{
  name: "credit" base_path: "{}" model_version_policy {{ specific {{ versions: 1 versions: 3 }} }}
  version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 3 }}
}} }}
"""


def test_versions_by_label_in_a_repository_that_models_config_became(python: Path, tmp_path: Path) -> None:
    for version in (1, 2, 3):
        (tmp_path / "base" / str(version)).mkdir(parents=True)
        (tmp_path / "base" / str(version) / "model.onnx").write_bytes(program(float(version)))
    (tmp_path / "models.config").write_text(MODELS.format(tmp_path / "base"))
    assert run("pack", tmp_path / "models.config", "-o", f"{tmp_path / 'repo'}/").code == 0
    script = """
asked = predict_pb2.PredictRequest()
asked.model_spec.name = "credit"
asked.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([[1, 2]])))
for label in ("stable", "canary", ""):
    if label:
        asked.model_spec.version_label = label
    else:
        asked.model_spec.ClearField("version_label")
    answer = predictions.Predict(asked, 20)
    told[label] = [answer.model_spec.version.value, tf.make_ndarray(answer.outputs["y"]).tolist()]
asked.model_spec.version_label = "gone"
told["gone"] = refused(lambda: predictions.Predict(asked, 20))
"""
    with Server(Settings(port=0, admin_port=-1)) as server:
        server.open(tmp_path / "repo")
        server.start()
        found = told(python, server, script)
    assert found["gone"][2] == "model.label"
    assert {name: found[name] for name in ("stable", "canary", "")} == {
        "stable": [1, [[1, 2]]], "canary": [3, [[3, 6]]], "": [3, [[3, 6]]],
    }  # fmt: skip


def test_faults(python: Path, server: Server) -> None:
    script = """
rows = np.array([[9.0, 1, 1, 1]])
told["model"] = refused(lambda: predict("nobody", input=rows))
told["loading"] = refused(lambda: predict("sleepy", x=np.ones((1, 2))))
told["signature"] = refused(lambda: predict("iris", signature="logits", input=rows))
told["filter"] = refused(lambda: predict("iris", ["logits"], input=rows))
told["twice"] = refused(lambda: predict("iris", ["label", "label"], input=rows))
told["missing"] = refused(lambda: predict("iris"))
told["dtype"] = refused(lambda: predict("iris", input=np.array([["a"] * 4])))
told["complex"] = refused(lambda: predict("iris", input=np.ones((1, 4), complex)))
told["shape"] = refused(lambda: predict("iris", input=rows[:, :2]))
session = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")
told["session"] = refused(lambda: session(b"", timeout=20))
"""
    found = told(python, server, script)
    assert found["model"][1].endswith("Servable not found for request: Latest(nobody)")
    assert {name: fault[::2] for name, fault in found.items()} == {
        "model": ["NOT_FOUND", "model.unknown"],
        "loading": ["NOT_FOUND", "model.not_ready"],
        "signature": ["FAILED_PRECONDITION", "model.signature"],
        "filter": ["INVALID_ARGUMENT", "output.unknown"],
        "twice": ["INVALID_ARGUMENT", "output.unknown"],
        "missing": ["INVALID_ARGUMENT", "input.missing"],
        "dtype": ["INVALID_ARGUMENT", "input.dtype"],
        "complex": ["INVALID_ARGUMENT", "input.dtype"],
        "shape": ["INVALID_ARGUMENT", "input.shape"],
        "session": ["UNIMPLEMENTED", "request.unsupported"],
    }
