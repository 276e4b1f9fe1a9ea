"""Which model a message means before it is read, and how a call ends."""

from __future__ import annotations

from typing import Any

import pytest

from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols.grpc.pool import message
from setsail.protocols.grpc.tf_serving.spec import named, status


@pytest.mark.parametrize(
    ("spec", "ref"),
    [
        ({"name": "m"}, ModelRef("m")),
        ({"name": "m", "version": {"value": 3}}, ModelRef("m", 3)),
        ({"name": "m", "version_label": "stable"}, ModelRef("m", label="stable")),
        ({"name": "m", "version": {"value": -1}}, None),
        ({}, None),
        ({"name": "m" * 200}, None),
    ],
)
def test_the_model_of_a_message(spec: Any, ref: ModelRef | None) -> None:
    data = message("tensorflow.serving.PredictRequest")(model_spec=spec, output_filter=["y"]).SerializeToString()
    assert named(data) == ref


@pytest.mark.parametrize("data", [b"", b"\x0a", b"\x12\x01\x00", b"\x0a\x03\xff\xff\xff"])
def test_what_shows_no_model(data: bytes) -> None:
    assert named(data) is None


def test_an_unknown_model_ends_with_what_was_looked_for() -> None:
    assert status(SetsailError("model.unknown", "no model", model="m"))[1].endswith("for request: Latest(m)")
    number, text = status(SetsailError("model.version", "no version", value=7, model="m"))
    assert (number, text.rpartition(": ")[2]) == (5, "Specific(m, 7)")
    assert status(SetsailError("model.busy", "full"))[0] == 8
