"""Protobuf's text format without a schema, beside protobuf's own reader."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from setsail.errors import SetsailError
from setsail.protocols.grpc.pool import message
from setsail.server.foreign.text_format import Message, Word, parsed

TEXT = """
# a comment
name: "cre" 'dit'   # texts side by side are one
platform: "onnxruntime\\x5fonnx\\n\\303\\244"
max_batch_size: 0x10
input [ { name: "a" data_type: TYPE_FP32 dims: [ 2, -1 ] }, { name: "b", data_type: TYPE_INT64; dims: 3 dims: 4 } ]
output: < name: "c" data_type: TYPE_STRING dims: [] >
dynamic_batching { max_queue_delay_microseconds: 010 }
"""


def test_every_form_of_a_field() -> None:
    found = parsed(TEXT, "config.pbtxt")
    assert found["name"] == ["credit"]
    assert found["platform"] == ["onnxruntime_onnx\nä"]
    assert found["max_batch_size"] == [16]
    assert [one["name"] for one in found["input"]] == [["a"], ["b"]]
    assert [one["dims"] for one in found["input"]] == [[2, -1], [3, 4]]
    assert found["input"][0]["data_type"] == [Word("TYPE_FP32")]
    assert found["output"][0]["dims"] == []
    assert found["dynamic_batching"] == [{"max_queue_delay_microseconds": [8]}]
    assert parsed("a: 1.5 b: .5e1f c: -2 d: - 3 e: -inf f: true", "x") == {
        "a": [1.5], "b": [5.0], "c": [-2], "d": [-3], "e": ["-inf"], "f": ["true"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["name", "name 1", "name: ", "name: [1", "input { name: 'a'", "input [ 1 ]", "a: 'open", "a: 1 }", "a: [1 2]",
     "1: 2", "a: \x01", "-a: 1", "[ext.name]: 1", "a {" * 40 + "}" * 40, "a: 1 " * 300_000],
)  # fmt: skip
def test_what_is_no_text_format_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(SetsailError) as caught:
        parsed("# first line\n" + text, "config.pbtxt")
    assert caught.value.code == "repository.config"
    assert "config.pbtxt" in caught.value.what


def as_protobuf(config: Any) -> Message:
    """A message of protobuf's as `parsed` gives it."""
    found: dict[str, list[Any]] = {}
    for field, value in config.ListFields():
        values = list(value) if field.is_repeated else [value]
        if field.message_type is not None:
            values = [as_protobuf(one) for one in values]
        elif field.enum_type is not None:
            values = [field.enum_type.values_by_number[one].name for one in values]
        found[field.name] = values
    return found


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
SIZES = st.integers(-(2**63), 2**63 - 1).filter(bool)


@settings(max_examples=60, deadline=None)
@given(NAMES, st.integers(1, 2**31 - 1), st.lists(st.tuples(NAMES, st.integers(1, 14), st.lists(SIZES))), st.booleans())
def test_what_protobuf_writes_is_read_as_it_was(name: str, batch: int, inputs: Any, short: bool) -> None:
    config = message("inference.ModelConfig")(name=name, max_batch_size=batch)
    for called, dtype, dims in inputs:
        config.input.add(name=called, data_type=dtype, dims=dims)
    text = text_format.MessageToString(config, as_one_line=short, use_short_repeated_primitives=short)
    assert parsed(text, "x") == as_protobuf(config)
