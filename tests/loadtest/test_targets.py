"""Servers that are measured: found by their URL, or started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_server import Answering, reply, toy

from setsail.errors import SetsailError
from setsail.loadtest.targets import Place, Started, metadata, place

ABOUT = {
    "name": "m",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, -1]}],
    "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
}


def test_urls() -> None:
    assert place("http://h:8080") == Place("http://h:8080", "h", 8080, False)
    assert place("http://h:8080/v2/models/a%20b/infer") == Place("http://h:8080", "h", 8080, False, "a b")
    assert place("https://h/", "m") == Place("https://h", "h", 443, True, "m")
    assert place("http://[::1]:80").host == "::1"


@pytest.mark.parametrize("text", ["ftp://h", "http://", "http://h:x", "http://h:99999", "http://h/predict/m"])
def test_no_urls(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        place(text)
    assert caught.value.code == "command.usage"


def answering(answers: dict[str, object]) -> Answering:
    def answer(n: int, head: str, body: bytes) -> tuple[bytes, float]:
        path = head.split(" ")[1]
        known = answers.get(path)
        return (reply(b"no", "404 Not Found") if known is None else reply(json.dumps(known).encode())), 0.0

    return answer


@pytest.mark.parametrize(
    "more",
    [
        {"/v2/models": {"models": ["m"]}},
        {"/v2/repository/index": [{"name": "m", "state": "READY"}, {"name": "n", "state": "UNAVAILABLE"}]},
    ],
    ids=["setsail", "triton"],
)
def test_metadata_of_the_only_model(more: dict[str, object]) -> None:
    with toy(answering({"/v2/models/m": ABOUT, **more})) as port:
        found, signature = metadata(place(f"http://127.0.0.1:{port}"), {})
    assert found.model == "m"
    assert str(signature) == "(x:float32[N,3,d2]) -> (y:int64[N])"


def test_another_signature_is_told_by_tensorflow_servings_metadata() -> None:
    def tensor(dtype: str, *sizes: int) -> dict[str, object]:
        return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in sizes]}}

    signatures = {"classify": {"inputs": {"z": tensor("DT_FLOAT", -1, 2)}, "outputs": {"s": tensor("DT_STRING", -1)}}}
    about = {"metadata": {"signature_def": {"signature_def": signatures}}}
    answers: dict[str, object] = {"/v2/models/m": ABOUT, "/v1/models/m/metadata": about}
    with toy(answering(answers)) as port:
        where = place(f"http://127.0.0.1:{port}", "m")
        _, signature = metadata(where, {}, "classify")
        with pytest.raises(SetsailError) as caught:
            metadata(where, {}, "regress")
    assert str(signature) == "(z:float32[N,2]) -> (s:string[N])"
    assert (caught.value.code, caught.value.expected) == ("model.signature", "classify")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({}, "404 no"),
        ({"/v2/models": {"models": ["a", "b"]}}, "2 models"),
        ({"/v2/models": {"models": ["m"]}, "/v2/models/m": {"inputs": 3}}, "metadata"),
        (
            {
                "/v2/models": {"models": ["m"]},
                "/v2/models/m": {**ABOUT, "inputs": [{"name": "x", "datatype": "BF16", "shape": []}]},
            },
            "BF16",
        ),
    ],
)
def test_no_target(answers: dict[str, object], says: str) -> None:
    with toy(answering(answers)) as port, pytest.raises(SetsailError) as caught:
        metadata(place(f"http://127.0.0.1:{port}"), {})
    assert caught.value.code == "bench.target"
    assert says in str(caught.value)


def test_nobody_there() -> None:
    with toy(answering({})) as port:
        pass
    with pytest.raises(SetsailError) as caught:
        metadata(place(f"http://127.0.0.1:{port}"), {})
    assert caught.value.code == "bench.target"


def test_the_fault_of_a_server_that_does_not_start_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        Started(tmp_path / "no.setsail", 1)
    assert caught.value.code == "source.missing"
    assert caught.value.what.startswith(f"there is no model at {tmp_path}/no.setsail; got '/")
    assert not caught.value.what.endswith("Check the path")
    assert caught.value.todo == "Check the path."
