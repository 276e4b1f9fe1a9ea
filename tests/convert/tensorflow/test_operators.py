"""ONNX operators rebuilt in TensorFlow, beside onnxruntime: one node at a time, then graphs whose sizes are free.

They run where TensorFlow is (`operator_house.py`), all as signatures of one SavedModel, which is loaded again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from client_envs import ask_client
from tensorflow_env import tensorflow_python

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).with_name("operator_house.py")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("operators")
    # alone it takes a minute
    return ask_client(tensorflow_python(), HOUSE.read_text(), str(folder), seconds=1200,
                      env={"OMP_NUM_THREADS": "1"}).json()  # fmt: skip


def test_operators_do_as_onnxruntime_and_what_is_not_rebuilt_is_refused_by_name(told: Any) -> None:
    assert {case: fault for case, fault in told["told"].items() if fault} == {}
    assert len(told["told"]) > 200


def test_every_operator_is_tried(told: Any) -> None:
    assert told["untried"] == []
