"""Requests that TensorFlow Serving recorded: replayed before a version answers anybody, and what a wrong one means."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scaled import artifact

from setsail.catalog import Configure, Load, ModelConfig, Status
from setsail.errors import SetsailError
from setsail.messages import ModelRef
from setsail.protocols.grpc.pool import message
from setsail.protocols.grpc.tf_serving import warmup
from setsail.protocols.tf_serving.records import masked
from setsail.serving.house import House
from setsail.serving.rehearsal import RECORDS
from setsail.serving.repository import Repository

Record = Callable[..., Path]


def predicted(width: int = 2, signature: str = "") -> Any:
    """A PredictionLog of a Predict with one row of ones."""
    log = message("tensorflow.serving.PredictionLog")()
    spec = log.predict_log.request.model_spec
    spec.name, spec.signature_name = "whatever it was called", signature
    tensor = log.predict_log.request.inputs["x"]
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=1)
    tensor.tensor_shape.dim.add(size=width)
    tensor.tensor_content = np.ones(width, np.float32).tobytes()
    return log


def regressed() -> Any:
    """A PredictionLog of a Regress with one example."""
    log = message("tensorflow.serving.PredictionLog")()
    asked = log.regress_log.request
    asked.model_spec.name, asked.model_spec.signature_name = "m", "total"
    example = asked.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.extend([1.0, 2.0])
    return log


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """An artifact in a version's folder, with recorded requests beside it."""

    def run(*logs: Any, version: int = 1, damage: bool = False) -> Path:
        folder = tmp_path / "base" / str(version)
        artifact(folder / "m.setsail", 2.0).close()
        data = b""
        for log in logs:
            body = log.SerializeToString()
            length = struct.pack("<Q", len(body))
            data += length + struct.pack("<I", masked(length)) + body + struct.pack("<I", masked(body) ^ damage)
        path = folder / RECORDS
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return folder.parent

    return run


def state(house: House, version: int = 1) -> tuple[str, str]:
    (found,) = house.answer(Status(ModelRef("m", version)))
    return found.state, found.reason


def configured(house: House, base: Path) -> None:
    house.management.store.allow(base)
    house.answer(Configure((ModelConfig("m", str(base)),)))


def test_recorded_requests_are_answered_first(record: Record, caplog: pytest.LogCaptureFixture) -> None:
    base = record(predicted(), predicted(signature="total"), regressed())
    with House() as house, caplog.at_level(logging.INFO, "setsail.serving"):
        configured(house, base)
        assert state(house) == ("ready", "")
        assert f"m: 3 requests of {RECORDS} answered" in caplog.messages
        caplog.clear()
        house.answer(Load("m"))  # again, and so are the requests
        assert f"m: 3 requests of {RECORDS} answered" in caplog.messages


@pytest.mark.parametrize(
    ("log", "why"),
    [(predicted(width=3), "request 2 of"), (predicted(signature="other"), "request 2 of")],
    ids=["shape", "signature"],
)
def test_a_model_that_does_not_take_them_is_not_served(record: Record, log: Any, why: str) -> None:
    with House() as house:
        configured(house, record(predicted(), log))
        found, reason = state(house)
        assert (found, why in reason) == ("failed", True)


def test_the_version_before_goes_on(record: Record) -> None:
    with House() as house:
        Repository(house, record(predicted()).parent).open()
        record(predicted(width=3), version=2)
        repository = Repository(house, record(predicted()).parent)
        repository.open()
        assert [house.answer(Status(ModelRef("base", v)))[0].state for v in (1, 2)] == ["ready", "failed"]


def test_what_is_no_such_file(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    other = message("tensorflow.serving.PredictionLog")()
    other.session_run_log.SetInParent()
    empty = message("tensorflow.serving.PredictionLog")()
    for logs, damage, why in (((predicted(),), True, "wrong checksum"), ((other,), False, "session_run_log"),
                              ((empty,), False, "replayed by nobody")):  # fmt: skip
        path = record(*logs, damage=damage) / "1" / RECORDS
        with pytest.raises(SetsailError, match=why) as caught:
            warmup.read(path)
        assert caught.value.code == "repository.config"
    monkeypatch.setattr(warmup, "MOST", 1)
    with pytest.raises(SetsailError, match="too many records"):
        warmup.read(record(predicted(), predicted()) / "1" / RECORDS)
    monkeypatch.setattr(warmup, "_LARGEST", 10)
    with pytest.raises(SetsailError, match="too large"):
        warmup.read(record(predicted()) / "1" / RECORDS)
