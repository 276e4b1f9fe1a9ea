"""From a trained model to an artifact, or to nothing at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge, RidgeClassifier

from setsail import convert, runtime
from setsail.artifact import Artifact, read, verdict
from setsail.convert.conversion import Conversion, Intent, Program
from setsail.errors import SetsailError
from setsail.messages import Rows
from setsail.packing import PackOptions, pack, pack_cached
from setsail.variants import Variant

X, Y = (part[:150] for part in load_diabetes(return_X_y=True))
Pack = Callable[..., Artifact]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the child's sandbox is Linux's")


def answers(artifact: Artifact, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    variant = artifact.variants[0]
    runner = runtime.load(variant, artifact.files(variant.id), artifact.signature, artifact.processing)
    try:
        return runner.run(rows)
    finally:
        runner.close()


def program_of(model: Any, variant_id: str | None = None) -> Program:
    """The program another model converts to: what a converter with a bug might return."""
    made = convert.convert(model, Intent(example=X)).programs[0]
    return replace(made, variant=renamed(made.variant, variant_id)) if variant_id else made


def renamed(variant: Variant, variant_id: str) -> Variant:
    return Variant(variant_id, variant.format, variant.precision, variant.entry, variant.settings, variant.max_batch)


def scaled(model: Ridge, factor: float) -> Ridge:
    """The same model with answers a little off."""
    other = Ridge().fit(X, Y)
    other.coef_, other.intercept_ = model.coef_ * factor, model.intercept_ * factor
    return other


# -- sources -----------------------------------------------------------------------------------------------------------


def test_a_live_pipeline(packed: Pack, mixed: tuple[Any, Any]) -> None:
    model, frame = mixed
    artifact = packed(model, frame)
    assert (artifact.name, artifact.version, artifact.framework) == ("pipeline", 1, "scikit-learn")
    assert [str(s) for s in artifact.signature.inputs] == ["age:float64[N]", "city:string[N]"]
    assert artifact.parity.passed
    rows = {"age": frame["age"].to_numpy(), "city": frame["city"].to_numpy(dtype=object)}
    np.testing.assert_allclose(answers(artifact, rows)["prediction"], model.predict(frame), rtol=1e-9)
    assert verdict.known(verdict.key(artifact.variants[0], artifact.digests("onnx")))


def test_what_is_compared_is_told_line_by_line(packed: Pack, ridge: Ridge) -> None:
    told: list[str] = []
    artifact = packed(ridge, X, progress=told.append)
    assert told[0] == "converting Ridge"
    assert told[1].startswith("comparing onnx with the source on ")
    assert told[-1] == f"writing {artifact.path}"
    assert {(c.what, c.batch) for c in artifact.parity.checks} >= {
        ("example", 1), ("example", 7), ("example", 0), ("synthetic", 0),
    }  # fmt: skip


def test_a_file_gives_the_model_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xgboost = pytest.importorskip("xgboost")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "..credit risk (v2).ubj"
    xgboost.train({"max_depth": 2}, xgboost.DMatrix(X, Y), 3).save_model(path)
    with pack(path, Intent(), PackOptions(version=3)) as artifact:
        assert (artifact.name, artifact.version) == ("credit-risk-v2", 3)
        assert artifact.path == Path("credit-risk-v2-3.setsail")


@pytest.mark.parametrize("name", ["", "a/b", "-a", ".a", "a b", "a" * 129, "ä"])
def test_a_given_name_is_taken_or_refused(name: str, packed: Pack, ridge: Ridge, tmp_path: Path) -> None:
    if name == "":
        assert packed(ridge, X, name=name).name == "ridge"
        return
    with pytest.raises(SetsailError) as caught:
        packed(ridge, X, name=name)
    assert caught.value.code == "model.name"
    assert not (tmp_path / "m.setsail").exists()


def test_an_existing_file_is_kept_without_force(packed: Pack, ridge: Ridge, tmp_path: Path) -> None:
    (tmp_path / "m.setsail").write_text("mine")
    with pytest.raises(SetsailError) as caught:
        packed(ridge, X)
    assert caught.value.code == "artifact.exists"
    assert (tmp_path / "m.setsail").read_text() == "mine"
    assert packed(ridge, X, force=True).name == "ridge"


# -- trust -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def joblib_file(ridge: Ridge, tmp_path: Path) -> Path:
    joblib.dump(ridge, tmp_path / "ridge.joblib")
    return tmp_path / "ridge.joblib"


@pytest.mark.parametrize("options", [{}, {"trust": ("torchscript",)}, {"ask": lambda source: False}])
def test_a_pickle_is_not_loaded_without_trust(options: dict[str, Any], joblib_file: Path, packed: Pack) -> None:
    with pytest.raises(SetsailError) as caught:
        packed(joblib_file, X, **options)
    assert caught.value.code == "source.trust"
    assert "--trust pickle" in str(caught.value)
    assert not joblib_file.with_name("m.setsail").exists()


@LINUX
def test_a_trusted_pickle_is_packed_and_the_same_twice(joblib_file: Path, packed: Pack) -> None:
    """The children draw their own hash seeds, so equal bytes mean that no set's order got into the file."""
    asked: list[str] = []
    first = packed(joblib_file, X, ask=lambda source: not asked.append(source.trust or ""), file="a.setsail")
    assert asked == ["pickle"]
    assert first.name == "ridge"
    second = packed(joblib_file, X, trust=("pickle",), file="b.setsail")
    assert (first.digest, first.size) == (second.digest, second.size)
    assert joblib_file.with_name("a.setsail").read_bytes() == joblib_file.with_name("b.setsail").read_bytes()


# -- parity ------------------------------------------------------------------------------------------------------------


def test_a_wrong_program_is_refused_and_nothing_is_written(
    packed: Pack, ridge: Ridge, converting: Any, tmp_path: Path
) -> None:
    wrong = program_of(Ridge().fit(X[::-1], Y))
    converting(lambda made: replace(made, programs=(wrong,)))
    with pytest.raises(SetsailError) as caught:
        packed(ridge, X)
    fault = caught.value
    assert fault.code == "parity.failed"
    assert (fault.field, fault.facts["report"]["passed"]) == ("prediction", False)
    assert "rows: a difference of " in fault.what
    assert "--tolerance T" in fault.todo
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []


def test_labels_that_are_other_ones_are_told_and_no_tolerance_is_offered(packed: Pack, converting: Any) -> None:
    def swapped(made: Conversion) -> Conversion:
        probes = (replace(p, outputs={**p.outputs, "label": 1 - p.outputs["label"]}) for p in made.probes)
        return replace(made, probes=tuple(probes))

    converting(swapped)
    with pytest.raises(SetsailError) as caught:
        packed(RidgeClassifier().fit(X, (np.median(Y) < Y).astype(int)), X)
    fault = caught.value
    assert (fault.code, fault.field) == ("parity.failed", "label")
    assert "rows: 'label' is another in " in fault.what
    assert fault.todo.startswith("nothing was written; labels and whole numbers have no tolerance")


def test_the_second_program_is_kept_where_the_first_disagrees(packed: Pack, ridge: Ridge, converting: Any) -> None:
    wrong = program_of(Ridge().fit(X[::-1], Y), "onnx-wrong")
    converting(lambda made: replace(made, programs=(wrong, *made.programs)))
    artifact = packed(ridge, X)
    assert [v.id for v in artifact.variants] == [artifact.parity.variant] == ["onnx"]
    assert len(artifact.parity.refused) == 1
    assert artifact.parity.refused[0].startswith("onnx-wrong: differs by up to ")


def test_a_program_that_cannot_run_is_passed_over_too(packed: Pack, ridge: Ridge, converting: Any) -> None:
    def broken(made: Conversion) -> Conversion:
        first = made.programs[0]
        variant = renamed(first.variant, "onnx-broken")
        return replace(made, programs=(Program(variant, {variant.entry: b"no program"}), *made.programs))

    converting(broken)
    refused = packed(ridge, X).parity.refused
    assert refused[0].startswith("onnx-broken: [program.parse] ")


def test_where_no_program_runs_nothing_is_written(packed: Pack, ridge: Ridge, converting: Any, tmp_path: Path) -> None:
    narrow = convert.convert(Ridge().fit(X[:, :2], Y), Intent(example=X[:, :2])).programs[0]
    converting(lambda made: replace(made, programs=(narrow,)))
    with pytest.raises(SetsailError) as caught:
        packed(ridge, X)
    assert caught.value.code == "program.trial"
    assert not (tmp_path / "m.setsail").exists()


def test_a_tolerance_is_asked_for_and_written_down(packed: Pack, ridge: Ridge, converting: Any) -> None:
    near = program_of(scaled(ridge, 1.004))
    converting(lambda made: replace(made, programs=(near,)))
    with pytest.raises(SetsailError) as caught:
        packed(ridge, X)
    assert caught.value.code == "parity.failed"
    report = packed(ridge, X, tolerance=5.0).parity
    assert (report.tolerance, report.passed) == (5.0, True)


# -- equal bytes -------------------------------------------------------------------------------------------------------


def lightgbm_model() -> Any:
    lightgbm = pytest.importorskip("lightgbm")
    return lightgbm.LGBMRegressor(n_estimators=5, num_leaves=7, verbose=-1, n_jobs=1).fit(X, Y)


def xgboost_model() -> Any:
    xgboost = pytest.importorskip("xgboost")
    return xgboost.XGBRegressor(n_estimators=5, max_depth=3, n_jobs=1).fit(X, Y)


def torch_model() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(10, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ridge().fit(X, Y),
        xgboost_model,
        lightgbm_model,
        pytest.param(torch_model, marks=[pytest.mark.slow, pytest.mark.torch]),
    ],
    ids=["sklearn", "xgboost", "lightgbm", "torch"],
)
def test_the_same_model_twice_is_the_same_file(make: Callable[[], Any], packed: Pack) -> None:
    example = X.astype(np.float32)
    first, second = (packed(make(), example, file=f"{i}.setsail") for i in range(2))
    assert first.path is not None
    assert second.path is not None
    assert first.path.read_bytes() == second.path.read_bytes()


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_samples(packed: Pack, ridge: Ridge) -> None:
    artifact = packed(ridge, X)
    assert artifact.samples("example") is None
    drawn = artifact.samples("synthetic")
    assert drawn is not None
    rows = drawn[0]["input"]
    assert not (rows[:, None, :] == X[None, :, :]).all(axis=2).any(), "a synthetic row is somebody's row"
    np.testing.assert_array_equal(drawn[1]["prediction"], ridge.predict(rows))

    both = packed(ridge, X, samples="example", file="b.setsail")
    kept = both.samples("example")
    assert kept is not None
    np.testing.assert_array_equal(kept[0]["input"], X[:64])

    none = packed(ridge, X, samples="none", file="c.setsail")
    assert none.samples("synthetic") is none.samples("example") is None


def test_a_reference_is_sketched(packed: Pack, ridge: Ridge) -> None:
    artifact = packed(ridge, X, reference=lambda signature: Rows(X.tolist()))
    sketch = artifact.member("reference.json")
    assert sketch is not None
    assert b'"rows":150' in bytes(sketch)
    with pytest.raises(SetsailError) as caught:
        packed(ridge, X, reference=lambda signature: Rows([[1, 2]]), file="b.setsail")
    assert caught.value.code == "input.shape"


# -- the cache ---------------------------------------------------------------------------------------------------------


class MissedError(Exception):
    """The cache did not have it: packing began."""


def test_a_source_is_packed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    path = tmp_path / "model.txt"
    parameters = {"verbose": -1, "num_leaves": 4, "num_threads": 1}
    lightgbm.train(parameters, lightgbm.Dataset(X, Y), 2).save_model(path)
    packed, there = pack_cached(path, PackOptions())
    assert not there
    with read(packed) as artifact:
        assert artifact.name == "model"

    def missed(*_: Any) -> Artifact:
        raise MissedError

    monkeypatch.setattr(sys.modules[pack_cached.__module__], "pack", missed)
    assert pack_cached(path, PackOptions()) == (packed, True)
    for options in (PackOptions(name="other"), PackOptions(version=2), PackOptions(tolerance=2.0)):
        with pytest.raises(MissedError):
            pack_cached(path, options)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(MissedError):
        pack_cached(path, PackOptions())


def test_external_weights_are_part_of_the_cached_source(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    weights = onnx.numpy_helper.from_array(np.ones((2, 1), np.float32), "w")
    value = [onnx.helper.make_tensor_value_info(n, 1, ["N", k]) for n, k in (("x", 2), ("y", 1))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weights]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="other-name.bin", size_threshold=0)
    first, _ = pack_cached(path, PackOptions())
    changed = bytearray((tmp_path / "other-name.bin").read_bytes())
    changed[:4] = np.float32(5).tobytes()
    (tmp_path / "other-name.bin").write_bytes(changed)
    second, there = pack_cached(path, PackOptions())
    assert (second != first, there) == (True, False)
