"""What every implementation of steps owes: the cases of tests/steps/*.json, told by the libraries that steps follow.

Held here against Python's; a target that runs models elsewhere reads the same files. docs/steps.md says how a case is
written.
"""

from __future__ import annotations

import json
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from setsail.errors import SetsailError
from setsail.runtime.steps import KINDS, column, prepare
from setsail.steps import SCHEMAS, Step
from setsail.tensors import NULL

pytest.importorskip("PIL", reason="needs Pillow")
pytest.importorskip("tokenizers", reason="needs tokenizers")

FOLDER = Path(__file__).parents[1] / "steps"
WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
CASES = [
    pytest.param(held["kind"], case, id=f"{held['kind']}: {case['what']}")
    for held in (json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json")))
    for case in held["cases"]
]
ANSWERED = [p for p in CASES if "outputs" in p.values[1]]
ALONE = [p for p in ANSWERED if p.values[0] != "text.tokenize"]  # its rows are as long as the longest


def array(told: dict[str, Any]) -> np.ndarray:
    dtype, data = told["dtype"], told["data"]
    if dtype == "images":
        return column([array(one) for one in data])
    if dtype == "bytes":
        return column([b64decode(one) for one in data])
    if dtype == "string":
        return column([NULL if one is None else one for one in data]).reshape(told["shape"])
    return np.array([WORDS.get(v, v) if isinstance(v, str) else v for v in data], dtype=dtype).reshape(told["shape"])


def prepared(kind: str, case: dict[str, Any]) -> Any:
    inputs = {f"in{i}": array(told) for i, told in enumerate(case["inputs"])}
    outputs = tuple(f"out{i}" for i in range(len(case.get("outputs", case["inputs"]))))
    files = {name: text.encode() for name, text in case.get("files", {}).items()}
    return inputs, outputs, prepare([Step(kind, tuple(inputs), outputs, case["options"])], files)


def assert_same(found: np.ndarray, told: dict[str, Any], tolerance: dict[str, float]) -> None:
    if told["dtype"] == "images":
        assert found.shape == (len(told["data"]),)
        for one, expected in zip(found, told["data"], strict=True):
            assert_same(one, expected, tolerance)
        return
    expected = array(told)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.dtype == object or not any(tolerance.values()):
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(
            found.astype(np.float64), expected.astype(np.float64), tolerance["relative"], tolerance["absolute"]
        )


def test_every_kind_has_a_function_and_cases() -> None:
    assert KINDS.keys() == SCHEMAS.keys() == {p.values[0] for p in CASES}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_option_is_in_some_case(kind: str) -> None:
    used = {name for p in CASES if p.values[0] == kind for name in p.values[1]["options"]}
    assert used == {*SCHEMAS[kind].required, *SCHEMAS[kind].optional}


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_case(kind: str, case: dict[str, Any]) -> None:
    inputs, outputs, apply = prepared(kind, case)
    if "fault" in case:
        with pytest.raises(SetsailError) as caught:
            apply(inputs)
        fault = caught.value
        assert {"code": fault.code, "row": fault.facts["row"]} == case["fault"]
        assert (fault.field, fault.facts["step"]) == ("in0", kind)
        assert f"step {kind}: input 'in0', row {case['fault']['row']}, " in fault.message
        return
    done = apply(inputs)
    for name, told in zip(outputs, case["outputs"], strict=True):
        assert_same(done[name], told, case["tolerance"])


@pytest.mark.parametrize(("kind", "case"), ANSWERED)
def test_what_was_given_is_left_as_it_was_and_threads_do_not_meet(kind: str, case: dict[str, Any]) -> None:
    inputs, outputs, apply = prepared(kind, case)
    for given in inputs.values():
        for held in [given, *(one for one in given.ravel() if isinstance(one, np.ndarray))]:
            held.setflags(write=False)
    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(apply, [inputs] * 8):
            for name, told in zip(outputs, case["outputs"], strict=True):
                assert_same(done[name], told, case["tolerance"])


@pytest.mark.parametrize(("kind", "case"), ALONE)
def test_a_row_alone_gives_the_same(kind: str, case: dict[str, Any]) -> None:
    inputs, outputs, apply = prepared(kind, case)
    together = apply(inputs)
    for row in range(len(inputs["in0"])):
        alone = apply({name: given[row : row + 1] for name, given in inputs.items()})
        for name in outputs:
            np.testing.assert_equal(alone[name][0], together[name][row])
