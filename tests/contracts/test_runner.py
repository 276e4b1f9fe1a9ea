"""What every runner does, whatever runs the model: `runtime/runner.py` in full.

A runner joins by a row in CASES: how to make a variant of its format, and rows with the source's own answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import catboost as cb
import lightgbm as lgb
import lite_models
import numpy as np
import pytest
import xgboost as xgb
from scaled import ROWS, answers, program
from scaled import signature as scaled_signature
from sklearn.datasets import load_iris

from setsail import isolation, runtime
from setsail.convert.catboost import convert as convert_catboost
from setsail.convert.conversion import Conversion, Intent
from setsail.convert.lightgbm import convert as convert_lightgbm
from setsail.convert.xgboost import convert as convert_xgboost
from setsail.errors import SetsailError
from setsail.parity import compare
from setsail.runtime import Runner, trial
from setsail.signature import Signature, TensorSpec
from setsail.tensors import BY_NAME, Array, dtype_of
from setsail.variants import Variant

X, Y = load_iris(return_X_y=True)


@dataclass(frozen=True)
class Case:
    """A variant with its files, and rows with what the source answers to them."""

    variant: Variant
    files: Mapping[str, bytes]
    signature: Signature
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    def load(self) -> Runner:
        return runtime.load(self.variant, self.files, self.signature)


def onnx() -> Case:
    variant = Variant("onnx", "onnx", "float32", "model.onnx")
    return Case(variant, {"model.onnx": program(2.0)}, scaled_signature(), {"x": ROWS}, answers(ROWS, 2.0))


def xgboost() -> Case:
    return native(
        convert_xgboost(xgb.XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1).fit(X, Y), Intent(example=X))
    )


def lightgbm() -> Case:
    model = lgb.LGBMClassifier(n_estimators=3, num_leaves=4, n_jobs=1, verbosity=-1).fit(X, Y)
    return native(convert_lightgbm(model, Intent(example=X)))


def catboost() -> Case:
    model = cb.CatBoostClassifier(iterations=3, depth=2, verbose=0, allow_writing_files=False, thread_count=1)
    return native(convert_catboost(model.fit(X, Y), Intent(example=X)))


def litert() -> Case:
    pytest.importorskip("ai_edge_litert", reason="needs LiteRT, which has no wheel for macOS on Intel")
    variant = Variant("litert", "litert-tflite", "float32", "model.tflite", {"inputs": ["x"], "outputs": ["scores"]})
    spec = TensorSpec("x", BY_NAME["int8"], ("N", 6, 6, 2)), TensorSpec("scores", BY_NAME["int8"], ("N", 3))
    rows = np.random.default_rng(0).integers(-128, 128, (9, 6, 6, 2), dtype=np.int8)
    content = lite_models.written(lite_models.convolution())
    made = Signature(spec[:1], spec[1:], ("scores",))
    return Case(
        variant, {"model.tflite": content}, made, {"x": rows}, {"scores": lite_models.interpreted(content, rows)}
    )


def native(conversion: Conversion) -> Case:
    """The booster's own form, which conversions offer last."""
    last, probe = conversion.programs[-1], conversion.probes[0]
    return Case(last.variant, last.files, conversion.signature, probe.inputs, probe.outputs)


CASES: Mapping[str, Callable[[], Case]] = {
    "onnx": onnx,
    "xgboost-ubj": xgboost,
    "lightgbm-text": lightgbm,
    "catboost-cbm": catboost,
    "litert-tflite": litert,
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]()


def test_the_suite_covers_every_format() -> None:
    assert set(CASES) == set(runtime.RUNTIMES)
    for name, make in CASES.items():
        assert make().variant.format == name


def test_outputs_are_the_signatures_in_order_with_its_dtypes_and_shapes(case: Case) -> None:
    runner = case.load()
    answer = runner.run(case.inputs)
    assert runner.signature == case.signature
    assert list(answer) == [s.name for s in case.signature.outputs]
    rows = len(next(iter(case.inputs.values())))
    for spec in case.signature.outputs:
        assert isinstance(answer[spec.name], np.ndarray)
        assert dtype_of(answer[spec.name]) == spec.dtype
        assert answer[spec.name].shape == tuple(rows if d == "N" else d for d in spec.shape)


def test_answers_are_the_sources(case: Case) -> None:
    assert compare(case.signature, case.outputs, case.load().run(case.inputs), what="example").passed


@pytest.mark.parametrize("size", [1, 2])
def test_any_batch_size_is_taken(case: Case, size: int) -> None:
    part = {n: a[:size] for n, a in case.inputs.items()}
    expected = {n: a[:size] for n, a in case.outputs.items()}
    assert compare(case.signature, expected, case.load().run(part), what="example").passed


def test_inputs_are_never_changed_and_may_be_views(case: Case) -> None:
    frozen = {n: a.copy() for n, a in case.inputs.items()}
    strided = {n: np.repeat(a, 2, axis=0)[::2] for n, a in case.inputs.items()}
    fortran = {n: np.asfortranarray(a) for n, a in case.inputs.items()}
    runner = case.load()
    for array in frozen.values():
        array.setflags(write=False)
    for inputs in (frozen, strided, fortran):
        assert compare(case.signature, case.outputs, runner.run(inputs), what="example").passed
        for name, array in case.inputs.items():
            np.testing.assert_array_equal(inputs[name], array)


def test_one_answer_does_not_overwrite_another(case: Case) -> None:
    runner = case.load()
    first = runner.run(case.inputs)
    kept = {n: a.copy() for n, a in first.items()}
    runner.run({n: a[::-1].copy() for n, a in case.inputs.items()})
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)


def test_a_runner_that_rested_answers_as_before(case: Case) -> None:
    runner = case.load()
    runner.run(case.inputs)
    runner.rest({n: a[:1] for n, a in case.inputs.items()})
    assert compare(case.signature, case.outputs, runner.run(case.inputs), what="example").passed


def test_two_threads_may_run_at_once(case: Case) -> None:
    runner, wrong = case.load(), list[str]()
    parts = [slice(0, 1), slice(1, 3)]
    start = threading.Barrier(len(parts))

    def work(part: slice) -> None:
        mine = {n: a[part] for n, a in case.inputs.items()}
        expected = {n: a[part] for n, a in case.outputs.items()}
        start.wait()
        for _ in range(100):
            if not compare(case.signature, expected, runner.run(mine), what="example").passed:
                wrong.append(str(part))

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_runner_is_not_ready(case: Case) -> None:
    runner = case.load()
    runner.close()
    runner.close()
    with pytest.raises(SetsailError) as caught:
        runner.run(case.inputs)
    assert caught.value.code == "model.not_ready"


def test_files_may_be_views_and_are_not_kept(case: Case) -> None:
    buffers = {n: bytearray(content) for n, content in case.files.items()}
    views = {n: memoryview(b).toreadonly() for n, b in buffers.items()}
    runner = runtime.load(case.variant, views, case.signature)
    for name, buffer in buffers.items():
        views[name].release()
        buffer[:] = bytes(len(buffer))
        buffer.clear()  # fails while anybody holds a view
    assert compare(case.signature, case.outputs, runner.run(case.inputs), what="example").passed


def test_a_damaged_file_harms_nobody_in_a_trial(case: Case, tmp_path: Path) -> None:
    """XGBoost 3.2 ends the process on half a file: that is why an untried program is loaded in a child first."""
    slices = {}
    for number, (name, content) in enumerate(case.files.items()):
        (tmp_path / f"half{number}").write_bytes(content[: len(content) // 2])
        slices[name] = (str(tmp_path / f"half{number}"), 0, len(content) // 2)
    arguments = trial.arguments(case.variant, slices, case.signature, folder=tmp_path)
    with pytest.raises(SetsailError) as caught:
        isolation.call("setsail.runtime.trial:run", arguments, tmp_path, require_network_cut=False)
    assert caught.value.code in ("model.failed", "child.failed")
