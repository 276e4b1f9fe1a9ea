"""Which converter a model goes to, and what is said where there is none."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from setsail import convert
from setsail.convert import formats, registry
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError


@pytest.mark.parametrize(
    "target",
    sorted(
        {t for row in formats.FORMATS.values() for t in (row.loader, row.converter) if t}
        | {target for target, _ in registry.LIVE.values()}
    ),
)
def test_every_string_of_the_tables_names_a_function(target: str) -> None:
    framework = next((f for f in ("tensorflow", "torch", "xgboost", "lightgbm", "sklearn") if f in target), "onnx")
    pytest.importorskip(framework)
    assert callable(registry.entry(target, framework))


def test_a_live_model_of_no_known_framework(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        convert.convert({"a": 1}, Intent())
    assert caught.value.code == "convert.unsupported"
    assert "builtins.dict" in str(caught.value)


def test_a_live_model_of_a_framework_that_goes_another_way() -> None:
    keras_2_like = type("Sequential", (), {"__module__": "tf_keras.src.models"})
    with pytest.raises(SetsailError) as caught:
        convert.convert(keras_2_like(), Intent())
    assert caught.value.code == "convert.unsupported"
    assert "model.export" in str(caught.value)


def test_classes_are_judged_by_their_own_package_before_their_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    base = type("BaseEstimator", (), {"__module__": "sklearn.base"})
    booster = type("XGBClassifier", (base,), {"__module__": "xgboost.sklearn"})
    own = type("Mine", (base,), {"__module__": "my_package"})
    asked: list[str] = []

    def entry(target: str, framework: str) -> Any:
        asked.append(framework)
        return lambda model, intent: None

    monkeypatch.setattr(registry, "entry", entry)
    for cls in (booster, own):
        with pytest.raises(TypeError):
            convert.convert(cls(), Intent())
    assert asked == ["xgboost", "sklearn"]


@pytest.mark.parametrize(
    ("package", "framework", "line"),
    [("xgboost", "xgboost", 'pip install "setsail[xgboost]"'), ("onnx", "xgboost", 'pip install "setsail[xgboost]"'),
     ("joblib", "sklearn", 'pip install "setsail[sklearn]"'), ("skops", "sklearn", 'pip install "setsail[skops]"'),
     ("onnx", "onnx", 'pip install "setsail[onnx]"')],
)  # fmt: skip
def test_a_missing_framework_names_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, package: str, framework: str, line: str
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {package!r}", name=f"{package}.core")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SetsailError) as caught:
        registry.entry("setsail.convert.x:convert", framework)
    assert caught.value.code == "dependency.missing"
    assert caught.value.kind.exit == 3
    assert line in str(caught.value)


def test_an_artifact_is_not_converted_again(tmp_path: Path) -> None:
    source = convert.Source(tmp_path / "m.setsail", "setsail", None)
    with pytest.raises(SetsailError) as caught:
        convert.convert(source, Intent())
    assert caught.value.code == "source.unknown"
    assert "setsail serve" in str(caught.value)


def test_importing_the_front_imports_no_framework() -> None:
    import subprocess
    import sys

    code = "import sys, setsail.convert; print(sorted({m.partition('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["onnx", "onnxruntime", "sklearn", "xgboost", "lightgbm", "torch", "pandas", "joblib", "skops", "pyarrow"]
    told = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
