"""`setsail export --to savedmodel`: models packed here, exported where TensorFlow is, and asked there by TensorFlow
alone (`savedmodel_house.py`); their answers are held against those of the models themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_envs import ask_client
from several_signatures import ANSWERS, packed
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tensorflow_env import tensorflow_python

from setsail import artifact
from setsail.convert.conversion import Intent
from setsail.packing import PackOptions, pack, verify

pytestmark = pytest.mark.slow
HOUSE = Path(__file__).with_name("savedmodel_house.py")
X, Y = load_iris(return_X_y=True)
KINDS = np.array(["setosa", "versicolor", "virginica"])[Y]
Made = tuple[Any, Any, dict[str, np.ndarray], dict[str, np.ndarray]]  # model, example, rows, its own answers
AGAIN = ("logistic", "picture")  # what is packed once more, out of the SavedModel


def logistic() -> Made:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, KINDS)
    return model, X, {"input": X}, {"label": model.predict(X), "probabilities": model.predict_proba(X)}


def forest() -> Made:
    model = RandomForestClassifier(12, random_state=0, n_jobs=1).fit(X, Y)
    return model, X, {"input": X}, {"label": model.predict(X), "probabilities": model.predict_proba(X)}


def boosting() -> Made:
    rows, target = load_diabetes(return_X_y=True)
    model = GradientBoostingRegressor(n_estimators=15).fit(rows, target)
    return model, rows, {"input": rows}, {"prediction": model.predict(rows)}


def table() -> Made:
    """Columns of text and numbers, of names that TensorFlow does not take."""
    pandas = pytest.importorskip("pandas")
    cities = np.array(["Rome", "Århus", "Bern"], dtype=object)[np.arange(len(X)) % 3]
    frame = pandas.DataFrame({"sepal length (cm)": X[:, 0], "città": cities})
    prepare = make_column_transformer(
        (StandardScaler(), ["sepal length (cm)"]), (OneHotEncoder(handle_unknown="ignore"), ["città"])
    )
    model = make_pipeline(prepare, LogisticRegression()).fit(frame, KINDS)
    rows = {"sepal length (cm)": X[:, 0], "città": cities.astype(str)}
    return model, frame, rows, {"label": model.predict(frame), "probabilities": model.predict_proba(frame)}


def mlp() -> Made:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3)).eval()
    rows = torch.from_numpy(X.astype(np.float32))
    return model, rows, {"input": rows.numpy()}, {"output": model(rows).detach().numpy()}


def picture() -> Made:
    """A convolutional network of PyTorch: channels second, uneven padding, a depthwise layer."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    body = [nn.Conv2d(3, 8, 3, padding=(1, 0)), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, groups=8, stride=2, padding=1), nn.AdaptiveAvgPool2d(1)]  # fmt: skip
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(8, 5)).eval()
    rows = torch.randn(6, 3, 16, 16)
    return model, rows, {"input": rows.numpy()}, {"output": model(rows).detach().numpy()}


def text() -> Made:
    texts = np.array(["good day", "bad day", "so good", "so bad"] * 4, dtype=object)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0] * 8)
    return model, texts, {}, {}


MODELS: dict[str, Callable[[], Made]] = {
    "logistic": logistic, "forest": forest, "boosting": boosting, "table": table, "mlp": mlp, "picture": picture,
    "text": text,
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("savedmodels")
    for name, make in MODELS.items():
        model, example, rows, answers = make()
        with pack(model, Intent(example=example), PackOptions(name=name, output=folder / f"{name}.setsail")) as made:
            outputs = [spec.name for spec in made.signature.outputs]
            given = dict(zip((spec.name for spec in made.signature.inputs), rows.values(), strict=bool(rows)))
        truth = {n: np.asarray(a) for n, a in zip(outputs, answers.values(), strict=bool(answers))}
        np.savez(folder / f"{name}.npz", **{f"in_{n}": a for n, a in given.items()},
                 **{f"out_{n}": a.astype(str) if a.dtype.kind == "O" else a for n, a in truth.items()})  # fmt: skip
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    packed(folder / "several.setsail").close()
    np.savez(folder / "several.npz", in_x=rows, out_prediction=ANSWERS["serving_default"](rows)["prediction"])
    told = ask_client(
        tensorflow_python(), HOUSE.read_text(), str(folder), *AGAIN, seconds=1700,
        env={"SETSAIL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return folder, told.json()


@pytest.mark.parametrize("name", [*(n for n in MODELS if n != "text"), "keras", "several"])
def test_tensorflow_answers_as_the_model(name: str, house: tuple[Path, dict[str, Any]]) -> None:
    folder, told = house
    assert "what" not in told[name], told[name]
    with np.load(folder / f"{name}.npz") as rows, np.load(folder / f"{name}.answers.npz") as found:
        wanted = {key.removeprefix("out_"): rows[key] for key in rows if key.startswith("out_")}
        assert set(wanted) == set(found)
        for output, right in wanted.items():
            if right.dtype.kind == "f":
                np.testing.assert_allclose(found[output], right, rtol=1e-4, atol=1e-5)
            else:
                assert found[output].tolist() == right.tolist()


def test_free_sizes_stay_free_and_names_are_told(house: tuple[Path, dict[str, Any]]) -> None:
    told = house[1]
    assert told["logistic"]["inputs"] == {"input": [None, 4]}
    assert told["logistic"]["outputs"] == {"label": [None], "probabilities": [None, 3]}
    assert told["table"]["inputs"] == {"in_sepal_length_cm": [None], "in_citt": [None]}
    assert {"saved_model.pb", "variables", "signature.json"} <= set(told["logistic"]["files"])


def test_every_signature_is_there_under_all_its_names(house: tuple[Path, dict[str, Any]]) -> None:
    names = {"serving_default", "classify", "prediction", "single", "serve", "sort"}
    assert set(house[1]["several"]["signatures"]) == names


def test_what_has_no_counterpart_is_refused_by_name(house: tuple[Path, dict[str, Any]]) -> None:
    folder, told = house
    assert told["text"]["code"] == "convert.unsupported"
    assert "operator " in told["text"]["what"]
    assert not (folder / "text").exists()


@pytest.mark.parametrize("name", AGAIN)
def test_what_was_exported_packs_again(name: str, house: tuple[Path, dict[str, Any]]) -> None:
    folder, told = house
    assert told[f"{name}-again"] == {}
    assert verify(folder / f"{name}-again.setsail").passed
    with artifact.read(folder / f"{name}.setsail") as first, artifact.read(folder / f"{name}-again.setsail") as second:
        assert [s.name for s in second.signature.inputs] == [s.name for s in first.signature.inputs]
        assert {s.name for s in second.signature.outputs} == {s.name for s in first.signature.outputs}
