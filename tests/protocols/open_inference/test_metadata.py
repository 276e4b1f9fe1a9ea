"""Configuration and statistics over REST, which say what gRPC says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fakehouse import FakeHouse, two

from setsail.protocols.grpc.pool import message
from setsail.protocols.http import HttpReply

Ask = Callable[..., HttpReply]


def told(ask: Ask, path: str) -> Any:
    reply = ask("GET", path)
    assert reply.status == 200
    return json.loads(reply.body)


def test_the_servers_extensions(ask: Ask) -> None:
    extensions = told(ask, "/v2")["extensions"]
    assert {"classification", "statistics", "model_configuration", "model_repository_extension"} <= set(extensions)
    assert not {"sequence", "system_shared_memory", "cuda_shared_memory", "trace", "logging"} & set(extensions)


def test_the_configuration_of_a_model(ask: Ask) -> None:
    config = told(ask, "/v2/models/iris/config")
    assert (config["name"], config["max_batch_size"], config["dynamic_batching"]) == ("iris", 2**31 - 1, {})
    assert config["input"] == [{
        "name": "input", "data_type": "TYPE_FP64", "dims": [4], "format": "FORMAT_NONE", "is_shape_tensor": False,
        "allow_ragged_batch": False, "optional": False,
    }]  # fmt: skip
    assert [(o["name"], o["data_type"], o["dims"]) for o in config["output"]] == [
        ("label", "TYPE_STRING", []), ("probabilities", "TYPE_FP32", [3]),
    ]  # fmt: skip
    assert told(ask, "/v2/models/iris/versions/1/config") == config
    assert ask("GET", "/v2/models/nobody/config").status == 404


def test_the_signatures_of_a_model_are_properties_of_it(ask: Ask, house: FakeHouse) -> None:
    house.models["two"] = two()
    about = told(ask, "/v2/models/two")
    assert [tensor["name"] for tensor in about["inputs"]] == ["x"]  # of the default one
    assert about["properties"] == {
        "signatures": "serving_default,classify,prediction,serve,sort",
        "signature.classify": "(z:float32[N,2]) -> (scores:float32[N,2])",
        "signature.prediction": "(x:float32[N,3]) -> (prediction:float32[N])",
        "signature.serve": "(x:float32[N,3]) -> (prediction:float32[N])",
        "signature.sort": "(z:float32[N,2]) -> (scores:float32[N,2])",
    }
    parameters = told(ask, "/v2/models/two/config")["parameters"]
    assert parameters == {name: {"string_value": value} for name, value in about["properties"].items()}
    assert "properties" not in told(ask, "/v2/models/iris")
    assert "parameters" not in told(ask, "/v2/models/iris/config")


def test_a_model_of_one_value_a_row_has_no_batch_in_tritons_sense(ask: Ask) -> None:
    config = told(ask, "/v2/models/people/config")
    assert (config["max_batch_size"], config["input"][1]["dims"]) == (0, [-1])
    assert "dynamic_batching" not in config


def test_statistics_of_a_version_a_name_and_of_everything(ask: Ask) -> None:
    (row,) = told(ask, "/v2/models/iris/versions/1/stats")["model_stats"]
    assert (row["name"], row["version"], row["inference_stats"]["success"]) == ("iris", "1", {"count": 0, "ns": 0})
    assert [r["name"] for r in told(ask, "/v2/models/iris/stats")["model_stats"]] == ["iris"]
    names = {r["name"] for r in told(ask, "/v2/models/stats")["model_stats"]}
    assert "iris" in names
    assert "sleepy" not in names


def test_statistics_have_tritons_fields(ask: Ask) -> None:
    (row,) = told(ask, "/v2/models/iris/stats")["model_stats"]
    fields = message("inference.ModelStatistics").DESCRIPTOR.fields_by_name
    assert set(row) == set(fields)
    assert set(row["inference_stats"]) == set(fields["inference_stats"].message_type.fields_by_name)
