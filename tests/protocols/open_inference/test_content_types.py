"""MLServer's content types: those that say nothing new are taken, base64 is undone, the others are refused by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.messages import Tensor
from setsail.protocols.binary import pack
from setsail.protocols.http import HttpReply
from setsail.protocols.open_inference.content_types import decoded, of_output
from setsail.tensors import BY_NAME

Ask = Callable[..., HttpReply]
TEXT = BY_NAME["string"]


def test_a_frame_of_columns_as_mlservers_codec_sends_it(ask: Ask) -> None:
    """Each column is [N,1]; text says `str`; the answer says what its outputs are."""

    def column(name: str, datatype: str, data: list[Any], **parameters: Any) -> dict[str, Any]:
        return {"name": name, "shape": [2, 1], "datatype": datatype, "data": data, "parameters": parameters}

    body = {
        "parameters": {"content_type": "pd", "headers": {"x": "y"}},
        "inputs": [
            column("age", "FP64", [1.0, 2.0]), column("city", "BYTES", ["Rome", "Oslo"], content_type="str"),
            column("children", "INT64", [[1], [2]]), column("member", "BOOL", [True, False]),
        ],
    }  # fmt: skip
    (output,) = json.loads(ask("POST", "/v2/models/people/infer", body).body)["outputs"]
    assert (output["data"], output["parameters"]) == ([4.0, 5.0], {"content_type": "np"})


def test_a_tables_columns(ask: Ask) -> None:
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    inputs = [{"name": n, "shape": [1, 1], "datatype": "FP64", "data": [float(i)]} for i, n in enumerate(names)]
    body = {"parameters": {"content_type": "pd"}, "inputs": inputs}
    label, _ = json.loads(ask("POST", "/v2/models/iris/infer", body).body)["outputs"]
    assert (label["data"], label["parameters"]) == (["virginica"], {"content_type": "str"})


def test_np_is_what_it_is(ask: Ask) -> None:
    item = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], "parameters": {"content_type": "np"}}
    reply = ask("POST", "/v2/models/echo-float32/infer", {"inputs": [item]})
    assert reply.body.endswith(b'"shape":[1,2],"parameters":{"content_type":"np"},"data":[1.0,2.0]}]}')


def test_an_answer_in_bytes_says_it_too(ask: Ask) -> None:
    item = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2], "parameters": {"content_type": "np"}}
    reply = ask("POST", "/v2/models/echo-float32/infer", {"inputs": [item], "parameters": {"binary_data_output": True}})
    length = int(dict(reply.headers)["Inference-Header-Content-Length"])
    (output,) = json.loads(reply.body[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 8, "content_type": "np"}


@pytest.mark.parametrize("nested", [False, True])
def test_base64_of_json(nested: bool) -> None:
    texts = [base64.b64encode(t).decode() for t in (b"good", b"\xc3\xa9")]
    data: Any = [[t] for t in texts] if nested else texts
    found = decoded(Tensor("t", data, TEXT, (2, 1)), "base64", None)
    assert found.data == ([[b"good"], [b"\xc3\xa9"]] if nested else [b"good", b"\xc3\xa9"])


def test_base64_in_bytes(ask: Ask) -> None:
    blob = pack(np.array([base64.b64encode(b"good"), b""], object))
    item = {"name": "text", "shape": [2], "datatype": "BYTES",
            "parameters": {"content_type": "base64", "binary_data_size": len(blob)}}  # fmt: skip
    header = json.dumps({"inputs": [item], "outputs": [{"name": "scores"}]}).encode()
    reply = ask("POST", "/v2/models/review/infer", header + blob, inference_header_content_length=str(len(header)))
    assert json.loads(reply.body)["outputs"][0]["data"] == pytest.approx([0.1, 0.9, 0.9, 0.1])


@pytest.mark.parametrize("value", ["%", "YQ", 7, None])
def test_what_is_not_base64(value: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        decoded(Tensor("t", [value], TEXT, (1,)), "base64", None)
    assert caught.value.code == "request.form"


@pytest.mark.parametrize("kind", ["str", "base64"])
def test_text_is_declared_as_text(kind: str) -> None:
    with pytest.raises(SetsailError) as caught:
        decoded(Tensor("t", [1.0], BY_NAME["float32"], (1,)), kind, None)
    assert caught.value.code == "request.form"


@pytest.mark.parametrize("kind", ["datetime", "pd_json", "hg_json", "pil_image", "", 7])
def test_types_that_stand_for_objects_are_refused_by_name(kind: Any) -> None:
    tensor = Tensor("t", ["2026-01-01"], TEXT, (1,))
    for own, whole in ((kind, None), (None, kind), (kind, "pd")):
        with pytest.raises(SetsailError) as caught:
            decoded(tensor, own, whole)
        assert caught.value.code == "request.unsupported"
        assert repr(kind) in str(caught.value)
    with pytest.raises(SetsailError) as caught:
        of_output("y", kind)
    assert caught.value.code == "request.unsupported"


def test_a_tensors_own_type_beats_the_requests() -> None:
    tensor = Tensor("t", ["YQ=="], TEXT, (1,))
    assert decoded(tensor, "str", "base64") == tensor
    assert decoded(tensor, None, "base64").data == [b"a"]
    assert decoded(tensor, None, None) is tensor
